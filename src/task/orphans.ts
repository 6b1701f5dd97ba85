import type { Config } from '../config.js';
import type { Log } from '../log.js';
import { keys } from '../queue/keys.js';
import type { Redis } from '../queue/redis.js';
import { Repeated } from '../repeated.js';
import type { TempFileStore } from '../tempfile/store.js';

const lookMs = 2_000;
const partingMs = 2_000;
/** Beyond the time that a transfer may take: for clocks that differ, and for the last write. */
const graceMs = 60_000;

/**
 * Deletes the videos of attempts that ended without completing their task: of workers that died
 * between upload and completion, or that could not delete the video themselves.
 */
export class Orphans {
  readonly #redis: Redis;
  readonly #store: TempFileStore;
  readonly #config: Config;
  readonly #log: Log;
  readonly #looks: Repeated;

  constructor(redis: Redis, store: TempFileStore, config: Config, log: Log) {
    this.#redis = redis;
    this.#store = store;
    this.#config = config;
    this.#log = log;
    this.#looks = new Repeated(
      lookMs,
      () => this.look(),
      (err) => log.warn({ err }, 'orphans were not deleted; trying again'),
    );
  }

  start(): void {
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop(partingMs);
  }

  /** One that is not there yet may still be on its way: it is looked for as long as that may take. */
  async look(): Promise<void> {
    const { transferMs } = this.#config.tasks;
    const waiting = await this.#redis.zrange(keys.orphans, '0', '-1', 'WITHSCORES');
    const gone: string[] = [];
    for (let i = 0; i + 1 < waiting.length; i += 2) {
      const [id, since] = [waiting[i] as string, Number(waiting[i + 1]) * 1000];
      const isRemoved = await this.#store.remove(id);
      if (isRemoved) this.#log.info({ file: id }, 'deleted the video of an attempt that was lost');
      if (isRemoved || Date.now() - since > transferMs + graceMs) gone.push(id);
    }
    if (gone.length > 0) await this.#redis.zrem(keys.orphans, ...gone);
  }
}
