import { type Static, Type } from 'typebox';
import { readJson } from '../json.js';
import { keys } from '../queue/keys.js';
import type { Redis } from '../queue/redis.js';
import { type Point, failure } from './schema.js';

const amounts = ['completed', 'failed', 'cancelled', 'video_seconds', 'render_seconds'] as const;

/** One point for each of the last minutes, the oldest first, the last one of the minute of now. */
export async function throughput(redis: Redis, minutes: number): Promise<Point[]> {
  const [seconds] = await redis.time();
  const last = Math.floor(Number(seconds) / 60);
  const wanted = Array.from({ length: minutes }, (_, i) => last - minutes + 1 + i);
  const reading = redis.pipeline();
  for (const minute of wanted) reading.hmget(keys.minute(minute), ...amounts);
  const answers = (await reading.exec()) ?? [];
  return wanted.map((minute, i) => {
    const [error, values] = answers[i] ?? [];
    const counted = error ? [] : (values as (string | null)[]);
    const pairs = amounts.map((name, at) => [name, rounded(counted[at])] as const);
    const at = new Date(minute * 60_000).toISOString();
    return { at, ...(Object.fromEntries(pairs) as Omit<Point, 'at'>) };
  });
}

/** The sums of binary fractions that Redis keeps, to the millisecond. */
function rounded(value: string | null | undefined): number {
  return Math.round(Number(value ?? 0) * 1000) / 1000;
}

const kept = Type.Omit(failure, ['queue', 'worker']);

/** The last tasks that failed, the newest first. */
export async function lastFailures(redis: Redis, limit: number): Promise<Static<typeof failure>[]> {
  const texts = await redis.lrange(keys.failures, 0, limit - 1);
  return texts.flatMap((text) => readJson(kept, text) ?? []);
}
