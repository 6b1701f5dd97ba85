import { type Static, type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { CodedError } from '../src/errors.js';

const bytes = Type.Unsafe<Uint8Array>(
  Type.Refine(
    Type.Unknown(),
    (value) => value instanceof Uint8Array,
    () => 'must be a Uint8Array',
  ),
);
const floats = Type.Unsafe<Float32Array>(
  Type.Refine(
    Type.Unknown(),
    (value) => value instanceof Float32Array,
    () => 'must be a Float32Array',
  ),
);
const seed = Type.Unsafe<number | bigint>(
  Type.Refine(
    Type.Unknown(),
    (value) =>
      typeof value === 'bigint'
        ? value >= 0n && value < 1n << 64n
        : Number.isSafeInteger(value) && (value as number) >= 0,
    () => 'must be an integer from 0 to 2^53 - 1, or a bigint from 0 to 2^64 - 1',
  ),
);
const count = (maximum: number) => Type.Integer({ minimum: 1, maximum });

const Picture = Type.Object({ width: count(65536), height: count(65536), data: bytes });

export const LoadOptionsSchema = Type.Object(
  {
    /** Folder of an imported model. */
    model: Type.String({ minLength: 1 }),
    /** One of the ids that devices() lists. */
    device: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    provider: Type.Optional(
      Type.Union([
        Type.Literal('auto'),
        Type.Literal('cpu'),
        Type.Literal('cuda'),
        Type.Literal('tensorrt'),
      ]),
    ),
    /**
     * `approximate` is faster and a little different: layers in 8 bits, windows without overlap. The
     * CPU alone has it; elsewhere it changes nothing. By default `exact`.
     */
    precision: Type.Optional(Type.Union([Type.Literal('exact'), Type.Literal('approximate')])),
    /** What may be used in place of a provider or GPU that fails; by default nothing. */
    fallback: Type.Optional(Type.Array(Type.Union([Type.Literal('cuda'), Type.Literal('cpu')]))),
    /** Folder for the engines that TensorRT builds; by default one in the project's `.cache`. */
    engines: Type.Optional(Type.String({ minLength: 1 })),
    /** Bytes of the GPU's memory that the planner may count on; by default all that are free. */
    memoryLimit: Type.Optional(Type.Integer({ minimum: 1, maximum: 2 ** 53 - 1 })),
    /** Whether to record CUDA graphs of what runs many times; by default it is done. */
    graphs: Type.Optional(Type.Boolean()),
    /** Whether guidance is used, so that its network is loaded at once; by default as the model does. */
    guidance: Type.Optional(Type.Boolean()),
    /** What a GPU is prepared for; by default the model's own sizes. */
    usual: Type.Optional(
      Type.Object(
        { width: count(4096), height: count(4096), contextFrames: count(1 << 16) },
        { additionalProperties: false },
      ),
    ),
    /** CPU threads; by default one per physical core. */
    threads: Type.Optional(count(1024)),
    /** For checks on machines without a GPU; see AddonHostDevice in native/addon.d.ts. */
    hostDevice: Type.Optional(
      Type.Object(
        {
          standardGraphs: Type.Boolean(),
          windows: count(1024),
          images: count(1024),
          memoryBytes: Type.Integer({ minimum: 0, maximum: 2 ** 53 - 1 }),
          outOfMemory: Type.Array(count(1e9)),
          lostAt: Type.Integer({ minimum: 0, maximum: 1e9 }),
        },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false },
);
export type LoadOptions = Static<typeof LoadOptionsSchema>;

/** What depends on the model or on another field is checked by native/engine/request.cc. */
export const RenderOptionsSchema = Type.Object(
  {
    /** RGB, both sides multiples of 8. */
    image: Picture,
    /** Gray, 255 where the face is, as large as the image. */
    faceMask: Picture,
    /** 16 kHz mono, -1 to 1. */
    audio: floats,
    fps: Type.Optional(Type.Number({ minimum: 1, maximum: 240 })),
    steps: Type.Optional(count(100000)),
    /** Guidance; up to 1 there is none and the unconditional half is not computed. */
    cfg: Type.Optional(Type.Number({ minimum: 0, maximum: 100 })),
    /** Random by default; the result tells which it was. */
    seed: Type.Optional(seed),
    /** Upper limit; by default the clip is as long as its audio. */
    frames: Type.Optional(count(1 << 24)),
    contextFrames: Type.Optional(count(1 << 16)),
    contextOverlap: Type.Optional(Type.Integer({ minimum: 0, maximum: 1 << 16 })),
    /** Initial noise `[channels, frames, rows, columns]` in place of the seed's. */
    noise: Type.Optional(floats),
  },
  { additionalProperties: false },
);
export type RenderOptions = Static<typeof RenderOptionsSchema>;

function describe(value: unknown): string {
  if (ArrayBuffer.isView(value)) return value.constructor.name;
  if (typeof value === 'object' && value !== null) {
    return Array.isArray(value) ? 'an array' : 'an object';
  }
  return String(value);
}

function at(value: unknown, path: string[]): unknown {
  return path.reduce<unknown>(
    (inner, key) => (inner as Record<string, unknown> | null | undefined)?.[key],
    value,
  );
}

/** Refuses options that do not fit the schema; the message names the field. */
export function checkOptions<T extends TSchema>(schema: T, value: unknown): Static<T> {
  if (Value.Check(schema, value)) return value;
  const errors = [...Value.Errors(schema, value)];
  const first = errors.find((error) => error.keyword === 'additionalProperties') ?? errors[0];
  const path = (first?.instancePath ?? '').split('/').filter(Boolean);
  const params = first?.params as
    { requiredProperties?: string[]; additionalProperties?: string[] } | undefined;
  const extra = params?.requiredProperties?.[0] ?? params?.additionalProperties?.[0];
  const field = [...path, ...(extra === undefined ? [] : [extra])].join('.') || 'options';
  const received = describe(at(value, extra === undefined ? path : [...path, extra]));
  throw new CodedError(
    'ENGINE_OPTION_INVALID',
    `${field}: ${first?.message ?? 'is not valid'}, received ${received}`,
  );
}
