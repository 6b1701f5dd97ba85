import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { BulkheadRejectedError, bulkhead } from 'cockatiel';
import { toolEnvironment } from '../../config.js';
import { CodedError, type ErrorCode } from '../../errors.js';
import { lastLine } from '../../media/process.js';
import { unlessAborted } from '../../abort.js';

export interface ProgramOptions {
  /** How a failure of the program is told. */
  readonly failed: ErrorCode;
  readonly unavailable: ErrorCode;
  readonly timeoutMs: number;
  readonly maxOutputBytes: number;
  /** Children at once, all others wait; as many as there are cores unless told. */
  readonly children?: number;
}

const maxWaiting = 1000;
const stderrTail = 4000;

const running = new Set<ChildProcess>();
let endsOnExit = false;

/** A program of the operator's choice: children with limits, each in a group of its own. */
export class Program {
  readonly #name: string;
  readonly #options: ProgramOptions;
  readonly #gate;

  constructor(name: string, options: ProgramOptions) {
    this.#name = name;
    this.#options = options;
    this.#gate = bulkhead(options.children ?? availableParallelism(), maxWaiting);
  }

  /**
   * Runs `work` with a private folder as soon as a child may start; the folder is removed after it.
   * Rejects with the signal's reason at once when it is aborted.
   */
  async inTurn<T>(work: (folder: string) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const turn = this.#gate.execute(async () => {
      signal.throwIfAborted();
      const folder = await mkdtemp(join(tmpdir(), 'echomimic-speech-'));
      try {
        return await work(folder);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });
    try {
      return await unlessAborted(turn, signal);
    } catch (error) {
      if (!(error instanceof BulkheadRejectedError)) throw error;
      const text = `${maxWaiting} requests wait for ${this.#name} already; try again later`;
      throw new CodedError(this.#options.unavailable, text);
    }
  }

  /** One run; what it wrote on standard output. The folder is its TMPDIR. */
  run(args: readonly string[], input: Uint8Array, folder: string, signal: AbortSignal) {
    const { timeoutMs, maxOutputBytes } = this.#options;
    return new Promise<Buffer>((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const child = this.#spawn(args, folder);
      endWithProcess(child);
      let failure: Error | undefined;
      const stop = (error: Error): void => {
        failure ??= error;
        endGroup(child);
      };
      const timer = setTimeout(() => stop(this.#timedOut()), timeoutMs);
      const onAbort = (): void => stop(signal.reason as Error);
      signal.addEventListener('abort', onAbort, { once: true });

      const chunks: Buffer[] = [];
      let bytes = 0;
      child.stdout.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > maxOutputBytes) stop(this.#failure(`wrote more than ${maxOutputBytes} bytes`));
        else chunks.push(chunk);
      });
      let stderr = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr = (stderr + text).slice(-stderrTail);
      });
      // a program that needs no input may close it; its exit tells how it went
      child.stdin.on('error', () => {});
      child.stdin.end(input);

      const leave = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        running.delete(child);
      };
      child.once('error', (error) => {
        leave();
        reject(failure ?? this.#failure(`could not start: ${error.message}`));
      });
      child.once('exit', () => endGroup(child));
      child.once('close', (code, signalName) => {
        leave();
        if (failure !== undefined) reject(failure);
        else if (code === 0) resolve(Buffer.concat(chunks));
        else {
          const how =
            code === null ? `was ended by ${signalName ?? 'a signal'}` : `ended with ${code}`;
          reject(this.#failure(`${how}: ${lastLine(stderr)}`));
        }
      });
    });
  }

  #spawn(args: readonly string[], folder: string) {
    try {
      return spawn(this.#name, args, {
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { ...toolEnvironment(), LC_ALL: 'C.UTF-8', TMPDIR: folder },
        detached: true,
        windowsHide: true,
      });
    } catch (error) {
      // such as E2BIG; other failures come as an event
      throw this.#failure(`could not start: ${(error as Error).message}`);
    }
  }

  #failure(how: string): CodedError {
    return new CodedError(this.#options.failed, `${this.#name} ${how}`);
  }

  #timedOut(): CodedError {
    const text = `${this.#name} had not finished after ${this.#options.timeoutMs / 1000} s and was stopped`;
    return new CodedError('PROVIDER_TIMEOUT', text);
  }
}

/** The child and whatever it has started; nothing when all of them are gone. */
function endGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL');
  }
}

function endWithProcess(child: ChildProcess): void {
  if (!endsOnExit) {
    endsOnExit = true;
    process.on('exit', () => running.forEach(endGroup));
  }
  running.add(child);
}
