import { readFile } from 'node:fs/promises';
import { type Static, type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { CodedError } from '../../src/errors.js';

export const closed = { additionalProperties: false } as const;
const positive = Type.Number({ exclusiveMinimum: 0 });
export const atLeastZero = Type.Number({ minimum: 0 });
export const count = Type.Integer({ minimum: 1 });
export const text = Type.String({ minLength: 1 });
const sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });
const orNull = <T extends Parameters<typeof Type.Union>[0][number]>(type: T) =>
  Type.Union([type, Type.Null()]);

export const Spread = Type.Object(
  {
    p50: atLeastZero,
    p95: atLeastZero,
    min: atLeastZero,
    max: atLeastZero,
    samples: Type.Array(atLeastZero, { minItems: 1 }),
  },
  closed,
);

const Settings = Type.Object(
  {
    model: text,
    devices: Type.Array(text, { minItems: 1 }),
    engines: count,
    seconds: Type.Array(positive, { minItems: 1 }),
    runs: count,
    warmUp: Type.Integer({ minimum: 0 }),
    encode: Type.Boolean(),
    /** What stands here was resolved from the model's defaults where it was not given. */
    steps: count,
    cfg: atLeastZero,
    width: count,
    height: count,
    fps: positive,
    contextFrames: count,
    contextOverlap: Type.Integer({ minimum: 0 }),
    /** Null: one per physical core. */
    threads: orNull(count),
    provider: text,
  },
  closed,
);
export type Settings = Static<typeof Settings>;

const Row = Type.Object(
  {
    /** One engine by itself, or every engine of the run at the same time. */
    scope: Type.Union([Type.Literal('alone'), Type.Literal('together')]),
    /** `engine`: pixels and samples to frames. `video`: files to an MP4, as a task does. */
    mode: Type.Union([Type.Literal('engine'), Type.Literal('video')]),
    /** Null: all devices of `together`, as one. */
    device: orNull(text),
    /** Number of the engine on its device, from 0. */
    engine: orNull(Type.Integer({ minimum: 0 })),
    provider: orNull(text),
    threads: orNull(count),
    loadMs: orNull(atLeastZero),
    /** Duration of the clip. */
    seconds: positive,
    /** Frames of one run; of `together`, of all engines. */
    frames: count,
    windows: count,
    wallMs: Spread,
    /** `p95`: what 95 of 100 runs reach. */
    framesPerSecond: Type.Object({ p50: positive, p95: positive }, closed),
    /** Time to make it over time to play it: below 1 is faster than real time. */
    realTimeFactor: Type.Object({ p50: positive, p95: positive }, closed),
    firstFrameMs: orNull(Spread),
    /** Milliseconds of a run by stage; `window` and `frame` are one window of one step and one frame. */
    stages: orNull(
      Type.Object(
        {
          audio: Spread,
          reference: Spread,
          denoise: Spread,
          window: Spread,
          decode: Spread,
          frame: Spread,
        },
        closed,
      ),
    ),
    /** Of `video`: before the engine starts, beside its work, and after its last frame. */
    video: orNull(Type.Object({ prepareMs: Spread, renderMs: Spread, finishMs: Spread }, closed)),
    /** Of `video`: `x264` or `nvenc`. */
    encoder: Type.Optional(orNull(text)),
    /** Peak resident memory of the engine's process so far, without the encoder's. */
    peakHostBytes: orNull(count),
    /** Most memory in use on the GPU, by all processes together; null on the CPU. */
    peakDeviceBytes: orNull(count),
  },
  closed,
);
export type Row = Static<typeof Row>;

const Timing = Type.Object(
  {
    device: text,
    network: text,
    stage: text,
    calls: count,
    flops: atLeastZero,
    matrixFlops: atLeastZero,
    weightBytes: atLeastZero,
    activationBytes: atLeastZero,
    leastBytes: atLeastZero,
    /** Of one call; null where nothing was measured. */
    callMs: orNull(positive),
    flopsPerSecond: orNull(positive),
    shareOfPeak: orNull(positive),
    shareOfRoof: orNull(positive),
  },
  closed,
);
export type Timing = Static<typeof Timing>;

const Roofline = Type.Object(
  {
    seconds: positive,
    peakGflops: orNull(positive),
    peakGbps: orNull(positive),
    /** One row per network; all figures are of one call. */
    networks: Type.Array(Timing),
    growth: Type.Object(
      { once: atLeastZero, perWindow: positive, perDecodedFrame: positive },
      closed,
    ),
  },
  closed,
);
export type RooflineReport = Static<typeof Roofline>;

/** What every report begins with. */
export const head = {
  format: Type.Literal(1),
  date: Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\dT' }),
  machine: Type.Object(
    {
      cpu: text,
      logicalCores: count,
      physicalCores: count,
      memoryBytes: count,
      platform: text,
      gpus: Type.Array(text),
      /** Load average of the last minute, before and after: a busy machine measures itself. */
      loadBefore: atLeastZero,
      loadAfter: atLeastZero,
    },
    closed,
  ),
};

export const ReportSchema = Type.Object(
  {
    ...head,
    versions: Type.Object(
      {
        server: text,
        node: text,
        addon: sha256,
        onnxRuntime: text,
        model: Type.Object({ name: text, precision: text, sha256 }, closed),
      },
      closed,
    ),
    settings: Settings,
    rows: Type.Array(Row, { minItems: 1 }),
    roofline: orNull(Roofline),
  },
  closed,
);
export type Report = Static<typeof ReportSchema>;

/** A report of `npm run bench -- --out FILE`, checked. */
export async function readReport(path: string): Promise<Report> {
  return readChecked(path, () => ReportSchema);
}

/** What --out wrote, checked by the schema that is chosen for it. */
export async function readChecked<T extends TSchema>(
  path: string,
  schemaOf: (value: unknown) => T,
): Promise<Static<T>> {
  const refuse = (what: string, cause?: unknown) =>
    new CodedError('BAD_REQUEST', `${path}: ${what}; expected what --out wrote`, { cause });
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw refuse((error as Error).message, error);
  }
  const schema = schemaOf(value);
  if (Value.Check(schema, value)) return value;
  const [first] = Value.Errors(schema, value);
  throw refuse(`${first?.instancePath || 'the whole'} ${first?.message ?? 'is not a report'}`);
}
