import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import { type Counter, addressFactor, createCounter } from '../limit/counter.js';
import { networkOf } from '../limit/network.js';

/** Counts attempts to log in, in Redis when there is one, and for as long as it answers. */
export class LoginThrottle {
  readonly #pair: Counter;
  readonly #address: Counter;

  constructor(config: Config, redis?: Redis) {
    const { loginAttempts, loginWindowMs } = config.account;
    const counter = (prefix: string, points: number): Counter =>
      createCounter({ prefix, points, windowMs: loginWindowMs, redis });
    this.#pair = counter('login_attempts_user', loginAttempts);
    this.#address = counter('login_attempts_address', loginAttempts * addressFactor);
  }

  /** Counts an attempt before its password is looked at; LOGIN_THROTTLED when there were too many. */
  async attempt(address: string, username?: string): Promise<void> {
    await count(this.#address, networkOf(address));
    if (username !== undefined) await count(this.#pair, pairKey(address, username));
  }

  /** The attempt was a good one: it does not count, nor do those before it. */
  async succeeded(address: string, username: string): Promise<void> {
    await this.#pair.forget(pairKey(address, username));
    await this.#address.giveBack(networkOf(address));
  }
}

async function count(counter: Counter, key: string): Promise<void> {
  const { isOver, resetSeconds } = await counter.take(key);
  if (!isOver) return;
  throw new CodedError(
    'LOGIN_THROTTLED',
    `too many attempts from this address: try again in ${resetSeconds} seconds`,
    { retryAfterSeconds: resetSeconds },
  );
}

/** A hash, because names are long and personal. */
function pairKey(address: string, username: string): string {
  return createHash('sha256')
    .update(`${networkOf(address)} ${username}`)
    .digest('base64url');
}
