import type { EngineInfo, LoadOptions } from '../../native/index.js';
import { loadConfig } from '../../src/config.js';
import { loadOptions } from '../../worker/pipeline/engine.js';
import { type Row, type Settings } from '../report/schema.js';
import { spreadOf } from '../report/statistics.js';
import { windowsOf } from '../roofline/clip.js';
import type { BenchOptions } from './options.js';
import type { Clips } from './clip.js';
import { EngineProcess, type Sample } from './process.js';

export type Say = (what: string) => void;

interface Loaded {
  readonly process: EngineProcess;
  readonly info: EngineInfo;
  readonly device: string;
  readonly engine: number;
}

type Mode = Row['mode'];
/** What every engine measured, run by run, and how long the slowest of each run took. */
interface Rounds {
  readonly samples: readonly (readonly Sample[])[];
  readonly wallMs: readonly number[];
}

/** As a worker loads it, prepared for the clips to come; nothing may take another's place. */
function optionsOn({ modelFolder, settings }: BenchOptions, device: string): LoadOptions {
  const { width, height, contextFrames, cfg, threads, provider } = settings;
  const { engine } = loadConfig();
  return {
    ...loadOptions({ modelFolder, engine: { ...engine, threads: threads ?? undefined } }),
    ...{ device, provider: provider as NonNullable<LoadOptions['provider']>, fallback: [] },
    ...{ usual: { width, height, contextFrames }, guidance: cfg > 1 },
  };
}

/** Loads one engine for each `[device, number]`, lets `use` work with them, ends them. */
async function withEngines<T>(
  options: BenchOptions,
  places: readonly (readonly [device: string, engine: number])[],
  use: (engines: Loaded[]) => Promise<T>,
): Promise<T> {
  const started = places.map(([device, engine]) => ({
    process: new EngineProcess(),
    device,
    engine,
  }));
  try {
    const engines = await Promise.all(
      started.map(async (one) => ({
        ...one,
        info: await one.process.load(optionsOn(options, one.device)),
      })),
    );
    return await use(engines);
  } finally {
    await Promise.all(started.map((one) => one.process.stop()));
  }
}

/** Every run starts on all engines at the same moment, when the last one has finished the last. */
async function rounds(
  engines: readonly Loaded[],
  { runs, warmUp }: Settings,
  run: (engine: Loaded) => Promise<Sample>,
): Promise<Rounds> {
  const samples: Sample[][] = engines.map(() => []);
  const wallMs: number[] = [];
  for (let round = 0; round < warmUp + runs; round++) {
    const start = performance.now();
    const done = await Promise.all(engines.map(run));
    if (round < warmUp) continue;
    wallMs.push(performance.now() - start);
    done.forEach((sample, i) => samples[i]!.push(sample));
  }
  return { samples, wallMs };
}

function speeds(wallMs: readonly number[], frames: number, seconds: number) {
  const wall = spreadOf(wallMs);
  const at = (ms: number) => ({ speed: (1000 * frames) / ms, factor: ms / 1000 / seconds });
  const [p50, p95] = [at(wall.p50), at(wall.p95)];
  return {
    wallMs: wall,
    framesPerSecond: { p50: p50.speed, p95: p95.speed },
    realTimeFactor: { p50: p50.factor, p95: p95.factor },
  };
}

function rowOf(
  scope: Row['scope'],
  mode: Mode,
  loaded: Loaded,
  samples: readonly Sample[],
  seconds: number,
  settings: Settings,
): Row {
  const { info, process: host, device, engine } = loaded;
  const { frames } = samples[0]!;
  const windows = windowsOf({ ...settings, frames });
  const times = (value: (sample: Sample) => number) => spreadOf(samples.map(value));
  const encoder = samples[0]!.video?.encoder ?? null;
  const video = (name: 'prepare' | 'render' | 'finish') =>
    times((sample) => sample.video?.[name] ?? 0);
  return {
    scope,
    mode,
    device,
    engine: scope === 'alone' || settings.engines === 1 ? null : engine,
    provider: info.provider,
    threads: info.threads,
    loadMs: info.loadMilliseconds,
    seconds,
    frames,
    windows,
    ...speeds(
      samples.map((sample) => sample.wallMs),
      frames,
      seconds,
    ),
    firstFrameMs:
      mode === 'engine' ? times((sample) => sample.firstFrameMs ?? sample.wallMs) : null,
    stages: {
      audio: times(({ timings }) => timings.audio),
      reference: times(({ timings }) => timings.reference),
      denoise: times(({ timings }) => timings.denoise),
      window: times(({ timings }) => timings.denoise / (windows * settings.steps)),
      decode: times(({ timings }) => timings.decode),
      frame: times(({ timings }) => timings.decode / frames),
    },
    video:
      mode === 'engine'
        ? null
        : {
            prepareMs: video('prepare'),
            renderMs: video('render'),
            finishMs: video('finish'),
          },
    encoder,
    peakHostBytes: host.peakHostBytes,
    peakDeviceBytes: host.peakDeviceBytes,
  };
}

/** All engines of a simultaneous run as one. */
function sumOf(rows: readonly Row[], wallMs: readonly number[], seconds: number): Row {
  const frames = rows.reduce((sum, row) => sum + row.frames, 0);
  return {
    scope: 'together',
    mode: rows[0]!.mode,
    device: null,
    engine: null,
    provider: null,
    threads: null,
    loadMs: null,
    seconds,
    frames,
    windows: rows.reduce((sum, row) => sum + row.windows, 0),
    ...speeds(wallMs, frames, seconds * rows.length),
    firstFrameMs: null,
    stages: null,
    video: null,
    encoder: null,
    peakHostBytes: rows.reduce((sum, row) => sum + (row.peakHostBytes ?? 0), 0),
    peakDeviceBytes: onAllDevices(rows),
  };
}

/** Engines on one GPU each see all of its memory: the largest counts, once for each GPU. */
function onAllDevices(rows: readonly Row[]): number | null {
  const peaks = new Map<string | null, number>();
  for (const { device, peakDeviceBytes } of rows) {
    if (peakDeviceBytes === null) continue;
    peaks.set(device, Math.max(peaks.get(device) ?? 0, peakDeviceBytes));
  }
  return peaks.size === 0 ? null : [...peaks.values()].reduce((sum, bytes) => sum + bytes);
}

/** Runs one length of clip on `engines`, first the engine alone, then whole videos if asked. */
async function runLength(
  scope: Row['scope'],
  engines: readonly Loaded[],
  seconds: number,
  settings: Settings,
  clips: Clips,
  say: Say,
): Promise<Row[]> {
  const rows: Row[] = [];
  const modes: Mode[] = settings.encode ? ['engine', 'video'] : ['engine'];
  for (const mode of modes) {
    say(`${scope}, ${engines.map(({ device }) => device).join(' + ')}: ${mode}, ${seconds} s`);
    const options = clips.options(seconds);
    const requests = new Map(
      await Promise.all(
        engines.map(
          async (one, i) => [one, await clips.request(seconds, `${scope}-${i}`)] as const,
        ),
      ),
    );
    const { samples, wallMs } = await rounds(engines, settings, (one) =>
      mode === 'engine' ? one.process.render(options) : one.process.video(requests.get(one)!),
    );
    const each = engines.map((one, i) => rowOf(scope, mode, one, samples[i]!, seconds, settings));
    rows.push(...each);
    if (scope === 'together') rows.push(sumOf(each, wallMs, seconds));
  }
  return rows;
}

export interface Measured {
  readonly rows: Row[];
  readonly runtimeVersion: string;
}

/**
 * Every length on every device alone, then on all devices and engines at the same time. Each length
 * gets fresh processes, so that its peak memory is its own.
 */
export async function measure(options: BenchOptions, clips: Clips, say: Say): Promise<Measured> {
  const { settings } = options;
  const rows: Row[] = [];
  let runtimeVersion = '';
  const all = settings.devices.flatMap((device) =>
    Array.from({ length: settings.engines }, (_, engine) => [device, engine] as const),
  );
  for (const seconds of settings.seconds) {
    for (const device of settings.devices) {
      await withEngines(options, [[device, 0]], async (engines) => {
        runtimeVersion = engines[0]!.info.runtimeVersion;
        rows.push(...(await runLength('alone', engines, seconds, settings, clips, say)));
      });
    }
    if (all.length > 1) {
      await withEngines(options, all, async (engines) => {
        rows.push(...(await runLength('together', engines, seconds, settings, clips, say)));
      });
    }
  }
  return { rows, runtimeVersion };
}

/** Milliseconds of each run of single networks, as `Engine.run` runs them. */
export async function timeNetworks(
  options: BenchOptions,
  device: string,
  networks: readonly { network: string; shapes: Record<string, number[]> }[],
): Promise<Map<string, number[]>> {
  return withEngines(options, [[device, 0]], async ([one]) => {
    const times = new Map<string, number[]>();
    for (const { network, shapes } of networks) {
      times.set(network, await one!.process.network(network, shapes, options.settings.runs));
    }
    return times;
  });
}
