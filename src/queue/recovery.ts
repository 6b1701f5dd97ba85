import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import type { Log } from '../log.js';
import { Repeated } from '../repeated.js';
import { type Entry, readEntry } from './schema.js';
import { cancelledHead, failedUpdate } from './update.js';
import { keys, queueOf, workerOf } from './keys.js';
import { type Redis, runVerb } from './redis.js';
import { deadEntry } from './dead.js';
import { stateFields } from './fields.js';
import { heartbeatMs } from './worker-queue.js';

/** A list whose worker has been silent for this long and that is empty is forgotten. */
const forgetMs = 24 * heartbeatMs;
const partingMs = 2000;

export interface Recovered {
  requeued: number;
  failed: number;
}

/**
 * Finds entries whose worker died: no live lease on two passes, `graceMs` apart. Any process may
 * run it, several at once too.
 */
export class Recovery {
  readonly #redis: Redis;
  readonly #config: Config;
  readonly #log: Log;
  readonly #turns: Repeated;

  constructor(redis: Redis, config: Config, log: Log) {
    this.#redis = redis;
    this.#config = config;
    this.#log = log;
    this.#turns = new Repeated(
      this.graceMs * 1.1,
      () => this.#turn(),
      (err) => log.warn({ err }, 'recovery failed; trying again'),
    );
  }

  get graceMs(): number {
    return Math.max(500, Math.floor(this.#config.tasks.leaseMs / 6));
  }

  start(): void {
    this.#turns.start();
  }

  stop(): Promise<void> {
    return this.#turns.stop(partingMs);
  }

  /** One pass, unless another process had the turn just now. */
  async #turn(): Promise<void> {
    const turn = await this.#redis.set(keys.recoveryTurn, '1', 'PX', this.graceMs, 'NX');
    if (turn !== null) await this.pass();
  }

  async pass(): Promise<Recovered> {
    const total: Recovered = { requeued: 0, failed: 0 };
    const lists = await this.#redis.zrange(keys.workers, '0', '-1', 'WITHSCORES');
    for (let i = 0; i + 1 < lists.length; i += 2) {
      const processing = lists[i] as string;
      await this.#list(processing, '', 'it no longer renewed its lease', total);
      const silent = Date.now() - Number(lists[i + 1]) > forgetMs;
      if (silent && (await this.#redis.llen(processing)) === 0) {
        await this.#redis.zrem(keys.workers, processing);
      }
    }
    return total;
  }

  /** Recovers at once what a worker held that is known to be dead. */
  async workerDied(gpuId: number, worker: string, how = 'it ended'): Promise<Recovered> {
    const total: Recovered = { requeued: 0, failed: 0 };
    const processing = keys.processing(keys.queue(this.#config, gpuId), worker);
    await this.#list(processing, `${worker}:`, how, total);
    await this.#redis.del(keys.gpuStatus(gpuId));
    // What stays is a copy of a task that runs elsewhere: the passes look after it.
    if ((await this.#redis.llen(processing)) === 0) {
      await this.#redis.zrem(keys.workers, processing);
    }
    return total;
  }

  async #list(
    processing: string,
    deadWorker: string,
    how: string,
    total: Recovered,
  ): Promise<void> {
    // From the end, so that several entries come back to the head of the queue in their order.
    for (const raw of (await this.#redis.lrangeBuffer(processing, 0, -1)).reverse()) {
      const entry = readEntry(raw.toString());
      const { taskId } = entry;
      try {
        const outcome = await this.#recover(processing, raw, entry, deadWorker, how);
        if (outcome !== 'requeued' && outcome !== 'failed' && outcome !== 'cancelled') continue;
        if (outcome !== 'cancelled') total[outcome]++;
        this.#log.warn(
          { task: taskId, outcome, worker: workerOf(processing), how },
          'task recovered',
        );
      } catch (err) {
        // One that cannot be recovered must not keep the others from it.
        this.#log.warn({ err, task: taskId }, 'could not recover a task; trying again');
      }
    }
  }

  async #recover(
    processing: string,
    raw: Buffer,
    entry: Entry,
    deadWorker: string,
    how: string,
  ): Promise<string> {
    const queue = queueOf(processing);
    const taskId = entry.taskId ?? '';
    const { maxAttempts, stateMs } = this.#config.tasks;
    const exhausted = new CodedError(
      'TASK_ATTEMPTS_EXHAUSTED',
      `the worker was lost ${maxAttempts} times while it ran this task, the last time because ${how}`,
    );
    const update = failedUpdate(entry, 0, exhausted.code, exhausted.message);
    return (await runVerb(
      this.#redis,
      'recover',
      [
        ...[processing, queue, keys.lease(taskId), keys.state(taskId)],
        ...[keys.suspects(processing), keys.dead(queue)],
      ],
      [
        ...[raw, this.graceMs, deadWorker, maxAttempts, stateMs, this.#config.progressChannel],
        ...[cancelledHead(taskId), JSON.stringify(update)],
        deadEntry(raw, update, workerOf(processing)),
        ...stateFields(update),
      ],
    )) as string;
  }
}
