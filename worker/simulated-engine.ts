import { randomBytes } from 'node:crypto';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import type { RenderHooks, RenderOptions, RenderResult, Stage } from '../native/index.js';
import { RenderOptionsSchema, checkOptions } from '../native/options.js';
import { CodedError } from '../src/errors.js';
import { type Manifest, loadManifest } from '../weights/manifest.js';
import type { ClipEngine } from './pipeline/engine.js';

/** How the time of a clip is divided among its stages. */
const shares: Record<Stage, number> = { audio: 0.02, reference: 0.03, denoise: 0.85, decode: 0.1 };

/** Frames of a clip as the native engine counts them: one or two more than the sound lasts. */
export function countFrames(audio: Manifest['audio'], samples: number, fps: number): number {
  const mel = Math.floor(samples / audio.hop);
  const inBlock = Math.floor(audio.blockFrames / 2);
  const positions =
    Math.floor(mel / audio.blockFrames) * inBlock + Math.floor((mel % audio.blockFrames) / 2);
  const perFrame = audio.positionsPerSecond / fps;
  let frame = Math.max(0, Math.floor(positions / perFrame) - 2);
  while (Math.floor(frame * perFrame) <= positions) frame++;
  return frame + 1;
}

/**
 * Stands for the engine of a device that is not there: takes the same request, tells the same
 * stages and hands over as many frames, but all it does is wait. The frames are the portrait with
 * a bar that moves. It has the model's defaults and loads none of its networks.
 */
export class SimulatedEngine implements ClipEngine {
  readonly simulated = true;
  readonly #manifest: Manifest;
  readonly #folder: string;
  readonly #frameMs: number;
  readonly #disposal = new AbortController();
  #rendering: Promise<unknown> | undefined;

  private constructor(manifest: Manifest, folder: string, frameMs: number) {
    this.#manifest = manifest;
    this.#folder = folder;
    this.#frameMs = frameMs;
  }

  /** `frameMs`: how long it takes per frame of a clip. */
  static async load(modelFolder: string, frameMs: number): Promise<SimulatedEngine> {
    return new SimulatedEngine(await loadManifest(modelFolder), modelFolder, frameMs);
  }

  info(): ReturnType<ClipEngine['info']> {
    const { name, precision, accelerated, defaults } = this.#manifest;
    return {
      model: { name, folder: this.#folder, precision, accelerated },
      defaults: { ...defaults },
      provider: 'simulated',
      threads: 0,
    };
  }

  /** Rejects as the native engine does: ENGINE_OPTION_INVALID, _BUSY, _CANCELLED, _DISPOSED. */
  async render(options: RenderOptions, hooks: RenderHooks): Promise<RenderResult> {
    const checked = checkOptions(RenderOptionsSchema, options);
    if (hooks.signal?.aborted === true) throw cancelled();
    if (this.#disposal.signal.aborted) throw disposed();
    if (this.#rendering !== undefined) {
      throw new CodedError('ENGINE_BUSY', 'the engine works on another clip');
    }
    const rendering = this.#render(checked, hooks);
    this.#rendering = rendering.catch(() => undefined);
    try {
      return await rendering;
    } finally {
      this.#rendering = undefined;
    }
  }

  async #render(options: RenderOptions, hooks: RenderHooks): Promise<RenderResult> {
    const { audio, defaults } = this.#manifest;
    const { image } = options;
    const { width, height } = image;
    const fps = options.fps ?? defaults.fps;
    const steps = options.steps ?? defaults.steps;
    const context = options.contextFrames ?? defaults.contextFrames;
    const overlap = options.contextOverlap ?? Math.min(defaults.contextOverlap, context - 1);
    const frames = Math.min(
      options.frames ?? Infinity,
      countFrames(audio, options.audio.length, fps),
    );
    const windows = frames <= context ? 1 : Math.ceil(frames / (context - overlap));
    const time = new Timetable(frames * this.#frameMs, [hooks.signal, this.#disposal.signal]);
    const told = { step: 0, steps, window: 0, windows, framesDone: 0, frames };
    const pass = async (stage: Stage, part: number, news: Partial<typeof told> = {}) => {
      await time.pass(stage, shares[stage] * part);
      Object.assign(told, news);
      hooks.onProgress?.({ stage, percent: time.percent, ...told });
    };
    try {
      await pass('audio', 1);
      await pass('reference', 1);
      for (let i = 0; i < steps * windows; i++) {
        const [step, window] = [Math.floor(i / windows) + 1, (i % windows) + 1];
        await pass('denoise', 1 / (steps * windows), { step, window });
      }
      for (let first = 0; first < frames; first += context) {
        const count = Math.min(context, frames - first);
        await pass('decode', count / frames, { framesDone: first + count });
        await hooks.onFrames({ first, count, width, height, data: pictures(image, first, count) });
      }
    } catch (error) {
      if (this.#disposal.signal.aborted) throw disposed();
      if (hooks.signal?.aborted === true) throw cancelled();
      throw error;
    }
    const seed = BigInt(options.seed ?? randomBytes(6).readUIntBE(0, 6));
    return { frames, width, height, fps, seed, timings: time.timings() };
  }

  /** Stops what is running, which rejects with ENGINE_DISPOSED. */
  async dispose(): Promise<void> {
    this.#disposal.abort();
    await this.#rendering;
  }
}

/** Lets the time of a clip pass, without using the processor. */
class Timetable {
  readonly #totalMs: number;
  readonly #stop: AbortSignal;
  readonly #start = performance.now();
  readonly #spent: Record<Stage, number> = { audio: 0, reference: 0, denoise: 0, decode: 0 };
  #done = 0;

  constructor(totalMs: number, stops: (AbortSignal | undefined)[]) {
    this.#totalMs = totalMs;
    this.#stop = AbortSignal.any(stops.filter((signal) => signal !== undefined));
  }

  get percent(): number {
    return Math.min(100, Math.round(10_000 * this.#done) / 100);
  }

  /** Resolves when `part` of the whole, of 0 to 1, has passed too; rejects when stopped. */
  async pass(stage: Stage, part: number): Promise<void> {
    const begun = performance.now();
    this.#done += part;
    const left = this.#start + this.#totalMs * this.#done - begun;
    if (left > 0) await sleep(left, undefined, { signal: this.#stop });
    else await turn(undefined, { signal: this.#stop });
    this.#spent[stage] += performance.now() - begun;
  }

  timings(): Record<Stage | 'total', number> {
    return { ...this.#spent, total: performance.now() - this.#start };
  }
}

/** `count` frames from number `first` on: the portrait, and a white bar at another place in each. */
function pictures(
  { data, width, height }: RenderOptions['image'],
  first: number,
  count: number,
): Uint8Array {
  const frames = new Uint8Array(count * data.length);
  const bar = Math.ceil(width / 16);
  for (let i = 0; i < count; i++) {
    const frame = frames.subarray(i * data.length, (i + 1) * data.length);
    frame.set(data);
    const left = ((first + i) * bar) % width;
    const right = Math.min(width, left + bar);
    for (let y = 0; y < height; y++)
      frame.fill(255, (y * width + left) * 3, (y * width + right) * 3);
  }
  return frames;
}

function cancelled(): CodedError {
  return new CodedError('ENGINE_CANCELLED', 'the work was cancelled');
}

function disposed(): CodedError {
  return new CodedError('ENGINE_DISPOSED', 'the engine was disposed');
}
