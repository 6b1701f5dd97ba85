import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import type { Log } from '../log.js';
import type { DeviceInfo } from './device.js';
import { type Entry, brokenEntry, readEntry } from './schema.js';
import {
  cancelledHead,
  cancelledMessage,
  completedUpdate,
  failedUpdate,
  progressUpdate,
  type TaskUpdate,
} from './update.js';
import { cancelTask, readControl } from './cancel.js';
import { deadEntry } from './dead.js';
import { type WorkFacts, stateFields } from './fields.js';
import { keys } from './keys.js';
import { type Redis, connectRedis, patiently, runVerb, willPass } from './redis.js';

/** How long a worker's own keys outlive its last heartbeat. */
export const heartbeatMs = 5_000;
const presenceSeconds = 15;
const blockSeconds = 5;
/** How long the last words to a Redis that is away are waited for. */
const partingMs = 2_000;
const forgetDevicesMs = 24 * 3_600_000;

export interface Claim {
  readonly raw: string;
  readonly entry: Entry;
  readonly taskId: string;
  readonly token: string;
  readonly attempt: number;
  /** The attempts that count: those handed back do not. */
  readonly tries: number;
  /** Of the video that this attempt stores; without a completion it is deleted. */
  readonly videoId: string;
  /** Aborted with TASK_CANCELLED, which the worker then fails the task with. */
  readonly cancelled: AbortSignal;
}

/** What became of a step on a claimed task. */
type Outcome = 'done' | 'cancelled' | 'lost';

/** One worker's side of a queue: takes entries, keeps them leased, ends each exactly once. */
export class WorkerQueue {
  readonly queue: string;
  readonly processing: string;
  readonly worker: string;
  readonly redis: Redis;
  /** With it the API knows requests of workers. */
  workerKey: string | undefined;
  readonly #blocking: Redis;
  readonly #control: Redis;
  /** What tells the claims of now, by task, that they are cancelled. */
  readonly #claims = new Map<string, { token: string; abort: AbortController }>();
  readonly #config: Config;
  readonly #gpuId: number;
  readonly #log: Log;
  #status: 'idle' | 'busy' | undefined;
  #info: string | undefined;
  /** When the device began the work that is not counted yet. */
  #busySince: number | undefined;
  #heart: NodeJS.Timeout | undefined;
  #lastBeat = 0;
  #stopping = false;
  readonly #stopped: Promise<undefined>;
  #markStopped!: () => void;

  constructor(config: Config, gpuId: number, worker: string, log: Log) {
    this.#config = config;
    this.#gpuId = gpuId;
    this.#log = log;
    this.worker = worker;
    this.#stopped = new Promise((resolve) => (this.#markStopped = () => resolve(undefined)));
    this.queue = keys.queue(config, gpuId);
    this.processing = keys.processing(this.queue, worker);
    this.redis = connectRedis(config, log);
    this.#blocking = connectRedis(config, log, {
      blockMs: blockSeconds * 1000,
      connectionName: this.#blockingName(),
    });
    this.#control = connectRedis(config, log, { connectionName: `control:${worker}` });
    this.#control.on('message', (_channel, text: string) => this.#hear(text));
  }

  /** From now on the worker is seen: `idle`, or `busy` while it holds a task. */
  async open(info?: Omit<DeviceInfo, 'worker'>): Promise<void> {
    if (info !== undefined) this.#info = JSON.stringify({ worker: this.worker, ...info });
    await this.#control.subscribe(keys.control);
    await this.setStatus('idle');
    this.#heart = setInterval(() => {
      void this.#beat().catch((err: unknown) => this.#log.warn({ err }, 'heartbeat failed'));
    }, heartbeatMs);
  }

  async setStatus(status: 'idle' | 'busy'): Promise<void> {
    this.#status = status;
    await this.#beat();
  }

  async #beat(): Promise<void> {
    if (this.#status === undefined) return;
    const at = performance.now();
    const busySeconds = this.#busySince === undefined ? 0 : (at - this.#busySince) / 1000;
    this.#busySince = this.#status === 'busy' ? at : undefined;
    const beat = this.redis.multi();
    if (busySeconds > 0) {
      beat.hincrbyfloat(keys.totals, `busy:${this.#gpuId}`, busySeconds.toFixed(3));
    }
    if (this.#info !== undefined) {
      beat.set(keys.gpuInfo(this.#gpuId), this.#info, 'EX', presenceSeconds);
    }
    await beat
      .set(keys.gpuStatus(this.#gpuId), this.#status, 'EX', presenceSeconds)
      .zadd(keys.workers, Date.now(), this.processing)
      .zadd(keys.gpus, Date.now(), this.#gpuId)
      .zremrangebyscore(keys.gpus, 0, Date.now() - forgetDevicesMs)
      .exec();
    this.#lastBeat = Date.now();
    this.workerKey = (await this.redis.get(keys.workerKey)) ?? undefined;
  }

  /** The next entry, which now stands in this worker's processing list; undefined on stop. */
  async take(): Promise<string | undefined> {
    // What arrives after the stop stays in the processing list, from where close() gives it back.
    return Promise.race([this.#next(), this.#stopped]);
  }

  async #next(): Promise<string | undefined> {
    while (!this.#stopping) {
      try {
        // Recovery must know the list before anything can be in it.
        if (Date.now() - this.#lastBeat > 2 * heartbeatMs) await this.#beat();
        let raw = await this.redis.lindexBuffer(this.processing, 0);
        if (raw === null && !this.#isStopping()) {
          const lists = [this.queue, this.processing] as const;
          raw = await this.#blocking.blmoveBuffer(...lists, 'LEFT', 'RIGHT', blockSeconds);
        }
        if (raw === null) continue;
        if (isUtf8(raw)) return raw.toString();
        await this.#reject(raw, brokenEntry(raw.toString(), 'the task is not UTF-8'));
      } catch (err) {
        if (this.#isStopping()) break;
        this.#log.warn({ err }, 'could not take a task; trying again');
        await sleep(500);
      }
    }
    return undefined;
  }

  #isStopping(): boolean {
    return this.#stopping;
  }

  /** Wakes `take`; it returns undefined from now on. */
  async stopTaking(): Promise<void> {
    this.#stopping = true;
    await this.#within(partingMs, this.#unblock());
    this.#markStopped();
  }

  async #unblock(): Promise<void> {
    const list = String(await this.redis.client('LIST'));
    const mine = list.split('\n').find((line) => line.includes(` name=${this.#blockingName()} `));
    const id = mine?.match(/^id=(\d+)/)?.[1];
    if (id !== undefined) await this.redis.client('UNBLOCK', id);
  }

  /** A Redis that is away must not keep a worker from ending. */
  async #within(ms: number, work: Promise<void>): Promise<void> {
    const done = work.catch((err: unknown) => this.#log.warn({ err }, 'no proper parting'));
    await Promise.race([done, sleep(ms, undefined, { ref: false })]);
  }

  #blockingName(): string {
    return `take:${this.worker}`;
  }

  /** A message may be missed: renewals and reports learn of a cancelled task too. */
  #hear(text: string): void {
    const message = readControl(text);
    if (message === undefined) return;
    if ('stop' in message) {
      if (this.#claims.get(message.stop)?.token === message.token) this.#cancel(message.stop);
      return;
    }
    cancelTask(this.redis, this.#config, message.cancel).catch((err: unknown) =>
      this.#log.warn({ err, task: message.cancel }, 'could not cancel a task'),
    );
  }

  #cancel(taskId: string): void {
    const abort = this.#claims.get(taskId)?.abort;
    if (abort?.signal.aborted === false) {
      abort.abort(new CodedError('TASK_CANCELLED', cancelledMessage));
    }
  }

  /** Leases an entry that was taken; undefined when it is not ours to work on. */
  async claim(raw: string): Promise<Claim | undefined> {
    const entry = readEntry(raw);
    const { taskId } = entry;
    if (taskId === undefined) {
      await this.#reject(Buffer.from(raw), entry);
      return undefined;
    }
    const videoId = randomUUID();
    const token = `${this.worker}:${videoId}`;
    const update = progressUpdate(entry, 'processing', 0, 'a worker has taken the task');
    // Known before the claim, so that no cancellation falls between the two.
    const abort = new AbortController();
    this.#claims.set(taskId, { token, abort });
    const claiming = runVerb(
      this.redis,
      'claim',
      [this.processing, keys.lease(taskId), keys.state(taskId), keys.suspects(this.processing)],
      [
        ...[raw, token, this.worker, this.#config.tasks.leaseMs, this.#config.tasks.stateMs],
        ...[this.#config.progressChannel, cancelledHead(taskId), JSON.stringify(update)],
        ...stateFields(update, { queue: this.queue, worker: this.worker }),
      ],
    );
    let claimed: [string, number, number];
    try {
      claimed = (await claiming) as typeof claimed;
    } catch (error) {
      this.#claims.delete(taskId);
      if (!isReply(error) || willPass(error)) throw error;
      // A key of its state's name is something else: the next entry must not wait for that.
      const problem = new CodedError('INTERNAL', `Redis: ${(error as Error).message}`);
      await this.#reject(Buffer.from(raw), { ...entry, problem });
      return undefined;
    }
    const [outcome, attempt, tries] = claimed;
    this.#log.info({ task: taskId, outcome, attempt }, 'claim');
    if (outcome === 'claimed') {
      return { raw, entry, taskId, token, attempt, tries, videoId, cancelled: abort.signal };
    }
    this.#claims.delete(taskId);
    return undefined;
  }

  async #reject(raw: Buffer, entry: Entry): Promise<void> {
    const problem = entry.problem as CodedError;
    const update = failedUpdate(entry, 0, problem.code, problem.message);
    await runVerb(
      this.redis,
      'reject',
      [this.processing, keys.dead(this.queue)],
      [
        raw,
        this.#config.progressChannel,
        JSON.stringify(update),
        deadEntry(raw, update, this.worker),
      ],
    );
    this.#log.warn({ code: problem.code, reason: problem.message }, 'entry refused');
  }

  /**
   * Whether the task may use a file. A session's file serves only what the server queued for that
   * session: nobody who pushes tasks can write their state, where the server's own entry stands.
   */
  async mayUse({ raw, taskId, entry }: Claim, fileId: string): Promise<boolean> {
    const [owner, queued] = await patiently(this.#log, () =>
      Promise.all([
        this.redis.get(keys.fileOwner(fileId.toLowerCase())),
        this.redis.hget(keys.state(taskId), 'raw'),
      ]),
    );
    return owner === null || (owner === entry.sessionId && queued === raw);
  }

  /** False when the task is no longer ours; true for a cancelled one, which is ours to end. */
  async renew(claim: Claim): Promise<boolean> {
    return (await this.#own('renew', claim, [this.#config.tasks.leaseMs])) !== 'lost';
  }

  /** A report that Redis refuses is left out: the next one, or the end, says more. */
  async report(claim: Claim, update: TaskUpdate): Promise<boolean> {
    try {
      return (await this.#own('report', claim, this.#sending(update, []))) !== 'lost';
    } catch (err) {
      this.#log.warn({ err, task: claim.taskId }, 'could not report');
      return true;
    }
  }

  /** False when the task is no longer ours, or cancelled: its signal tells which. */
  async complete(claim: Claim, videoFileId: string, facts: WorkFacts = {}): Promise<boolean> {
    const update = completedUpdate(claim.entry, videoFileId);
    return (await this.#finish(claim, update, '', facts)) === 'done';
  }

  /**
   * A task that was cancelled fails with that, whatever else is wrong with it. What is no task,
   * or breaks the workers that try it (`breaksWorkers`), goes to the dead-letter list.
   */
  async fail(
    claim: Claim,
    progress: number,
    error: CodedError,
    { breaksWorkers = false, facts = {} }: { breaksWorkers?: boolean; facts?: WorkFacts } = {},
  ): Promise<boolean> {
    const update = failedUpdate(claim.entry, progress, error.code, error.message);
    const isBuried = breaksWorkers || error.code === 'TASK_MALFORMED';
    const buried = isBuried ? deadEntry(Buffer.from(claim.raw), update, this.worker) : '';
    const outcome = await this.#finish(claim, update, buried, facts);
    if (outcome !== 'cancelled') return outcome === 'done';
    const cancelled = new CodedError('TASK_CANCELLED', cancelledMessage);
    return this.fail(claim, progress, cancelled, { facts });
  }

  #finish(claim: Claim, update: TaskUpdate, buried: string, facts: WorkFacts): Promise<Outcome> {
    const sending = this.#sending(update, [buried], facts);
    return this.#own('finish', claim, sending, [keys.dead(this.queue)]);
  }

  /** Puts a claimed task back at the head of its queue, for another worker; ends a cancelled one. */
  async handBack(claim: Claim): Promise<boolean> {
    const outcome = await this.#own('handback', claim, this.#ending(claim.taskId), [this.queue]);
    return outcome === 'done';
  }

  #ending(taskId: string): (string | number)[] {
    return [this.#config.tasks.stateMs, this.#config.progressChannel, cancelledHead(taskId)];
  }

  #sending(update: TaskUpdate, between: string[], facts: WorkFacts = {}): (string | number)[] {
    return [
      ...[this.#config.tasks.stateMs, this.#config.progressChannel, JSON.stringify(update)],
      ...between,
      ...stateFields(update, facts),
    ];
  }

  async #own(
    verb: 'renew' | 'report' | 'finish' | 'handback',
    claim: Claim,
    args: (string | number)[],
    moreKeys: string[] = [],
  ): Promise<Outcome> {
    const { taskId, token, raw } = claim;
    const names = [keys.lease(taskId), keys.state(taskId), this.processing, ...moreKeys];
    const answer = await patiently(this.#log, () =>
      runVerb(this.redis, verb, names, [token, raw, ...args]),
    );
    const isOurs = this.#claims.get(taskId)?.token === token;
    if (answer === -1 && isOurs) this.#cancel(taskId);
    const isOver = answer === 0 || (answer === 1 && (verb === 'finish' || verb === 'handback'));
    if (isOver && isOurs) this.#claims.delete(taskId);
    return answer === 1 ? 'done' : answer === -1 ? 'cancelled' : 'lost';
  }

  /** Gives back whatever was taken but not claimed, and disappears. */
  async close(): Promise<void> {
    await this.stopTaking();
    clearInterval(this.#heart);
    this.#status = undefined;
    await this.#within(partingMs, this.#part());
    this.disconnect();
  }

  async #part(): Promise<void> {
    for (const raw of await this.redis.lrangeBuffer(this.processing, 0, -1)) {
      const taskId = readEntry(raw.toString()).taskId ?? '';
      await runVerb(
        this.redis,
        'handback',
        [keys.lease(taskId), keys.state(taskId), this.processing, this.queue],
        ['', raw, ...this.#ending(taskId)],
      );
    }
    const gone = this.redis.multi().del(keys.gpuStatus(this.#gpuId), keys.gpuInfo(this.#gpuId));
    if ((await this.redis.llen(this.processing)) === 0) gone.zrem(keys.workers, this.processing);
    gone.zrem(keys.gpus, this.#gpuId);
    await gone.exec();
  }

  /** Cuts the connections, as a crash would. */
  disconnect(): void {
    clearInterval(this.#heart);
    this.#stopping = true;
    this.#markStopped();
    this.#blocking.disconnect();
    this.#control.disconnect();
    this.redis.disconnect();
  }
}

/** Whether it is Redis that said so; not a line that broke. */
function isReply(error: unknown): boolean {
  return (error as Error).name === 'ReplyError';
}
