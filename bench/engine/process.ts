import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { EngineInfo, LoadOptions, RenderOptions, RenderResult } from '../../native/index.js';
import { CodedError, type ErrorCode } from '../../src/errors.js';
import type { VideoRequest, VideoResult } from '../../worker/pipeline/video.js';

/** One run of one clip; times in milliseconds. */
export interface Sample {
  readonly wallMs: number;
  readonly firstFrameMs: number | null;
  readonly frames: number;
  readonly timings: RenderResult['timings'];
  readonly video: (VideoResult['milliseconds'] & { readonly encoder: string }) | null;
}

export type Order =
  | { kind: 'load'; options: LoadOptions }
  | { kind: 'render'; options: RenderOptions }
  | { kind: 'video'; request: VideoRequest }
  | { kind: 'network'; network: string; shapes: Record<string, number[]>; runs: number };

export interface Answers {
  load: EngineInfo;
  render: Sample;
  video: Sample;
  /** Milliseconds of each run. */
  network: number[];
}

export type Reply =
  | { value: Answers[keyof Answers]; peakHostBytes: number; peakDeviceBytes: number | null }
  | { code: ErrorCode; message: string };

/** An engine in a process of its own, so that engines share neither a heap nor a crash. */
export class EngineProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  /** Largest resident set of the process so far. */
  peakHostBytes = 0;
  /** Most memory in use on its GPU so far, by all processes together; null on the CPU. */
  peakDeviceBytes: number | null = null;

  constructor() {
    this.#child = fork(fileURLToPath(new URL('child.js', import.meta.url)), [], {
      serialization: 'advanced',
    });
    this.#exited = once(this.#child, 'exit');
  }

  load = (options: LoadOptions) => this.#ask<'load'>({ kind: 'load', options });
  render = (options: RenderOptions) => this.#ask<'render'>({ kind: 'render', options });
  video = (request: VideoRequest) => this.#ask<'video'>({ kind: 'video', request });
  network = (network: string, shapes: Record<string, number[]>, runs: number) =>
    this.#ask<'network'>({ kind: 'network', network, shapes, runs });

  async stop(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    await this.#exited;
  }

  async #ask<K extends Order['kind']>(order: Extract<Order, { kind: K }>): Promise<Answers[K]> {
    if (!this.#child.connected) throw this.#gone();
    const waiting = new AbortController();
    try {
      const answered = once(this.#child, 'message', { signal: waiting.signal });
      const ended = once(this.#child, 'exit', { signal: waiting.signal }).then(() => {
        throw this.#gone();
      });
      this.#child.send(order);
      const [reply] = (await Promise.race([answered, ended])) as [Reply];
      if ('code' in reply) throw new CodedError(reply.code, reply.message);
      this.peakHostBytes = Math.max(this.peakHostBytes, reply.peakHostBytes);
      this.peakDeviceBytes = reply.peakDeviceBytes;
      return reply.value as Answers[K];
    } finally {
      waiting.abort();
    }
  }

  #gone(): CodedError {
    const { exitCode, signalCode } = this.#child;
    return new CodedError(
      'ENGINE_FAILED',
      `the process of the engine ended (${signalCode ?? exitCode ?? 'disconnected'}); its output stands above`,
    );
  }
}
