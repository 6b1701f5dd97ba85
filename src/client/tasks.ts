import { type EventSourceMessage, createParser } from 'eventsource-parser';
import type { Static } from 'typebox';
import type * as schema from '../task/http-schema.js';
import type { TaskUpdate } from '../queue/update.js';
import { backoff } from './backoff.js';
import { ApiError } from './errors.js';
import { type Http, type RequestOptions, reading } from './http.js';

export type { TaskUpdate } from '../queue/update.js';
export type NewTask = schema.NewRender;
export type Task = schema.RenderState;
export type TaskOptions = schema.RenderOptions;
export type CreatedTask = Static<typeof schema.createdAnswer>;
export type CancelledTask = Static<typeof schema.cancelledAnswer>;
export type TasksAnswer = Static<typeof schema.rendersAnswer>;

export interface WatchOptions extends RequestOptions {
  /** The `seq` of the last update that is known. */
  readonly after?: number | undefined;
  /** Called when the line is lost, and when it is there again. */
  readonly onLine?: ((isThere: boolean) => void) | undefined;
}

const root = '/api/tasks';
const task = (id: string) => `${root}/${encodeURIComponent(id)}`;

/** Tasks over HTTP. `bearer` is sent in place of a login, if anything. */
export function taskCalls(http: Http, bearer: () => string | undefined) {
  const call = (options: RequestOptions | undefined) => ({ ...options, bearer: bearer() });
  const get = async (id: string, options?: RequestOptions): Promise<Task> =>
    (await http.json<{ task: Task }>('GET', task(id), call(options))).task;

  /** Tells the updates of one answer; the last of all, if it is among them. */
  const follow = async (
    response: Response,
    onUpdate: (update: TaskUpdate) => void,
    signal: AbortSignal | undefined,
  ): Promise<TaskUpdate | undefined> => {
    const body = response.body as ReadableStream<Uint8Array> | null;
    const reader = body?.getReader();
    if (reader === undefined) return undefined;
    const decoder = new TextDecoder();
    const arrived: EventSourceMessage[] = [];
    const parser = createParser({ onEvent: (event) => arrived.push(event) });
    for (;;) {
      const { done, value } = await reading(reader.read(), signal);
      if (done) return undefined;
      parser.feed(decoder.decode(value, { stream: true }));
      for (const { data } of arrived.splice(0)) {
        const update = JSON.parse(data) as TaskUpdate;
        onUpdate(update);
        if (update.status === 'completed' || update.status === 'failed') return update;
      }
    }
  };

  return {
    /** What the live devices render, and the limits of files. */
    options: (options?: RequestOptions) =>
      http.json<TaskOptions>('GET', `${root}/options`, call(options)),
    create: (body: NewTask, options?: RequestOptions) =>
      http.json<CreatedTask>('POST', root, { ...call(options), body }),
    get,
    /** The tasks of whoever is logged in, the newest first. */
    list: (query: { page?: number; page_size?: number } = {}, options?: RequestOptions) =>
      http.json<TasksAnswer>('GET', root, { ...call(options), query }),
    cancel: (id: string, options?: RequestOptions) =>
      http.json<CancelledTask>('DELETE', task(id), call(options)),
    /**
     * Tells every update until the last, which it resolves with. A line that breaks is made again;
     * what cannot pass, such as TASK_NOT_FOUND, is thrown.
     */
    watch: async (
      id: string,
      onUpdate: (update: TaskUpdate) => void,
      { signal, after = 0, onLine }: WatchOptions = {},
    ): Promise<TaskUpdate> => {
      let seq = after;
      let failures = 0;
      const hear = (update: TaskUpdate) => {
        failures = 0;
        seq = update.seq ?? seq;
        onUpdate(update);
      };
      for (;;) {
        let leastSeconds = 0;
        try {
          const headers = { 'last-event-id': String(seq) };
          const path = `${task(id)}/events`;
          const response = await http.send('GET', path, { ...call({ signal }), headers });
          onLine?.(true);
          // all was told before
          if (response.status === 204) return await get(id, { signal });
          const last = await follow(response, hear, signal);
          if (last !== undefined) return last;
        } catch (error) {
          if (!mayPass(error)) throw error;
          leastSeconds = error.retryAfter ?? 0;
        }
        onLine?.(false);
        await pause(backoff(failures++, leastSeconds), signal);
      }
    },
  };
}

function mayPass(error: unknown): error is ApiError {
  return (
    error instanceof ApiError &&
    (error.code === 'OFFLINE' || error.status >= 500 || error.status === 429)
  );
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    if (signal?.aborted === true) return reject(signal.reason as Error);
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
