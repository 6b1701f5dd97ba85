import type { Redis } from 'ioredis';
import {
  RLWrapperTimeouts,
  type RateLimiterAbstract,
  RateLimiterMemory,
  RateLimiterRedis,
  RateLimiterRes,
} from 'rate-limiter-flexible';

/** An address may be a whole office: what is counted for each may come to this many times a user's. */
export const addressFactor = 10;
/** How long a Redis that does not answer is waited for before this process counts alone. */
const answerMs = 250;

export interface CounterOptions {
  /** Of the keys in Redis. */
  readonly prefix: string;
  readonly points: number;
  readonly windowMs: number;
  readonly redis?: Redis | undefined;
}

export interface Count {
  readonly isOver: boolean;
  readonly left: number;
  /** Until the count starts again; at least 1. */
  readonly resetSeconds: number;
}

/** Counts what keys do within a window: in Redis for all processes, here when Redis is away. */
export class Counter {
  readonly #limiter: RateLimiterAbstract;

  constructor(limiter: RateLimiterAbstract) {
    this.#limiter = limiter;
  }

  async take(key: string): Promise<Count> {
    try {
      return countOf(await this.#limiter.consume(key), false);
    } catch (reason) {
      if (!(reason instanceof RateLimiterRes)) throw reason;
      return countOf(reason, true);
    }
  }

  async giveBack(key: string): Promise<void> {
    await this.#limiter.reward(key);
  }

  async forget(key: string): Promise<void> {
    await this.#limiter.delete(key);
  }
}

export function createCounter({ prefix, points, windowMs, redis }: CounterOptions): Counter {
  const options = {
    keyPrefix: prefix,
    points,
    duration: Math.max(1, Math.ceil(windowMs / 1000)),
  };
  const memory = new RateLimiterMemory(options);
  if (redis === undefined) return new Counter(memory);
  const shared = new RateLimiterRedis({
    ...options,
    storeClient: redis,
    rejectIfRedisNotReady: true,
  });
  return new Counter(
    new RLWrapperTimeouts({ limiter: shared, timeoutMs: answerMs, insuranceLimiter: memory }),
  );
}

function countOf({ remainingPoints, msBeforeNext }: RateLimiterRes, isOver: boolean): Count {
  return {
    isOver,
    left: Math.max(0, remainingPoints),
    resetSeconds: Math.max(1, Math.ceil(msBeforeNext / 1000)),
  };
}
