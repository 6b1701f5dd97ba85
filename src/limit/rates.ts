import type { Redis } from 'ioredis';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import { type Count, type Counter, addressFactor, createCounter } from './counter.js';
import { networkOf } from './network.js';

/** Whom something is counted for: an account, or whoever comes from one network without one. */
export type Owner = `user:${string}` | `address:${string}`;

export function ownerOf(user: { readonly id: string } | undefined, address: string): Owner {
  return user === undefined ? `address:${networkOf(address)}` : `user:${user.id}`;
}

/** The account that something is counted for; undefined for an address. */
export function userOf(owner: Owner | undefined): string | undefined {
  return owner?.startsWith('user:') === true ? owner.slice('user:'.length) : undefined;
}

/** What an owner may of something of which each user may `perUser`; 0 is no limit. */
export function allowance(owner: Owner, perUser: number): number {
  return owner.startsWith('user:') ? perUser : perUser * addressFactor;
}

/** The limit that is nearest, as the RateLimit headers tell it. */
export interface Budget extends Count {
  readonly limit: number;
}

const windowMs = 60_000;

/** How often somebody may do something within a minute. */
class Rate {
  readonly #perUser: number;
  readonly #users: Counter;
  readonly #addresses: Counter;

  constructor(name: string, perUser: number, redis: Redis | undefined) {
    const counter = (kind: string, points: number) =>
      createCounter({ prefix: `rate_${name}_${kind}`, points, windowMs, redis });
    this.#perUser = perUser;
    this.#users = counter('user', perUser);
    this.#addresses = counter('address', perUser * addressFactor);
  }

  /** Undefined where nothing is limited. */
  async take(owner: Owner): Promise<Budget | undefined> {
    if (this.#perUser === 0) return undefined;
    const [kind = '', ...id] = owner.split(':');
    const counter = kind === 'user' ? this.#users : this.#addresses;
    return { ...(await counter.take(id.join(':'))), limit: allowance(owner, this.#perUser) };
  }
}

/** The rate limits of the service, counted in Redis for all its processes. */
export class Rates {
  readonly #requests: Rate;
  readonly #turns: Rate;

  constructor({ limits }: Pick<Config, 'limits'>, redis?: Redis) {
    this.#requests = new Rate('requests', limits.requestsPerMinute, redis);
    this.#turns = new Rate('turns', limits.turnsPerMinute, redis);
  }

  /** Counts a request, or the opening of a socket. The caller refuses it when it is over. */
  request(owner: Owner): Promise<Budget | undefined> {
    return this.#requests.take(owner);
  }

  /** Counts a turn, or a recording to be recognised; throws RATE_LIMITED. */
  async turn(owner: Owner): Promise<void> {
    const budget = await this.#turns.take(owner);
    if (budget?.isOver === true) throw rateLimited(budget, 'messages');
  }
}

export function rateLimited({ limit, resetSeconds }: Budget, what: string): CodedError {
  return new CodedError(
    'RATE_LIMITED',
    `more than ${limit} ${what} within a minute: try again in ${resetSeconds} seconds`,
    { retryAfterSeconds: resetSeconds },
  );
}
