/**
 * The contract of the binary. Only native/load.ts loads it and only native/*.ts use it; everybody
 * else uses native/index.ts, which validates what crosses.
 */

export interface AddonTensor {
  shape: number[];
  data: Float32Array;
}

export interface AddonPicture {
  width: number;
  height: number;
  data: Uint8Array;
}

export interface AddonSchedule {
  trainSteps: number;
  betaStart: number;
  betaEnd: number;
}

export interface AddonNetwork {
  name: string;
  /** The graph of standard operators, for GPUs. */
  path: string;
  /** The graph for the CPU; the same where there is only one. */
  cpuPath: string;
  /** Changes with the graph for GPUs and with its weights. */
  digest: string;
  weightBytes: number;
  /**
   * The most bytes of tensors that live at the same time: the largest sum
   * `base + linear * n + quadratic * n * n`, with n latent pixels, of a call with `frames` frames.
   */
  live?:
    { frames: number; sums: { base: number; linear: number; quadratic: number }[] } | undefined;
}

/**
 * For checks: the loop of GPUs on a machine without one. What a GPU does between the networks is done
 * by the same code in the host's memory; the networks run on the CPU.
 */
export interface AddonHostDevice {
  /** The graphs for GPUs instead of those for the CPU. */
  standardGraphs: boolean;
  /** Windows per call of the denoiser and frames per call of the decoder, at most. */
  windows: number;
  images: number;
  /** To plan for, as if a GPU had them, in place of `windows` and `images`; 0 for no plan. */
  memoryBytes: number;
  /** Which allocations and runs of networks, counted together from 1, find no memory. */
  outOfMemory: number[];
  /** From which call of the device on it is lost; 0 for never. */
  lostAt: number;
}

export interface AddonModel {
  networks: AddonNetwork[];
  /** Whether the weights are float16. */
  float16: boolean;
  /** Channels of the UNet's levels. */
  unetChannels: number[];
  bank: string[];
  audio: {
    sampleRate: number;
    hop: number;
    melBins: number;
    blockFrames: number;
    /** Encoder states kept per position. */
    states: number;
    width: number;
    positionsPerSecond: number;
    windowBefore: number;
    windowAfter: number;
  };
  latent: { channels: number; downscale: number };
  maxContext: number;
  schedule: AddonSchedule;
}

/** A provider, and when the next one may be tried: never, or if its libraries are missing, or if it fails. */
export interface AddonAttempt {
  provider: 'cpu' | 'cuda' | 'tensorrt';
  leave: 'never' | 'missing' | 'failing';
}

export interface AddonConfig extends AddonModel {
  /** ONNX Runtime's library; the first one that is loaded serves the whole process. */
  runtimeLibrary: string;
  /** What to try, in this order; the next one where `leave` allows it. */
  attempts: AddonAttempt[];
  /** CUDA's number of the GPU, its name and compute capability. */
  gpu: number;
  gpuName: string;
  capability: string;
  /** Whether to record CUDA graphs. */
  graphs: boolean;
  /** Bytes of the GPU's memory that may be planned with; 0 for all that is free. */
  memoryLimit: number;
  /** Where TensorRT's engines are kept. */
  cacheFolder: string;
  /** What is planned for until a clip wants something else. */
  usual: AddonSizes;
  threads: number;
  /** Whether to load the unconditional network at once, not at the first clip that needs it. */
  guidanceByDefault: boolean;
  hostDevice?: AddonHostDevice | undefined;
}

/** The calls that a TensorRT engine is built for: exact for pictures, upper limits for the rest. */
export interface AddonSizes {
  width: number;
  height: number;
  /** Of a window. */
  frames: number;
  /** Per call of the denoiser. */
  windows: number;
  /** Per call of the decoder. */
  images: number;
}

export interface AddonPlanRequest {
  width: number;
  height: number;
  frames: number;
  /** Of a step. */
  windows: number;
  clipFrames: number;
  guided: boolean;
  freeBytes: number;
}

/** How clips are computed in a GPU's memory. */
export interface AddonPlan {
  windows: number;
  images: number;
  /** Whether the networks that run once per clip stay loaded. */
  resident: boolean;
  /** Whether networks give their memory back after each run. */
  shrink: boolean;
  /** The most that is needed at any time. */
  bytes: number;
  /** What was chosen, and why. */
  sentence: string;
}

export interface AddonRender {
  image: AddonPicture;
  faceMask: AddonPicture;
  audio: Float32Array;
  fps: number;
  steps: number;
  cfg: number;
  seed: bigint;
  frames?: number | undefined;
  contextFrames: number;
  contextOverlap: number;
  noise?: Float32Array | undefined;
  wantLatents: boolean;
}

export type Stage = 'audio' | 'reference' | 'denoise' | 'decode';

/**
 * Everything the engine's thread tells. Each job (its `id` is the caller's) ends with exactly one
 * `rendered`, `outputs` or `failed`; the engine itself (id 0) says `loaded` or `failed` once and
 * ends with `closed`.
 */
export type AddonEvent = { id: number } & (
  | {
      kind: 'loaded';
      milliseconds: number;
      runtimeVersion: string;
      provider: 'cpu' | 'cuda' | 'tensorrt';
      /** Why providers that were tried before are not used. */
      passedOver: string[];
      /** Empty where they do not matter. */
      driverVersion: string;
      tensorrtVersion: string;
      plan: string;
      engineFolder: string;
      enginesBuilt: number;
      enginesReused: number;
    }
  /** A network is about to be opened; `reason` tells why TensorRT builds its engine, if it does. */
  | { kind: 'opening'; network: string; reason: string }
  | { kind: 'failed'; code: string; message: string }
  | { kind: 'closed' }
  | {
      kind: 'progress';
      percent: number;
      stage: Stage;
      step: number;
      steps: number;
      window: number;
      windows: number;
      framesDone: number;
      frames: number;
    }
  | {
      kind: 'frames';
      first: number;
      count: number;
      width: number;
      height: number;
      data: Uint8Array;
    }
  | { kind: 'latents'; step: number; latents: AddonTensor }
  | {
      kind: 'rendered';
      frames: number;
      width: number;
      height: number;
      fps: number;
      seed: bigint;
      timings: Record<Stage | 'total', number>;
      /** On GPUs: how the clip was computed in the memory that there was, and why so. */
      plan?: string;
    }
  | { kind: 'outputs'; outputs: Record<string, AddonTensor> }
);

export interface AddonEngine {
  /** Starts a clip; throws ENGINE_OPTION_INVALID, ENGINE_BUSY or ENGINE_DISPOSED. */
  render(id: number, request: AddonRender): void;
  /** Starts one run of one network; throws like `render`. */
  run(id: number, request: { network: string; inputs: ({ name: string } & AddonTensor)[] }): void;
  /** Starts computing the audio tokens of every frame, `tokens` [frames, tokens, width]. */
  audioTokens(id: number, request: { audio: Float32Array; fps: number }): void;
  cancel(id: number): void;
  /** Tells that the oldest `frames` event of a job was taken; at most two are under way. */
  acknowledge(id: number): void;
  dispose(): void;
  /** Keeps the process alive until `release`. */
  hold(): void;
  release(): void;
}

export interface Addon {
  Engine: new (config: AddonConfig, onEvent: (event: AddonEvent) => void) => AddonEngine;
  /** Stops every engine and waits for it; to be called when the process or thread exits. */
  shutdown(): void;
  errorCodes: string[];
  /** Loads ONNX Runtime's library as an engine would; returns its version. */
  loadRuntime(path: string): string;
  physicalCores(): number;
  /** Whether the CPU multiplies 8-bit numbers faster than floats. */
  hasFastInt8(): boolean;
  cuda(): {
    built: boolean;
    gpus: {
      index: number;
      name: string;
      memoryBytes: number;
      /** Compute capability. */
      major: number;
      minor: number;
      multiprocessors: number;
    }[];
    /** Why there are none. */
    reason?: string;
  };
  /** What all processes together have left of a GPU; throws ENGINE_DEVICE_UNAVAILABLE. */
  gpuMemory(index: number): { freeBytes: number; totalBytes: number };
  /** Every input of a network in its least, usual and largest shape. */
  inputShapes(
    model: AddonModel,
    network: string,
    sizes: AddonSizes,
  ): { name: string; least: number[]; usual: number[]; largest: number[] }[];
  /** What ONNX Runtime's provider is told for a network. */
  providerOptions(
    model: AddonModel,
    network: string,
    config: {
      provider: 'cuda' | 'tensorrt';
      gpu: number;
      graphs: boolean;
      memoryLimit: number;
      engineFolder: string;
      timingFolder: string;
      sizes: AddonSizes;
    },
  ): Record<string, string>;
  /** Loads a provider's libraries for a GPU; throws ENGINE_RUNTIME_MISSING or ENGINE_DEVICE_*. */
  requireProvider(runtimeLibrary: string, provider: string, gpu: number): void;
  /** What a text of ONNX Runtime or its providers means; no advice if nobody knows it. */
  classifyFailure(text: string): { code: string; advice: string };
  /** Opens an engine of TensorRT through the cache; `open` makes or reads it in a folder. */
  openEngine(
    root: string,
    machine: {
      gpu: string;
      capability: string;
      driver: string;
      tensorrt: string;
      runtime: string;
    },
    key: { network: string; digest: string; profile: string },
    open: (folder: string) => void,
  ): { reason: string; built: boolean; folder: string };
  /** A plan; with `bytes` the next smaller one than a plan of so many, if there is one. */
  plan(model: AddonModel, request: AddonPlanRequest, bytes?: number): AddonPlan | null;
  frameCount(options: {
    hop: number;
    blockFrames: number;
    positionsPerSecond: number;
    samples: number;
    fps: number;
  }): number;
  schedule(options: AddonSchedule & { steps: number }): {
    alphasCumprod: Float64Array;
    /** Each step makes `keep * x + turn * v` of the latents x and the prediction v. */
    steps: { timestep: number; keep: number; turn: number }[];
  };
  windows(options: {
    frames: number;
    contextFrames: number;
    contextOverlap: number;
    step: number;
    /** Whether to order the windows so that the first frames are finished first. */
    streaming: boolean;
  }): { windows: number[][]; ready: number[] };
  noise(options: { seed: bigint; frame: number; count: number }): Float32Array;
  philox(counter: number[], key: number[]): number[];
}
