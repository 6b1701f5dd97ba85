import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { Config } from '../config.js';
import { keys, workerKeyHeader } from '../queue/keys.js';
import { type Redis, inTime } from '../queue/redis.js';

/** How long a key that does not fit is not looked up again. */
const lookMs = 1000;
const answerMs = 250;

/**
 * Tells requests that are not counted: those of workers, which share our Redis with us, and those
 * of whoever holds the API token.
 */
export function trustedRequests(
  { apiToken }: Config,
  redis: Redis | undefined,
): (request: Pick<FastifyRequest, 'headers'>) => Promise<boolean> {
  let workerKey: string | undefined;
  let lookedAt = -Infinity;
  const look = async () => {
    if (redis?.status !== 'ready' || performance.now() - lookedAt < lookMs) return;
    lookedAt = performance.now();
    const fresh = randomBytes(24).toString('base64url');
    const kept = redis
      .set(keys.workerKey, fresh, 'NX')
      .then(() => redis.get(keys.workerKey))
      .then((key) => (workerKey = key ?? undefined));
    await inTime(kept, answerMs).catch(() => undefined);
  };
  void look();
  redis?.once('ready', () => void look());
  return async ({ headers }) => {
    if (apiToken !== undefined && sameSecret(headers.authorization, `Bearer ${apiToken}`))
      return true;
    const given = headers[workerKeyHeader];
    if (typeof given !== 'string') return false;
    if (!sameSecret(given, workerKey)) await look();
    return sameSecret(given, workerKey);
  };
}

/** In constant time for secrets of one length. */
export function sameSecret(given: string | undefined, expected: string | undefined): boolean {
  if (given === undefined || expected === undefined) return false;
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}
