import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import type { Redis } from 'ioredis';
import {
  type RateLimiterAbstract,
  RateLimiterMemory,
  RateLimiterRedis,
  RateLimiterRes,
} from 'rate-limiter-flexible';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';

/** One address may try this many times as often as one user from one address. */
const addressFactor = 10;

export class LoginThrottledError extends CodedError {
  readonly retryAfterSeconds: number;

  constructor(retryAfterSeconds: number) {
    super(
      'LOGIN_THROTTLED',
      `too many attempts from this address: try again in ${retryAfterSeconds} seconds`,
    );
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** Counts attempts to log in, in Redis when there is one, and for as long as it answers. */
export class LoginThrottle {
  readonly #pair: RateLimiterAbstract;
  readonly #address: RateLimiterAbstract;

  constructor(config: Config, redis?: Redis) {
    const { loginAttempts, loginWindowMs } = config.account;
    const limiter = (keyPrefix: string, points: number): RateLimiterAbstract => {
      const options = { keyPrefix, points, duration: Math.max(1, Math.ceil(loginWindowMs / 1000)) };
      const memory = new RateLimiterMemory(options);
      if (redis === undefined) return memory;
      return new RateLimiterRedis({
        ...options,
        storeClient: redis,
        rejectIfRedisNotReady: true,
        insuranceLimiter: memory,
      });
    };
    this.#pair = limiter('login_attempts_user', loginAttempts);
    this.#address = limiter('login_attempts_address', loginAttempts * addressFactor);
  }

  /** Counts an attempt before its password is looked at; LOGIN_THROTTLED when there were too many. */
  async attempt(address: string, username?: string): Promise<void> {
    await count(this.#address, networkOf(address));
    if (username !== undefined) await count(this.#pair, pairKey(address, username));
  }

  /** The attempt was a good one: it does not count, nor do those before it. */
  async succeeded(address: string, username: string): Promise<void> {
    await this.#pair.delete(pairKey(address, username));
    await this.#address.reward(networkOf(address));
  }
}

async function count(limiter: RateLimiterAbstract, key: string): Promise<void> {
  try {
    await limiter.consume(key);
  } catch (reason) {
    if (!(reason instanceof RateLimiterRes)) throw reason;
    throw new LoginThrottledError(Math.max(1, Math.ceil(reason.msBeforeNext / 1000)));
  }
}

/** A hash, because names are long and personal. */
function pairKey(address: string, username: string): string {
  return createHash('sha256')
    .update(`${networkOf(address)} ${username}`)
    .digest('base64url');
}

/** The address; of IPv6 the /64 network, which one household or machine has to itself. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped !== null) return mapped[1] as string;
  if (isIP(address) !== 6) return address;
  const [head = '', tail] = address.replace(/%.*$/, '').toLowerCase().split('::');
  const groups = head === '' ? [] : head.split(':');
  const tailGroups = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - groups.length - tailGroups.length;
  const all = [...groups, ...Array<string>(Math.max(0, zeros)).fill('0'), ...tailGroups];
  return `${all
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`;
}
