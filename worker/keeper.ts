import { type ChildProcess, fork } from 'node:child_process';
import { CodedError, type ErrorCode, errorCodes } from '../src/errors.js';
import type { Log } from '../src/log.js';

/** What a kept process tells its keeper. */
export type ChildMessage =
  | { type: 'hello'; worker: string }
  | { type: 'ready'; address?: string; worker?: string }
  | { type: 'beat' }
  | { type: 'failed'; code: string; message: string };

export interface KeeperOptions {
  readonly name: string;
  readonly module: string;
  readonly args?: readonly string[];
  readonly environment: Record<string, string>;
  readonly log: Log;
  /** How long it may take to be ready, and to end after it was told to. */
  readonly startMs: number;
  readonly stopMs: number;
  /** How often it says that it lives; after its `hello` it is killed when it falls silent. */
  readonly beatMs?: number;
  readonly onMessage?: (message: ChildMessage) => void;
  /** Called when the process is gone, before another one is started; `how` is half a sentence. */
  readonly onExit?: (how: string) => Promise<void>;
}

/** How often a process says that it lives, and how many of its beats may be missing. */
export const beatMs = 5_000;
const missedBeats = 12;

/** Says from now on that this process lives; a keeper that is gone by then is no failure of ours. */
export function beat(everyMs = beatMs): void {
  setInterval(() => process.send?.({ type: 'beat' }, () => undefined), everyMs).unref();
}

const firstWaitMs = 200;
const longestWaitMs = 30_000;
/** A process that lived this long did not fail at its start: the waits begin anew. */
const healthyMs = 60_000;

/** Keeps one process running: a new one only after the old one is gone, ever later if it fails. */
export class Keeper {
  readonly #options: KeeperOptions;
  #child: ChildProcess | undefined;
  #gone: Promise<void> = Promise.resolve();
  #failures = 0;
  #stopping = false;
  #wake: (() => void) | undefined;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when the first process is ready; a failure of that one is final. */
  async start(): Promise<void> {
    const { name, startMs } = this.#options;
    await new Promise<void>((resolve, reject) => {
      const fail = (code: ErrorCode, message: string) => {
        this.#stopping = true;
        this.#child?.kill('SIGKILL');
        reject(new CodedError(code, message));
      };
      const timer = setTimeout(() => {
        fail('INTERNAL', `${name} was not ready within ${startMs / 1000} s`);
      }, startMs);
      let settled = false;
      const settle = (message: ChildMessage | 'exit') => {
        if (settled) return;
        if (message !== 'exit' && (message.type === 'hello' || message.type === 'beat')) return;
        settled = true;
        clearTimeout(timer);
        if (message === 'exit') fail('INTERNAL', `${name} ended while it started; see its log`);
        else if (message.type === 'ready') resolve();
        else {
          const known = message.code in errorCodes;
          fail(known ? (message.code as ErrorCode) : 'INTERNAL', message.message);
        }
      };
      this.#launch(settle);
    });
  }

  #launch(onNews?: (news: ChildMessage | 'exit') => void): void {
    const { module, args = [], environment, log, name, onMessage } = this.#options;
    // A group of its own: a Ctrl-C at the terminal reaches us, and we end them in order.
    const child = fork(module, args, {
      env: environment,
      detached: true,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child = child;
    const started = Date.now();
    const pulse = this.#listen(child);
    child.on('message', (message) => {
      pulse.heard(message as ChildMessage);
      onMessage?.(message as ChildMessage);
      onNews?.(message as ChildMessage);
    });
    this.#gone = new Promise<void>((resolve) => {
      const gone = (how: Ending) => {
        pulse.stop();
        this.#child = undefined;
        onNews?.('exit');
        if (!this.#stopping) log.error({ process: name, ...how }, 'a process ended unexpectedly');
        if (Date.now() - started > healthyMs) this.#failures = 0;
        const why = pulse.isSilent ? 'it hung' : describe(how);
        Promise.resolve(this.#options.onExit?.(why))
          .catch((err: unknown) => log.error({ err, process: name }, 'clean-up after it failed'))
          .finally(resolve);
      };
      child.once('exit', (code, signal) => gone({ code, signal }));
      child.once('error', (err) => {
        if (child.pid === undefined) gone({ err });
      });
    });
    void this.#gone.then(() => this.#again());
  }

  /** Kills a process that spoke and then fell silent. Ticks are counted, so a pause of all is none. */
  #listen(child: ChildProcess): {
    heard(message: ChildMessage): void;
    stop(): void;
    isSilent: boolean;
  } {
    const { beatMs, log, name } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    let missed = 0;
    const pulse = {
      isSilent: false,
      heard: ({ type }: ChildMessage) => {
        missed = 0;
        if (type === 'hello' && beatMs !== undefined) timer ??= setInterval(tick, beatMs);
      },
      stop: () => clearInterval(timer),
    };
    const tick = () => {
      if (++missed <= missedBeats || pulse.isSilent) return;
      pulse.isSilent = true;
      log.error({ process: name }, 'it hangs: killed');
      child.kill('SIGKILL');
    };
    return pulse;
  }

  async #again(): Promise<void> {
    if (this.#stopping) return;
    const wait = Math.min(firstWaitMs * 2 ** this.#failures++, longestWaitMs);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, wait);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    if (this.#stopping) return;
    this.#options.log.info({ process: this.#options.name }, 'starting it again');
    this.#launch();
  }

  /** Tells the process to end, kills it when it does not. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#wake?.();
    const child = this.#child;
    if (child !== undefined) {
      child.kill('SIGTERM');
      const timer = setTimeout(() => {
        this.#options.log.error({ process: this.#options.name }, 'it does not end: killed');
        child.kill('SIGKILL');
      }, this.#options.stopMs);
      await this.#gone;
      clearTimeout(timer);
    }
    await this.#gone;
  }
}

interface Ending {
  readonly code?: number | null;
  readonly signal?: NodeJS.Signals | null;
  readonly err?: Error;
}

function describe({ code, signal, err }: Ending): string {
  if (err !== undefined) return `it could not be started: ${err.message}`;
  return signal ? `it was ended by ${signal}` : `it ended with code ${code}`;
}
