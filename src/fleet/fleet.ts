import { randomUUID } from 'node:crypto';
import { isAlive } from '../alive.js';
import type { Config } from '../config.js';
import { type Redis, inTime } from '../queue/redis.js';
import { FleetCounts } from './counts.js';
import { fleetKeys } from './keys.js';
import { type Traits, differences } from './traits.js';

/** Notes that a process lives; answers all processes and how long ago (ms) each was heard. */
const beatScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) end
local all = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 2, #all, 2 do all[i] = tostring(now - all[i]) end
return all`;

/** Removes a process that holds no session any more, and what it held otherwise. */
const retireScript = `
if redis.call('EXISTS', KEYS[2]) == 1 then return end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[4])
local all = redis.call('HGETALL', KEYS[5])
for i = 1, #all, 2 do
  if all[i + 1] == ARGV[1] then redis.call('HDEL', KEYS[5], all[i]) end
end`;

/** Who holds something: the caller, unless a process of the fleet has it already. */
const holdScript = `
local holder = redis.call('HGET', KEYS[1], ARGV[1])
if holder and redis.call('ZSCORE', KEYS[2], holder) then return holder end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return ARGV[2]`;

const releaseScript = `
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end`;

/** The process among whose sessions this one is. */
const holderScript = `
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if redis.call('SISMEMBER', ARGV[1] .. name, ARGV[2]) == 1 then return name end
end
return ''`;

export interface FleetTimes {
  readonly beatMs?: number;
  /** A process that was not heard for this long is dead. */
  readonly deadMs?: number;
}

export interface Peer {
  readonly name: string;
  readonly isDead: boolean;
}

/** The API processes that share a Redis: which of them live, what each holds, how many of what. */
export class Fleet {
  /** Of this process. */
  readonly name: string;
  readonly times: Required<FleetTimes>;
  readonly counts: FleetCounts;
  /** What the others have to know of this process. */
  traits: () => Traits | undefined = () => undefined;
  readonly #redis: Redis;
  readonly #hostName: string;
  #lastBeat = 0;

  constructor(redis: Redis, config: Pick<Config, 'hostName'>, times: FleetTimes = {}) {
    this.#redis = redis;
    this.#hostName = config.hostName;
    this.name = `${config.hostName}.${process.pid}.${randomUUID()}`;
    this.times = { beatMs: 5000, deadMs: 20_000, ...times };
    this.counts = new FleetCounts(redis, this.name, this.times.deadMs + this.times.beatMs);
  }

  /** One heartbeat; the other processes, or none when it is not certain which of them live. */
  async beat(): Promise<Peer[]> {
    const traits = this.traits();
    const answer = (await this.#redis.eval(
      beatScript,
      ...[2, fleetKeys.processes, fleetKeys.traits],
      ...[this.name, traits === undefined ? '' : JSON.stringify(traits)],
    )) as string[];
    await this.counts.refresh();
    // after a gap of our own, for instance of Redis, the others get time to be heard again
    const gap = performance.now() - this.#lastBeat;
    const isLate = this.#lastBeat > 0 && gap > this.times.deadMs / 2;
    this.#lastBeat = performance.now();
    if (isLate) return [];
    const peers: Peer[] = [];
    for (let i = 0; i < answer.length; i += 2) {
      const [name, silentMs] = [answer[i] as string, Number(answer[i + 1])];
      if (name !== this.name) peers.push({ name, isDead: this.#isDead(name, silentMs) });
    }
    return peers;
  }

  /** Strikes a process off that holds no session any more, with everything else it had. */
  async retire(name: string): Promise<void> {
    const { processes, live, traits, counts, holders } = fleetKeys;
    const names = [processes, live(name), traits, counts(name), holders];
    await this.#redis.eval(retireScript, names.length, ...names, name);
  }

  /**
   * The process that holds `what` from now on: this one, unless another was first. Throws
   * REDIS_UNAVAILABLE.
   */
  async hold(what: string): Promise<string> {
    const { holders, processes } = fleetKeys;
    return String(
      await inTime(this.#redis.eval(holdScript, 2, holders, processes, what, this.name)),
    );
  }

  async release(what: string): Promise<void> {
    await this.#redis.eval(releaseScript, 1, fleetKeys.holders, what, this.name);
  }

  /** The process that holds a session; undefined when none does. */
  async holderOf(sessionId: string): Promise<string | undefined> {
    const asked = this.#redis.eval(
      holderScript,
      ...[1, fleetKeys.processes, fleetKeys.live(''), sessionId],
    );
    return String(await inTime(asked)) || undefined;
  }

  async traitsOf(name: string): Promise<Traits | undefined> {
    const text = await inTime(this.#redis.hget(fleetKeys.traits, name));
    return text === null ? undefined : (JSON.parse(text) as Traits);
  }

  /** In what this process cannot work with the others that live; nothing when it can. */
  async misfits(own: Traits): Promise<string[]> {
    const found: string[] = [];
    for (const { name, isDead } of await inTime(this.beat())) {
      const other = isDead ? undefined : await this.traitsOf(name);
      if (other !== undefined) found.push(...differences(own, other));
    }
    return [...new Set(found)];
  }

  #isDead(name: string, silentMs: number): boolean {
    if (silentMs > this.times.deadMs) return true;
    const [host, pid] = name.split('.');
    return host === this.#hostName && !isAlive(Number(pid));
  }
}
