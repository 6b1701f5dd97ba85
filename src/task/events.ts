import { setTimeout as sleep } from 'node:timers/promises';
import type { Tasks } from './tasks.js';
import { type TaskUpdate, isEnd } from '../queue/update.js';

/** What a client that reads slowly is behind at most; of what is older, the last word counts. */
const mostBehind = 100;
const reconnectMs = 2000;

export interface EventsOptions {
  /** The `seq` that the client knows. */
  readonly after: number;
  /** Aborted when the client is gone, or the server stops. */
  readonly signal: AbortSignal;
  readonly heartbeatMs: number;
  /** Whether the client may go on listening; asked with every heartbeat. */
  readonly mayListen: () => Promise<boolean>;
}

/**
 * The updates of a task as Server-Sent Events, until its end; nothing is read ahead of whoever
 * pulls. Comments between them keep the line alive.
 */
export async function* taskEvents(
  tasks: Pick<Tasks, 'watch' | 'result'>,
  taskId: string,
  { after, signal, heartbeatMs, mayListen }: EventsOptions,
): AsyncGenerator<string> {
  const waiting: TaskUpdate[] = [];
  let wake = (): void => undefined;
  const unwatch = tasks.watch(
    taskId,
    (update) => {
      waiting.push(update);
      if (waiting.length > mostBehind) waiting.shift();
      wake();
    },
    after,
  );
  try {
    yield `retry: ${reconnectMs}\n\n`;
    while (!signal.aborted) {
      const update = waiting.shift();
      if (update !== undefined) {
        yield eventOf(update);
        if (isEnd(update)) return;
        continue;
      }
      const news = new AbortController();
      wake = () => news.abort();
      const either = AbortSignal.any([news.signal, signal]);
      const isSilent = await sleep(heartbeatMs, true, { signal: either }).catch(() => false);
      if (!isSilent) continue;
      if (!(await mayListen())) return;
      // Its state may be gone, or tell of an end that has a smaller number than the client knows.
      const last = await tasks.result(taskId);
      if (last !== undefined && isEnd(last)) yield eventOf(last);
      if (last === undefined || isEnd(last)) return;
      yield ': \n\n';
    }
  } finally {
    unwatch();
  }
}

function eventOf(update: TaskUpdate): string {
  const id = update.seq === undefined ? '' : `id: ${update.seq}\n`;
  return `${id}data: ${JSON.stringify(update)}\n\n`;
}
