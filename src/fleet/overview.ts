import { Type } from 'typebox';
import { readJson } from '../json.js';
import type { Redis } from '../queue/redis.js';
import { fleetKeys } from './keys.js';

/** An API process as the others know it. */
export interface ProcessOverview {
  readonly name: string;
  /** Where the others reach it, once it listens. */
  readonly url: string | undefined;
  readonly sessions: number;
  /** How long ago it was heard. */
  readonly silentMs: number;
}

const known = Type.Object({ url: Type.Optional(Type.String()) });

/** The API processes that share this Redis and were heard lately or still hold sessions. */
export async function processOverview(redis: Redis): Promise<ProcessOverview[]> {
  const [listed, traits, time] = await Promise.all([
    redis.zrange(fleetKeys.processes, '0', '-1', 'WITHSCORES'),
    redis.hgetall(fleetKeys.traits),
    redis.time(),
  ]);
  const nowMs = Number(time[0]) * 1000 + Number(time[1]) / 1000;
  const found: ProcessOverview[] = [];
  for (let i = 0; i + 1 < listed.length; i += 2) {
    const name = listed[i] as string;
    found.push({
      name,
      url: readJson(known, traits[name])?.url,
      sessions: await redis.scard(fleetKeys.live(name)),
      silentMs: Math.max(0, Math.round(nowMs - Number(listed[i + 1]))),
    });
  }
  return found;
}
