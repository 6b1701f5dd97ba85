import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { unlessAborted } from '../abort.js';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import { readJson } from '../json.js';
import { type Owner, allowance, userOf } from '../limit/rates.js';
import type { Log } from '../log.js';
import { traceparent, traced } from '../observe/trace.js';
import { knownDevices } from '../queue/dead.js';
import { type CancelOutcome, cancelTask, configuredDevices, readControl } from '../queue/cancel.js';
import { keys, statusPrefix } from '../queue/keys.js';
import { type Redis, inTime, runVerb } from '../queue/redis.js';
import { type DeviceInfo, deviceInfo } from '../queue/device.js';
import { readEntry } from '../queue/schema.js';
import { type TaskUpdate, queuedHead } from '../queue/update.js';
import { type TaskListener, Watchers, readUpdate } from './watchers.js';

/** A task for whichever device is best; what is left out follows the loaded weights. */
export interface NewTask {
  /** A new id when it is left out. */
  readonly taskId?: string | undefined;
  readonly sessionId: string;
  /** Whose tasks are counted together; otherwise it is not counted. */
  readonly owner?: Owner | undefined;
  readonly refImageId: string;
  readonly audioId: string;
  readonly steps?: number | undefined;
  readonly cfg?: number | undefined;
  readonly seed?: number | undefined;
  readonly size?: number | undefined;
  readonly framesNum?: number | undefined;
}

export interface Submitted {
  readonly taskId: string;
  readonly gpuId: number;
  /** How many tasks wait before it; 0 runs next, or now if its device is idle. */
  readonly position: number;
}

/** How often a task that finds no worker looks again. */
const lookMs = 200;
/** How long a Redis that does not answer is waited for. */
const answerMs = 10_000;

/** The server's side of the tasks: chooses devices, cancels, and tells what becomes of them. */
export class Tasks {
  readonly #redis: Redis;
  readonly #subscriber: Redis;
  readonly #config: Config;
  readonly #log: Log;
  readonly #watchers: Watchers;
  #stopping = false;
  readonly #onMessage = (channel: string, text: string) => this.#hear(channel, text);

  /** `subscriber` must be a connection of its own. Both stay the caller's to close. */
  constructor(redis: Redis, subscriber: Redis, config: Config, log: Log) {
    this.#redis = redis;
    this.#subscriber = subscriber;
    this.#config = config;
    this.#log = log;
    this.#watchers = new Watchers({
      ...{ redis, subscriber, config, log },
      place: (update) => this.#place(update),
      adopt: (update) => this.#adopt(update),
    });
  }

  /** Tasks that somebody watches. */
  get watched(): number {
    return this.#watchers.size;
  }

  /** Resolves when messages arrive; a Redis that is away is waited for. */
  async start(): Promise<void> {
    this.#subscriber.on('message', this.#onMessage);
    const watching = this.#watchers.start();
    try {
      await this.#subscriber.subscribe(keys.control);
    } catch (error) {
      if (!this.#stopping) throw error;
    }
    await watching;
  }

  /** Ends watching and whoever still waits for a worker; tasks go on. */
  stop(): void {
    this.#stopping = true;
    this.#subscriber.off('message', this.#onMessage);
    this.#watchers.stop();
  }

  /** Clients of Redis cancel by a message. */
  #hear(channel: string, text: string): void {
    const message = channel === keys.control ? readControl(text) : undefined;
    if (message === undefined || !('cancel' in message)) return;
    this.cancel(message.cancel).catch((err: unknown) =>
      this.#log.warn({ err, task: message.cancel }, 'could not cancel a task'),
    );
  }

  /**
   * Queues a task on the device that the strategy chooses. Throws TASK_INVALID, TOO_MANY_TASKS,
   * TASK_QUEUE_FULL, NO_WORKER_AVAILABLE when none is live within the time for that, REDIS_UNAVAILABLE, or the
   * reason of `signal`; then nothing is left of the task.
   */
  async submit(task: NewTask, options: { signal?: AbortSignal } = {}): Promise<Submitted> {
    const taskId = task.taskId ?? randomUUID();
    const span = {
      kind: 'producer',
      attributes: { task: taskId, session: task.sessionId },
    } as const;
    return traced('task.submit', span, () => this.#submit({ ...task, taskId }, options));
  }

  async #submit(
    task: NewTask & { readonly taskId: string },
    options: { signal?: AbortSignal },
  ): Promise<Submitted> {
    const { taskId } = task;
    const user = userOf(task.owner);
    const raw = JSON.stringify({
      ...{ task_id: taskId, session_id: task.sessionId },
      ...{ ref_image_id: task.refImageId, audio_id: task.audioId },
      ...{ steps: task.steps, cfg: task.cfg, seed: task.seed, size: task.size },
      frames_num: task.framesNum,
      traceparent: traceparent(),
      ...(this.#config.apiToken === undefined ? {} : { user }),
    });
    const { problem } = readEntry(raw);
    if (problem !== undefined) throw problem;
    const { workerWaitMs } = this.#config.tasks;
    const deadline = Date.now() + workerWaitMs;
    const { signal } = options;
    for (;;) {
      signal?.throwIfAborted();
      if (this.#stopping) throw new CodedError('SERVER_STOPPING', 'the server stops');
      const gpu = await this.#push(taskId, task, raw, signal);
      if (gpu !== undefined) {
        const { gpuId: device, position } = gpu;
        const { sessionId: session } = task;
        this.#log.info({ task: taskId, session, user, device, position }, 'task queued');
        return { taskId, ...gpu };
      }
      const left = deadline - Date.now();
      if (left <= 0) {
        throw new CodedError(
          'NO_WORKER_AVAILABLE',
          `no worker was there within ${workerWaitMs / 1000} s: start one, or try again later`,
        );
      }
      await sleep(Math.min(lookMs, left), undefined, { signal }).catch(() => undefined);
    }
  }

  async #push(
    taskId: string,
    { sessionId, owner }: NewTask,
    raw: string,
    signal: AbortSignal | undefined,
  ): Promise<{ gpuId: number; position: number } | undefined> {
    const { tasks, limits, progressChannel } = this.#config;
    const mostTheirs = owner === undefined ? 0 : allowance(owner, limits.tasksPerUser);
    const pushing = runVerb(
      this.#redis,
      'submit',
      [keys.state(taskId), keys.gpus, keys.workers, keys.turn, keys.tasksOf(owner ?? '')],
      [
        ...[randomUUID(), raw, ...this.#scheduling(), tasks.stateMs, progressChannel],
        ...[queuedHead(taskId, sessionId), limits.tasksPerQueue, mostTheirs, taskId],
      ],
    ) as Promise<[string, string, string]>;
    const [outcome, gpu, position] = await this.#answer(pushing, signal).catch((error: unknown) => {
      // Given up, but it may have been, or may yet be, pushed.
      pushing
        .then(([late]) => (late === 'queued' ? this.cancel(taskId) : undefined))
        .catch((err: unknown) => this.#log.warn({ err, task: taskId }, 'could not take it back'));
      throw error;
    });
    if (outcome === 'taken') {
      throw new CodedError('TASK_INVALID', `a task ${taskId} is under way: take another task_id`);
    }
    if (outcome === 'many') {
      throw new CodedError(
        'TOO_MANY_TASKS',
        `${mostTheirs} tasks wait or run for you already: try again when one of them is over`,
      );
    }
    if (outcome === 'full') {
      throw new CodedError(
        'TASK_QUEUE_FULL',
        `${limits.tasksPerQueue} tasks wait for every device already: try again later`,
      );
    }
    if (outcome === 'none') return undefined;
    return { gpuId: Number(gpu), position: Number(position) };
  }

  #scheduling(): string[] {
    const { tasks, queueName } = this.#config;
    return [tasks.strategy, queueName, statusPrefix, configuredDevices(this.#config)];
  }

  async #place({ task_id, session_id }: TaskUpdate): Promise<void> {
    const { tasks, progressChannel } = this.#config;
    await runVerb(
      this.#redis,
      'place',
      [keys.state(task_id), keys.gpus, keys.workers, keys.turn],
      [...this.#scheduling(), tasks.stateMs, progressChannel, queuedHead(task_id, session_id)],
    );
  }

  async #adopt({ session_id: _, ...said }: TaskUpdate): Promise<void> {
    const names = [keys.state(said.task_id)];
    await runVerb(this.#redis, 'adopt', names, [this.#config.tasks.stateMs, JSON.stringify(said)]);
  }

  /** Cancels a task, whoever pushed it. It ends as `failed` with TASK_CANCELLED, exactly once. */
  async cancel(taskId: string): Promise<CancelOutcome> {
    return this.#answer(cancelTask(this.#redis, this.#config, taskId));
  }

  /**
   * Tells every update of a task with a `seq` over `fromSeq`, in rising order, none twice, and
   * the last one for certain; then the watching ends by itself. Returns what ends it before.
   */
  watch(taskId: string, listener: TaskListener, fromSeq = 0): () => void {
    return this.#watchers.watch(taskId, listener, fromSeq);
  }

  /** What was said last of a task; undefined when nothing is known of it. */
  async result(taskId: string): Promise<TaskUpdate | undefined> {
    const last = await this.#answer(this.#redis.hget(keys.state(taskId), 'last'));
    return last === null ? undefined : readUpdate(last);
  }

  /** The live devices whose workers say what they are: all of ours. */
  async devices(): Promise<DeviceInfo[]> {
    return this.#answer(
      (async () => {
        const ids = await knownDevices(this.#redis, this.#config);
        const told = await this.#redis.mget(ids.map(keys.gpuInfo));
        return told
          .map((text) => readJson(deviceInfo, text))
          .filter((device) => device !== undefined);
      })(),
    );
  }

  async #answer<T>(asked: Promise<T>, signal?: AbortSignal): Promise<T> {
    return inTime(signal === undefined ? asked : unlessAborted(asked, signal), answerMs);
  }
}
