import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Test } from 'tap';
import { childEnvironment } from '../../src/config.js';
import { projectRoot } from '../../src/paths.js';

const stopMs = 30_000;

/** What the film of a smallest clip worker says of the task it was made for. */
export interface Stamp {
  readonly task_id: string;
  readonly session_id: string;
  /** SHA-256 of the files that the worker fetched, in hexadecimal digits. */
  readonly image: string;
  readonly audio: string;
}

export interface SmallestClipWorker {
  readonly process: ChildProcess;
  /** How long each task takes from now on. */
  setDelay(ms: number): Promise<void>;
  /** Ends it in order; what it works on is handed back. */
  stop(): Promise<void>;
}

/**
 * A worker process for the devices `ids` that answers every task with a tiny, stamped film.
 * `settings` lead to the Redis and the API, as those of the real worker do.
 */
export async function startSmallestClipWorker(
  t: Test,
  settings: Parameters<typeof childEnvironment>[0],
  ids: readonly number[] = [0],
  delayMs = 0,
): Promise<SmallestClipWorker> {
  const child = fork(
    join(projectRoot, 'dist', 'test', 'fixtures', 'smallest-clip-worker.js'),
    ['--ids', ids.join(','), '--delay', String(delayMs)],
    { env: childEnvironment(settings), stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
  );
  const exited = once(child, 'exit');
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    // Left behind, it would hold the output of the test open for ever.
    let isLate = false;
    const late = setTimeout(() => (isLate = child.kill('SIGKILL')), stopMs);
    await exited;
    clearTimeout(late);
    if (isLate) throw new Error(`the smallest clip worker did not stop within ${stopMs} ms`);
  };
  t.teardown(stop);
  const answer = async () => {
    const outcome = await Promise.race([once(child, 'message'), exited]);
    if (outcome[0] === null || typeof outcome[0] === 'number') {
      throw new Error('the smallest clip worker ended; see its log');
    }
  };
  await answer();
  return {
    process: child,
    setDelay: async (ms) => {
      child.send({ delay: ms });
      await answer();
    },
    stop,
  };
}

/** The stamp of a film; undefined when it has none. */
export function stampOf(film: Uint8Array): Stamp | undefined {
  const data = Buffer.from(film.buffer, film.byteOffset, film.byteLength);
  let stamp: Stamp | undefined;
  for (let at = 0; at + 8 <= data.length;) {
    const size = data.readUInt32BE(at);
    if (size < 8) break;
    const content = data.subarray(at + 8, at + size);
    if (data.toString('latin1', at + 4, at + 8) === 'free' && content[0] === 0x7b) {
      stamp = JSON.parse(content.toString()) as Stamp;
    }
    at += size;
  }
  return stamp;
}
