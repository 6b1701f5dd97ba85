import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { CodedError, type ErrorCode, codeOf } from '../src/errors.js';
import { projectRoot } from '../src/paths.js';
import type { Addon, AddonEngine, AddonEvent, AddonTensor, Stage } from './addon.js';
import {
  type Device,
  attemptsOn,
  chooseDevice,
  deviceMemoryInUse,
  devices,
  gpus,
} from './devices.js';
import { native } from './load.js';
import { type ModelFolder, openModel } from './model.js';
import {
  type LoadOptions,
  LoadOptionsSchema,
  type RenderOptions,
  RenderOptionsSchema,
  checkOptions,
} from './options.js';

export {
  deviceMemoryInUse,
  devices,
  gpus,
  type Device,
  type LoadOptions,
  type RenderOptions,
  type Stage,
};
export type Tensor = AddonTensor;

/** `step`, `window` and `framesDone` count what is done; `percent` never falls and ends at 100. */
export type Progress = Omit<Extract<AddonEvent, { kind: 'progress' }>, 'id' | 'kind'>;
/** `count` frames from number `first` on, RGB, one after the other. */
export type Frames = Omit<Extract<AddonEvent, { kind: 'frames' }>, 'id' | 'kind'>;

export interface RenderHooks {
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Called in order; the engine waits for the returned promise when two chunks are under way. */
  onFrames: (frames: Frames) => void | Promise<void>;
  /** Latents `[channels, frames, rows, columns]` after each step. */
  onLatents?: ((latents: Tensor, step: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface RenderResult {
  frames: number;
  width: number;
  height: number;
  fps: number;
  seed: bigint;
  /** Milliseconds per stage, without waiting for onFrames; `total` is all of it. */
  timings: Record<Stage | 'total', number>;
}

export interface EngineInfo {
  model: { name: string; folder: string; precision: string; accelerated: boolean };
  defaults: ModelFolder['manifest']['defaults'];
  device: Device;
  provider: string;
  precision: 'exact' | 'approximate';
  /** Whether layers are computed in 8 bits: in approximate precision, where the CPU is made for it. */
  int8: boolean;
  threads: number;
  runtimeVersion: string;
  loadMilliseconds: number;
  /** Why other providers or devices, which would come first, are not used. */
  passedOver: string[];
  /** On GPUs: the versions of the driver and, where it is used, of TensorRT. */
  driverVersion?: string;
  tensorrtVersion?: string;
  /** On GPUs: how the last clip, or else the usual one, is computed in the memory there is, and why. */
  plan?: string;
  /** With TensorRT: where its engines are, and how many were built or found there at loading. */
  engineCache?: { folder: string; built: number; reused: number };
}

/** Called before each network is opened; `reason` tells why TensorRT builds its engine, if it does. */
export type OnOpening = (opening: { network: string; reason: string }) => void;

/** The pure parts of the loop, for checks; see native/addon.d.ts. */
export const parts = {
  schedule: (options: Parameters<Addon['schedule']>[0]) => native().addon.schedule(options),
  windows: (options: Parameters<Addon['windows']>[0]) => native().addon.windows(options),
  noise: (options: Parameters<Addon['noise']>[0]) => native().addon.noise(options),
  philox: (counter: number[], key: number[]) => native().addon.philox(counter, key),
  inputShapes: (...args: Parameters<Addon['inputShapes']>) => native().addon.inputShapes(...args),
  providerOptions: (...args: Parameters<Addon['providerOptions']>) =>
    native().addon.providerOptions(...args),
  requireProvider: (provider: string, gpu: number) =>
    native().addon.requireProvider(native().runtimeLibrary, provider, gpu),
  classifyFailure: (text: string) => native().addon.classifyFailure(text),
  plan: (...args: Parameters<Addon['plan']>) => native().addon.plan(...args),
  openEngine: (...args: Parameters<Addon['openEngine']>) => native().addon.openEngine(...args),
  attempts: (options: Omit<LoadOptions, 'model'>) => attemptsOn({ model: '', ...options }),
};

export type Parts = typeof parts;

/** How an engine with these options is to approximate. */
function approximation(options: LoadOptions): Pick<EngineInfo, 'precision' | 'int8'> {
  const approximate =
    options.precision === 'approximate' && chooseDevice(options).device.kind === 'cpu';
  return {
    precision: approximate ? 'approximate' : 'exact',
    int8: approximate && native().addon.hasFastInt8(),
  };
}

/** What a job waits for. `fail` gets the error that the caller shall see. */
interface Job {
  onEvent(event: AddonEvent): void;
  succeed(event: AddonEvent): void;
  fail(error: unknown): void;
  site: Error;
}

/** An engine's error with the stack of the call that it answers. */
function errorAt(site: Error, code: string, message: string, cause?: unknown): CodedError {
  const error = new CodedError(code as ErrorCode, message, { cause });
  const frames = site.stack?.split('\n').slice(1).join('\n') ?? '';
  error.stack = `${error.name}: ${message}\n${frames}`;
  return error;
}

/** Engines that have work; keeps them from being collected while their promises are pending. */
const working = new Set<Engine>();

/**
 * A loaded model on one device, with a thread of its own. One job at a time: a second one is
 * refused with ENGINE_BUSY. An engine that is not disposed does not keep the process alive.
 */
export class Engine {
  readonly #engine: AddonEngine;
  readonly #info: EngineInfo;
  readonly #model: ModelFolder;
  readonly #jobs = new Map<number, Job>();
  readonly #closed: Promise<void>;
  #markClosed!: () => void;
  #nextId = 1;
  #disposing = false;

  private constructor(model: ModelFolder, options: LoadOptions) {
    const { addon, runtimeLibrary } = native();
    const { device, attempts, passedOver } = chooseDevice(options);
    const cores = device.kind === 'cpu' ? device.cores : addon.physicalCores();
    const threads = options.threads ?? cores;
    const { precision: wanted, int8 } = approximation(options);
    this.#model = model;
    const { name, precision, accelerated, defaults } = model.manifest;
    this.#info = {
      model: { name, folder: model.folder, precision, accelerated },
      defaults,
      device,
      provider: '',
      precision: wanted,
      int8,
      threads,
      runtimeVersion: '',
      loadMilliseconds: 0,
      passedOver: passedOver === undefined ? [] : [passedOver],
    };
    this.#closed = new Promise((resolve) => (this.#markClosed = resolve));
    const { hostDevice, usual = defaults, engines, memoryLimit = 0, graphs = true } = options;
    const config = {
      ...model.config,
      guidanceByDefault: options.guidance ?? model.config.guidanceByDefault,
      ...{ runtimeLibrary, attempts, threads, hostDevice, graphs, memoryLimit },
      gpu: device.kind === 'cuda' ? Number(device.id.slice('cuda:'.length)) : 0,
      gpuName: device.name,
      capability: device.computeCapability ?? '',
      cacheFolder: resolve(engines ?? join(projectRoot, '.cache', 'engines')),
      usual: {
        width: usual.width,
        height: usual.height,
        frames: usual.contextFrames,
        // as many as pay
        windows: 1024,
        images: 1,
      },
    };
    this.#engine = new addon.Engine(config, Engine.#listener(new WeakRef(this)));
  }

  /** The addon must not hold the engine, or one that nobody uses could never be collected. */
  static #listener(weak: WeakRef<Engine>): (event: AddonEvent) => void {
    return (event) => {
      const engine = weak.deref();
      if (engine !== undefined) engine.#receive(event);
    };
  }

  /** Loads a model; everything slow happens on the engine's thread. */
  static async load(options: LoadOptions, onOpening?: OnOpening): Promise<Engine> {
    const site = new Error();
    const checked = checkOptions(LoadOptionsSchema, options);
    chooseDevice(checked);
    const model = await openModel(checked.model, { int8: approximation(checked).int8 });
    const engine = new Engine(model, checked);
    const succeed = (event: AddonEvent, resolve: (nothing: undefined) => void): void => {
      if (event.kind !== 'loaded') return;
      engine.#describe(event);
      resolve(undefined);
    };
    await engine.#start(0, site, succeed, (event) => {
      if (event.kind === 'opening') onOpening?.({ network: event.network, reason: event.reason });
    });
    return engine;
  }

  #describe(loaded: Extract<AddonEvent, { kind: 'loaded' }>): void {
    const { provider, plan, driverVersion, tensorrtVersion, engineFolder } = loaded;
    const info = this.#info;
    info.provider = provider;
    info.loadMilliseconds = loaded.milliseconds;
    info.runtimeVersion = loaded.runtimeVersion;
    info.passedOver.push(...loaded.passedOver);
    if (provider === 'cpu' && info.device.kind !== 'cpu') info.device = devices()[0]!;
    if (driverVersion !== '') info.driverVersion = driverVersion;
    if (tensorrtVersion !== '') info.tensorrtVersion = tensorrtVersion;
    if (plan !== '') info.plan = plan;
    if (engineFolder === '') return;
    info.engineCache = {
      folder: engineFolder,
      built: loaded.enginesBuilt,
      reused: loaded.enginesReused,
    };
  }

  info(): EngineInfo {
    return structuredClone(this.#info);
  }

  /** Frames of a clip of so many samples at 16 kHz; one or two more than its length times fps. */
  frameCount(samples: number, fps: number = this.#info.defaults.fps): number {
    const { hop, blockFrames, positionsPerSecond } = this.#model.manifest.audio;
    return native().addon.frameCount({ hop, blockFrames, positionsPerSecond, samples, fps });
  }

  /** Makes one clip. Rejects with an ENGINE_* code, or with what a hook threw. */
  async render(options: RenderOptions, hooks: RenderHooks): Promise<RenderResult> {
    const site = new Error();
    const { signal, onFrames, onProgress, onLatents } = hooks;
    const { defaults, precision } = this.#info;
    const checked = checkOptions(RenderOptionsSchema, options);
    if (signal?.aborted) throw errorAt(site, 'ENGINE_CANCELLED', 'the work was cancelled');
    const contextFrames = checked.contextFrames ?? defaults.contextFrames;
    const overlap = precision === 'approximate' ? 0 : defaults.contextOverlap;
    const request = {
      ...checked,
      fps: checked.fps ?? defaults.fps,
      steps: checked.steps ?? defaults.steps,
      cfg: checked.cfg ?? defaults.cfg,
      seed: BigInt(checked.seed ?? randomBytes(6).readUIntBE(0, 6)),
      contextFrames,
      contextOverlap: checked.contextOverlap ?? Math.min(overlap, contextFrames - 1),
      wantLatents: onLatents !== undefined,
    };
    const id = this.#nextId++;
    let hookFailure: { error: unknown } | undefined;
    const guard = async (hook: () => void | Promise<void>): Promise<void> => {
      try {
        await hook();
      } catch (error) {
        hookFailure ??= { error };
        this.#engine.cancel(id);
      }
    };
    const onEvent = (event: AddonEvent): void => {
      if (hookFailure !== undefined) return;
      if (event.kind === 'progress') {
        const { id: _, kind: __, ...progress } = event;
        void guard(() => onProgress?.(progress));
      } else if (event.kind === 'latents') {
        void guard(() => onLatents?.(event.latents, event.step));
      } else if (event.kind === 'frames') {
        const { id: _, kind: __, ...frames } = event;
        void guard(() => onFrames(frames)).then(() => this.#engine.acknowledge(id));
      }
    };
    const cancel = (): void => this.#engine.cancel(id);
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      this.#submit(site, () => this.#engine.render(id, request));
      return await this.#start(
        id,
        site,
        (event, resolve: (result: RenderResult) => void) => {
          if (event.kind !== 'rendered') return;
          const { id: _, kind: __, plan, ...result } = event;
          if (plan !== undefined) this.#info.plan = plan;
          resolve(result);
        },
        onEvent,
      );
    } catch (error) {
      if (hookFailure !== undefined && codeOf(error) === 'ENGINE_CANCELLED') {
        throw hookFailure.error;
      }
      throw error;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  /** Runs one network as it is, for checks and measurements. */
  async run(network: string, inputs: Record<string, Tensor>): Promise<Record<string, Tensor>> {
    const list = Object.entries(inputs).map(([name, { shape, data }]) => ({ name, shape, data }));
    return this.#compute(new Error(), (id) => this.#engine.run(id, { network, inputs: list }));
  }

  /** The audio tokens of every video frame, `[frames, tokens, width]`, for checks. */
  async audioTokens(audio: Float32Array, fps: number): Promise<Tensor> {
    const site = new Error();
    const outputs = await this.#compute(site, (id) => this.#engine.audioTokens(id, { audio, fps }));
    return outputs['tokens']!;
  }

  /** Stops what is running (it rejects with ENGINE_DISPOSED), frees the model; may be repeated. */
  async dispose(): Promise<void> {
    if (!this.#disposing) {
      this.#disposing = true;
      working.add(this);
      this.#engine.hold();
      this.#engine.dispose();
    }
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  #compute(site: Error, submit: (id: number) => void): Promise<Record<string, Tensor>> {
    const id = this.#nextId++;
    this.#submit(site, () => submit(id));
    return this.#start(id, site, (event, resolve: (outputs: Record<string, Tensor>) => void) => {
      if (event.kind === 'outputs') resolve(event.outputs);
    });
  }

  #submit(site: Error, action: () => void): void {
    try {
      action();
    } catch (error) {
      throw errorAt(site, codeOf(error), (error as Error).message, error);
    }
  }

  /** The promise of a job that was handed over; it is settled by #receive and nothing else. */
  #start<T>(
    id: number,
    site: Error,
    succeed: (event: AddonEvent, resolve: (value: T) => void) => void,
    onEvent: (event: AddonEvent) => void = () => {},
  ): Promise<T> {
    working.add(this);
    this.#engine.hold();
    return new Promise<T>((resolve, reject) => {
      this.#jobs.set(id, {
        onEvent,
        succeed: (event) => succeed(event, resolve),
        fail: reject,
        site,
      });
    });
  }

  #receive(event: AddonEvent): void {
    if (event.kind === 'closed') {
      working.delete(this);
      this.#markClosed();
      return;
    }
    const job = this.#jobs.get(event.id);
    if (job === undefined) return;
    if (
      event.kind === 'opening' ||
      event.kind === 'progress' ||
      event.kind === 'frames' ||
      event.kind === 'latents'
    ) {
      job.onEvent(event);
      return;
    }
    this.#jobs.delete(event.id);
    if (this.#jobs.size === 0 && !this.#disposing) {
      working.delete(this);
      this.#engine.release();
    }
    if (event.kind === 'failed') job.fail(errorAt(job.site, event.code, event.message));
    else job.succeed(event);
  }
}
