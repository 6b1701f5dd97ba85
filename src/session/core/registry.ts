import { randomUUID } from 'node:crypto';
import { Fleet, type FleetTimes } from '../../fleet/fleet.js';
import { fleetKeys } from '../../fleet/keys.js';
import { setTimeout as sleep } from 'node:timers/promises';
import { type TaskUpdate, isEnd } from '../../queue/update.js';
import { CodedError } from '../../errors.js';
import { keys as queueKeys, workerKeyHeader } from '../../queue/keys.js';
import { inTime } from '../../queue/redis.js';
import { Repeated } from '../../repeated.js';
import { type Passage, relayHeader } from '../socket/relay.js';
import { OwnedFiles, type Ownership } from './files.js';
import type { SessionServices } from '../services.js';
import { type Snapshot, readSnapshot } from './snapshot.js';

/** Names in Redis of what sessions own. */
const keys = {
  owner: queueKeys.fileOwner,
  files: (sessionId: string) => `session_files:${sessionId}`,
  tasks: (sessionId: string) => `session_tasks:${sessionId}`,
  snapshot: (sessionId: string) => `session:${sessionId}`,
  live: fleetKeys.live,
  /** What another process carries on, as JSON. */
  pass: (pass: string) => `session_pass:${pass}`,
} as const;

/** A file is its first owner's: 1 when that is (now) the session. */
const claimScript = `
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1`;

/** Another process has the session: it can be carried on to there. */
export class HeldElsewhere extends Error {
  readonly holder: string;

  constructor(holder: string) {
    super(`the process ${holder} holds the session`);
    this.holder = holder;
  }
}

/** How long the end of the process waits for tasks that are being cancelled. */
const lateMs = 3000;
/** How long another process may take to be connected to. */
const passMs = 30_000;

export type RegistryServices = Pick<
  SessionServices,
  'config' | 'log' | 'store' | 'usage' | 'redis' | 'tasks'
>;

/**
 * Who owns what, in Redis: a process that dies leaves a list of its sessions, their files and
 * their tasks, and another one clears them away.
 */
export class Registry implements Ownership {
  readonly services: RegistryServices;
  readonly fleet: Fleet;
  readonly #known = new Set<string>();
  readonly #watches = new Set<() => void>();
  readonly #withdrawals = new Map<string, Promise<void>>();
  /** Sessions of processes that are gone, whose clients may come back. */
  readonly #dormant = new Map<string, NodeJS.Timeout>();
  readonly #expiryMs: number;
  readonly #rounds: Repeated;

  constructor(services: RegistryServices, times: FleetTimes = {}) {
    this.services = services;
    const { config, redis } = services;
    this.fleet = new Fleet(redis, config, times);
    // a little longer than the files themselves live
    this.#expiryMs = Math.ceil(config.tempFiles.expiryMs + 3_600_000);
    this.#rounds = new Repeated(
      this.fleet.times.beatMs,
      () => this.#beat(),
      (err) => services.log.error({ err }, 'sessions of ended processes were not cleared'),
    );
  }

  get process(): string {
    return this.fleet.name;
  }

  /** Notes that this process lives and clears up after dead ones, now and from time to time. */
  start(): void {
    this.#rounds.start();
  }

  /** What is not cleared away by now is left to the next process. */
  async stop(): Promise<void> {
    await this.#rounds.stop();
    const deadline = sleep(lateMs, undefined, { ref: false });
    await Promise.race([Promise.allSettled(this.#withdrawals.values()), deadline]);
    for (const stop of this.#watches) stop();
    for (const timer of this.#dormant.values()) clearTimeout(timer);
    await this.fleet.retire(this.process);
  }

  /** Registers a session before it owns anything; throws REDIS_UNAVAILABLE. */
  async add(sessionId: string): Promise<OwnedFiles> {
    this.#known.add(sessionId);
    try {
      await inTime(this.services.redis.sadd(keys.live(this.process), sessionId));
    } catch (error) {
      this.#known.delete(sessionId);
      throw error;
    }
    return new OwnedFiles(sessionId, this);
  }

  /** Keeps what another process would need to go on with a session. */
  async keep(sessionId: string, snapshot: Snapshot): Promise<void> {
    const text = JSON.stringify(snapshot);
    await this.services.redis.set(keys.snapshot(sessionId), text, 'PX', this.#expiryMs);
  }

  /**
   * The snapshot of a session that a process left behind; undefined when there is none. Throws
   * HeldElsewhere when another process has it, alive or left behind.
   */
  async dormant(sessionId: string): Promise<Snapshot | undefined> {
    if (!this.#dormant.has(sessionId)) await this.checkHolder(() => this.fleet.holderOf(sessionId));
    if (!this.#dormant.has(sessionId)) return undefined;
    return readSnapshot(await this.services.redis.get(keys.snapshot(sessionId)));
  }

  /** Throws HeldElsewhere when a process that lives is the holder. */
  async checkHolder(ask: () => Promise<string | undefined>): Promise<void> {
    let holder = await ask();
    if (holder === undefined || holder === this.process) return;
    // its end may not have been noticed yet
    await inTime(this.round());
    holder = await ask();
    if (holder !== undefined && holder !== this.process) throw new HeldElsewhere(holder);
  }

  /** How to carry a client's line on to a process; throws SESSION_ELSEWHERE. */
  async passageTo(holder: string, address: string): Promise<Passage> {
    const url = (await this.fleet.traitsOf(holder))?.url;
    if (url === undefined) {
      throw new CodedError(
        'SESSION_ELSEWHERE',
        'another API process holds this session and does not say where it is: try again later',
      );
    }
    const { redis } = this.services;
    const pass = randomUUID();
    await inTime(redis.set(keys.pass(pass), address, 'PX', passMs));
    // as a worker, this process is not counted as one client there
    const workerKey = await inTime(redis.get(queueKeys.workerKey));
    return {
      url,
      headers: {
        [relayHeader]: pass,
        ...(workerKey === null ? {} : { [workerKeyHeader]: workerKey }),
      },
    };
  }

  /** The address of the client that another process carries on; undefined for anybody else. */
  async takePass(pass: string): Promise<string | undefined> {
    const address = await inTime(this.services.redis.getdel(keys.pass(pass)));
    return address ?? undefined;
  }

  /** Takes such a session over, with all it owns; undefined when its grace time ran out. */
  async wake(sessionId: string): Promise<OwnedFiles | undefined> {
    const timer = this.#dormant.get(sessionId);
    if (timer === undefined) return undefined;
    clearTimeout(timer);
    this.#dormant.delete(sessionId);
    return await this.#owned(sessionId);
  }

  async claim(sessionId: string, fileId: string): Promise<boolean> {
    const { redis } = this.services;
    const names = [keys.owner(fileId), keys.files(sessionId)];
    return (await redis.eval(claimScript, 2, ...names, sessionId, this.#expiryMs, fileId)) === 1;
  }

  async disown(sessionId: string, fileIds: readonly string[]): Promise<void> {
    if (fileIds.length === 0) return;
    const { redis } = this.services;
    await redis
      .multi()
      .del(...fileIds.map(keys.owner))
      .srem(keys.files(sessionId), ...fileIds)
      .exec();
  }

  async addTask(sessionId: string, taskId: string): Promise<void> {
    const { redis, config } = this.services;
    const key = keys.tasks(sessionId);
    await redis.multi().sadd(key, taskId).pexpire(key, Math.ceil(config.tasks.stateMs)).exec();
  }

  async forgetTask(sessionId: string, taskId: string): Promise<void> {
    await this.services.redis.srem(keys.tasks(sessionId), taskId);
  }

  /** The session is over; `isClean`: and nothing of it is left but what withdrawn tasks make. */
  async forget(sessionId: string, isClean: boolean): Promise<void> {
    this.#known.delete(sessionId);
    const { redis } = this.services;
    await redis.del(keys.snapshot(sessionId));
    if (!isClean) return;
    if ((await redis.scard(keys.tasks(sessionId))) > 0) return;
    await redis.srem(keys.live(this.process), sessionId);
  }

  /** Cancels a task; resolves when it is over and the video it may have made is gone. */
  withdraw(sessionId: string, taskId: string): Promise<void> {
    const underway = this.#withdrawals.get(taskId);
    if (underway !== undefined) return underway;
    const { log } = this.services;
    const withdrawn = this.#withdraw(sessionId, taskId)
      .catch((error: unknown) => {
        log.error({ err: error, task: taskId, session: sessionId }, 'a task was not withdrawn');
      })
      .finally(() => this.#withdrawals.delete(taskId));
    this.#withdrawals.set(taskId, withdrawn);
    return withdrawn;
  }

  async #withdraw(sessionId: string, taskId: string): Promise<void> {
    const { tasks, store } = this.services;
    const outcome = await tasks.cancel(taskId);
    if (outcome === 'ended' || outcome === 'stopping') {
      const last = await this.#end(taskId);
      if (last === undefined) return;
      if (last.video_file_id !== undefined) await store.remove(last.video_file_id);
    }
    await this.#taskIsOver(sessionId, taskId);
  }

  /** The last update of a task; undefined when it is not waited for any longer. */
  #end(taskId: string): Promise<TaskUpdate | undefined> {
    const { tasks, config } = this.services;
    return new Promise((resolve) => {
      let stop = (): void => undefined;
      const end = (last?: TaskUpdate) => {
        clearTimeout(timer);
        this.#watches.delete(end);
        setImmediate(() => stop());
        resolve(last);
      };
      const timer = setTimeout(end, Math.min(config.tasks.stateMs, 2 ** 31 - 1)).unref();
      this.#watches.add(end);
      stop = tasks.watch(taskId, (update) => {
        if (isEnd(update)) end(update);
      });
    });
  }

  async #taskIsOver(sessionId: string, taskId: string): Promise<void> {
    await this.forgetTask(sessionId, taskId);
    if (this.#known.has(sessionId)) return;
    const { redis } = this.services;
    const [files, tasks] = await Promise.all([
      redis.scard(keys.files(sessionId)),
      redis.scard(keys.tasks(sessionId)),
    ]);
    if (files === 0 && tasks === 0) await redis.srem(keys.live(this.process), sessionId);
  }

  /** One heartbeat and one look for what dead processes, or failures of our own, left behind. */
  round(): Promise<void> {
    return this.#rounds.now();
  }

  async #beat(): Promise<void> {
    const peers = await this.fleet.beat();
    await this.#clearOwn();
    for (const { name, isDead } of peers) if (isDead) await this.#inherit(name);
  }

  async #inherit(name: string): Promise<void> {
    const { redis, log } = this.services;
    for (const sessionId of await redis.smembers(keys.live(name))) {
      const moved = await redis.smove(keys.live(name), keys.live(this.process), sessionId);
      if (moved === 0) continue;
      const { graceMs } = this.services.config.sessions;
      if (graceMs > 0 && (await redis.exists(keys.snapshot(sessionId))) === 1) {
        log.info({ session: sessionId, process: name }, 'a session of a process that ended waits');
        this.#wait(sessionId, graceMs);
      } else {
        log.info({ session: sessionId, process: name }, 'clearing up after a process that ended');
        await this.#clear(sessionId);
      }
    }
    await this.fleet.retire(name);
  }

  /** Sessions that ended here with something left to delete. */
  async #clearOwn(): Promise<void> {
    for (const sessionId of await this.services.redis.smembers(keys.live(this.process))) {
      if (!this.#known.has(sessionId)) await this.#clear(sessionId);
    }
  }

  #wait(sessionId: string, graceMs: number): void {
    this.#known.add(sessionId);
    const timer = setTimeout(() => {
      this.#dormant.delete(sessionId);
      this.#clear(sessionId).catch((error: unknown) => {
        this.services.log.error({ err: error, session: sessionId }, 'a session was not cleared');
      });
    }, graceMs).unref();
    this.#dormant.set(sessionId, timer);
  }

  async #clear(sessionId: string): Promise<void> {
    const files = await this.#owned(sessionId);
    await files.clear();
  }

  async #owned(sessionId: string): Promise<OwnedFiles> {
    const { redis } = this.services;
    const files = new OwnedFiles(sessionId, this);
    const [ids, tasks] = await Promise.all([
      redis.smembers(keys.files(sessionId)),
      redis.smembers(keys.tasks(sessionId)),
    ]);
    files.adopt(ids, tasks);
    return files;
  }
}
