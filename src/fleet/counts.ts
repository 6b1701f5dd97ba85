import { type Counts, LocalCounts } from '../limit/counts.js';
import { type Redis, inTime } from '../queue/redis.js';
import { fleetKeys } from './keys.js';

/** One more, unless all processes together have enough. */
const takeScript = `
local sum = tonumber(redis.call('HGET', KEYS[2], ARGV[2]) or 0)
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if name ~= ARGV[1] then
    sum = sum + tonumber(redis.call('HGET', ARGV[3] .. name, ARGV[2]) or 0)
  end
end
if sum >= tonumber(ARGV[4]) then return 0 end
redis.call('HINCRBY', KEYS[2], ARGV[2], 1)
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 1`;

const giveScript = `
if redis.call('HINCRBY', KEYS[1], ARGV[1], -1) < 1 then redis.call('HDEL', KEYS[1], ARGV[1]) end`;

/** A Redis that is away for longer is done without: this process counts alone meanwhile. */
const answerMs = 1000;

/**
 * What all processes on a Redis count together. Each has a hash of its own there, which ends when
 * the process is not heard any more; so whatever it had open is given back.
 */
export class FleetCounts implements Counts {
  readonly #redis: Redis;
  readonly #process: string;
  readonly #key: string;
  readonly #lifeMs: number;
  readonly #own = new LocalCounts();
  /** Whether Redis may not have what is counted here. */
  #isStale = false;

  constructor(redis: Redis, process: string, lifeMs: number) {
    this.#redis = redis;
    this.#process = process;
    this.#key = fleetKeys.counts(process);
    this.#lifeMs = lifeMs;
  }

  async take(what: string, most: number): Promise<boolean> {
    if (!this.#own.take(what, most)) return false;
    const names = [fleetKeys.processes, this.#key];
    const more = [this.#process, what, fleetKeys.counts(''), Math.min(most, 2 ** 31), this.#lifeMs];
    const asked = this.#redis.eval(takeScript, 2, ...names, ...more);
    const answer = await inTime(asked, answerMs).catch(() => undefined);
    if (answer === undefined) this.#isStale = true;
    if (answer !== 0) return true;
    this.#own.give(what);
    return false;
  }

  give(what: string): void {
    this.#own.give(what);
    this.#redis.eval(giveScript, 1, this.#key, what).catch(() => (this.#isStale = true));
  }

  /** Keeps the counts in Redis for a while longer, and puts them there again if they are not. */
  async refresh(): Promise<void> {
    const isThere = (await this.#redis.pexpire(this.#key, this.#lifeMs)) === 1;
    const own = this.#own.entries();
    if (!this.#isStale && (isThere || own.length === 0)) return;
    this.#isStale = false;
    const change = this.#redis.multi().del(this.#key);
    if (own.length > 0) change.hset(this.#key, ...own.flat()).pexpire(this.#key, this.#lifeMs);
    await change.exec();
  }
}
