import { Value } from 'typebox/value';
import type { Config } from '../config.js';
import { readJson } from '../json.js';
import type { Log } from '../log.js';
import { meters } from '../observe/meters.js';
import { keys } from '../queue/keys.js';
import type { Redis } from '../queue/redis.js';
import { type TaskUpdate, isEnd, taskUpdate } from '../queue/update.js';

export type TaskListener = (update: TaskUpdate) => void;

interface Watcher {
  readonly listener: TaskListener;
  /** What it knew before. */
  readonly fromSeq: number;
  /** The last `seq` that was told. */
  seq: number;
}

interface Watched {
  readonly watchers: Set<Watcher>;
  /** Whether it waits in a queue, as far as is known. */
  isQueued: boolean;
}

/** How often the state of every watched task is read, whatever the messages said. */
const refreshMs = 2_000;
/** How soon waiting tasks learn that one before them has gone. */
const placeMs = 250;

export interface WatchersOptions {
  readonly redis: Redis;
  /** A connection of its own, which nothing but subscriptions use. */
  readonly subscriber: Redis;
  readonly config: Config;
  readonly log: Log;
  /** Tells the place of a waiting task anew, if it changed. */
  readonly place: (update: TaskUpdate) => Promise<void>;
  /** Keeps what a worker of another make said, which numbers nothing. */
  readonly adopt: (update: TaskUpdate) => Promise<void>;
}

/**
 * Who wants to know of which task. Messages make the news quick; the state hashes, which are read
 * after every (re)subscription and at intervals, make them certain.
 */
export class Watchers {
  readonly #options: WatchersOptions;
  readonly #watched = new Map<string, Watched>();
  readonly #onMessage = (channel: string, text: string) => this.#hear(channel, text);
  readonly #onReady = () => void this.#catchUp();
  #timer: NodeJS.Timeout | undefined;
  #placing: NodeJS.Timeout | undefined;
  #reads = 0;

  constructor(options: WatchersOptions) {
    this.#options = options;
  }

  /** How many tasks are watched. */
  get size(): number {
    return this.#watched.size;
  }

  async start(): Promise<void> {
    const { subscriber } = this.#options;
    subscriber.on('message', this.#onMessage);
    subscriber.on('ready', this.#onReady);
    this.#timer = setInterval(() => {
      // A Redis that is away is asked once, not once per interval.
      if (this.#reads === 0) void this.#read([...this.#watched.keys()]);
    }, refreshMs);
    await this.#catchUp();
  }

  stop(): void {
    const { subscriber } = this.#options;
    clearInterval(this.#timer);
    this.#timer = undefined;
    clearTimeout(this.#placing);
    subscriber.off('message', this.#onMessage);
    subscriber.off('ready', this.#onReady);
    this.#watched.clear();
  }

  watch(taskId: string, listener: TaskListener, fromSeq: number): () => void {
    const watcher: Watcher = { listener, fromSeq, seq: fromSeq };
    let watched = this.#watched.get(taskId);
    if (watched === undefined) {
      watched = { watchers: new Set(), isQueued: false };
      this.#watched.set(taskId, watched);
    }
    watched.watchers.add(watcher);
    void this.#read([taskId]);
    return () => this.#drop(taskId, watcher);
  }

  #drop(taskId: string, watcher: Watcher): void {
    const watched = this.#watched.get(taskId);
    if (watched?.watchers.delete(watcher) === true && watched.watchers.size === 0) {
      this.#watched.delete(taskId);
    }
  }

  /** Messages are sure to arrive only after the subscription is confirmed. */
  async #catchUp(): Promise<void> {
    const { subscriber, config, log } = this.#options;
    try {
      await subscriber.subscribe(config.progressChannel);
      await this.#read([...this.#watched.keys()]);
    } catch (err) {
      if (this.#timer === undefined) return;
      log.warn({ err }, 'could not subscribe to the progress of tasks; trying again');
    }
  }

  #hear(channel: string, text: string): void {
    if (channel !== this.#options.config.progressChannel || this.#watched.size === 0) return;
    const update = readUpdate(text);
    if (update === undefined) return;
    // When a task starts or is withdrawn, those behind it move up.
    if (update.status === 'processing' || update.status === 'failed') this.#placeSoon();
    if (!this.#watched.has(update.task_id)) return;
    const lag = (Date.now() - Date.parse(update.timestamp)) / 1000;
    if (lag >= 0) meters.progressLag.observe(lag);
    // How a task ended is told from its state alone, which only scripts write that hold the task.
    if (!isNumbered(update)) void this.#adopt(update);
    else if (isEnd(update)) void this.#read([update.task_id]);
    else this.#tell(update);
  }

  async #adopt(update: TaskUpdate): Promise<void> {
    try {
      await this.#options.adopt(update);
      await this.#read([update.task_id]);
    } catch (err) {
      this.#options.log.warn({ err, task: update.task_id }, 'could not keep what a worker said');
    }
  }

  #placeSoon(): void {
    this.#placing ??= setTimeout(() => {
      this.#placing = undefined;
      const queued = [...this.#watched].filter(([, { isQueued }]) => isQueued);
      if (this.#reads === 0) void this.#read(queued.map(([taskId]) => taskId));
    }, placeMs);
  }

  /** Goes by the task alone: a message's session proves nothing. */
  #tell(update: NumberedUpdate): void {
    const watched = this.#watched.get(update.task_id);
    if (watched === undefined) return;
    for (const watcher of watched.watchers) {
      // Whatever numbers the messages had: the end counts unless it was known before.
      const known = isEnd(update) ? watcher.fromSeq : watcher.seq;
      if (isEnd(update)) this.#drop(update.task_id, watcher);
      if (update.seq <= known) continue;
      watcher.seq = update.seq;
      watched.isQueued = update.status === 'queued';
      this.#call(watcher, update);
    }
  }

  #call(watcher: Watcher, update: TaskUpdate): void {
    try {
      watcher.listener(update);
    } catch (err) {
      this.#options.log.error({ err, task: update.task_id }, 'a listener of a task failed');
    }
  }

  /** Tells the last states, then where those stand that wait. */
  async #read(taskIds: readonly string[]): Promise<void> {
    const { redis, place, log } = this.#options;
    if (taskIds.length === 0) return;
    this.#reads++;
    try {
      const pipeline = redis.pipeline();
      for (const id of taskIds) pipeline.hmget(keys.state(id), 'last', 'ticket', 'token');
      const places: Promise<void>[] = [];
      for (const [err, answer] of (await pipeline.exec()) ?? []) {
        // A key of that name which is no hash is nobody's task.
        if (err !== null) continue;
        const [last, ticket, token] = answer as (string | null)[];
        const update = readUpdate(last ?? '');
        if (update === undefined || !isNumbered(update)) continue;
        this.#tell(update);
        const waits = Boolean(ticket) && !token && !isEnd(update);
        if (waits && this.#watched.has(update.task_id)) places.push(place(update));
      }
      await Promise.all(places);
    } catch (err) {
      if (this.#timer === undefined) return;
      log.warn({ err }, 'could not read the state of the watched tasks; trying again');
    } finally {
      this.#reads--;
    }
  }
}

type NumberedUpdate = TaskUpdate & { readonly seq: number };

function isNumbered(update: TaskUpdate): update is NumberedUpdate {
  return update.seq !== undefined;
}

/** Undefined for anything but an update of a task. */
export function readUpdate(text: string): TaskUpdate | undefined {
  const update = readJson(taskUpdate, text);
  // Only what an update has: the state of a task may be made of it.
  return update && (Value.Clean(taskUpdate, update) as TaskUpdate);
}
