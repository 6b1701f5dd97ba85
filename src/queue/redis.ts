import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { Config, SentinelConfig } from '../config.js';
import { CodedError } from '../errors.js';
import type { Log } from '../log.js';
import { projectRoot } from '../paths.js';

export type { Redis } from 'ioredis';

/** A line that is silent for so long, or for a lease, is given up: its other end may be gone. */
const silentMs = 30_000;

/**
 * A connection that waits out a Redis that is away. Blocking commands, which may take `blockMs`, and
 * subscriptions need one of their own each.
 */
export function connectRedis(
  config: Config,
  log: Log,
  { blockMs = 0, ...options }: { blockMs?: number; connectionName?: string } = {},
): Redis {
  const { host, port, db, password, sentinels } = config.redis;
  const redis = new Redis({
    ...(sentinels === undefined ? { host, port } : followMaster(sentinels)),
    db,
    ...(password === undefined ? {} : { password }),
    maxRetriesPerRequest: null,
    connectTimeout: 10_000,
    socketTimeout: blockMs + Math.min(config.tasks.leaseMs, silentMs),
    retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 6), 2000),
    ...options,
  });
  const address = whereIs(config);
  let failing = false;
  redis.on('error', (err: Error) => {
    if (!failing) log.warn({ err, address }, 'Redis does not answer; trying again');
    failing = true;
  });
  redis.on('ready', () => {
    if (failing) log.info({ address }, 'Redis answers again');
    failing = false;
  });
  return redis;
}

/** The address of Redis, for people. */
export function whereIs({ redis: { host, port, sentinels } }: Pick<Config, 'redis'>): string {
  return sentinels === undefined ? `${host}:${port}` : `the master ${sentinels.name}`;
}

function followMaster({ servers, name, password }: SentinelConfig) {
  return {
    sentinels: servers.map((server) => ({ ...server })),
    name,
    ...(password === undefined ? {} : { sentinelPassword: password }),
    sentinelCommandTimeout: 2000,
    sentinelRetryStrategy: (times: number) => Math.min(50 * 2 ** Math.min(times, 6), 2000),
    // a master that became a replica takes no more writes
    reconnectOnError: (error: Error) => (error.message.startsWith('READONLY') ? 2 : false),
  };
}

/** The oldest Redis that has all we use. */
export const neededRedis = {
  text: '6.2',
  isOlder: (version: string) => {
    const [major = 0, minor = 0] = version.split('.').map(Number);
    return major < 6 || (major === 6 && minor < 2);
  },
};

export interface RedisFacts {
  readonly version: string;
  /** Undefined where the server does not let us ask. */
  readonly policy: string | undefined;
  readonly appendOnly: string | undefined;
  /** Its clock. */
  readonly timeMs: number;
}

export async function readRedisFacts(redis: Redis): Promise<RedisFacts> {
  const setting = async (name: string) =>
    ((await redis.config('GET', name).catch(() => [])) as string[])[1];
  const [, version = ''] = /redis_version:(\S+)/.exec(await redis.info('server')) ?? [];
  const [seconds, microseconds] = await redis.time();
  return {
    version,
    policy: await setting('maxmemory-policy'),
    appendOnly: await setting('appendonly'),
    timeMs: Number(seconds) * 1000 + Number(microseconds) / 1000,
  };
}

/** Waits for the named Redis and says what is wrong with it, before anything depends on it. */
export async function checkRedis(config: Config, log: Log, waitMs: number): Promise<void> {
  const redis = connectRedis(config, log.child({}, { level: 'silent' }));
  const late = sleep(waitMs, 'it does not answer', { ref: false });
  const asked = (async () => {
    const { version, policy } = await readRedisFacts(redis);
    if (neededRedis.isOlder(version)) {
      return `${neededRedis.text} or later is needed, it is ${version}`;
    }
    if (policy !== undefined && policy !== 'noeviction') {
      log.warn({ policy }, 'Redis may evict tasks: set maxmemory-policy to noeviction');
    }
    return undefined;
  })().catch((error: unknown) => (error as Error).message);
  const problem = await Promise.race([asked, late]);
  redis.disconnect();
  if (problem !== undefined) {
    throw new CodedError('REDIS_UNAVAILABLE', `Redis at ${whereIs(config)}: ${problem}`);
  }
}

/** A Redis that is away answers when it is back; nobody should wait that long. REDIS_UNAVAILABLE. */
export async function inTime<T>(asked: Promise<T>, ms = 5000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const message = 'Redis does not answer: try again later';
    timer = setTimeout(() => reject(new CodedError('REDIS_UNAVAILABLE', message)), ms).unref();
  });
  return Promise.race([asked, late]).finally(() => clearTimeout(timer));
}

export type Verb =
  | 'claim'
  | 'renew'
  | 'report'
  | 'finish'
  | 'reject'
  | 'handback'
  | 'recover'
  | 'submit'
  | 'place'
  | 'adopt'
  | 'cancel'
  | 'requeue';

/** Verbs that look at all devices need to know what these are. */
const scheduling: ReadonlySet<Verb> = new Set<Verb>(['submit', 'place', 'cancel']);

const sources = new Map<Verb, { text: string; sha: string }>();

function sourceOf(verb: Verb): { text: string; sha: string } {
  let source = sources.get(verb);
  if (source === undefined) {
    const read = (name: string) =>
      readFileSync(join(projectRoot, 'src', 'queue', 'lua', `${name}.lua`), 'utf8');
    const parts = ['prelude', ...(scheduling.has(verb) ? ['devices'] : []), verb];
    const text = parts.map(read).join('\n');
    source = { text, sha: createHash('sha1').update(text).digest('hex') };
    sources.set(verb, source);
  }
  return source;
}

/** Errors of a Redis that will take writes later: full, read-only, still loading. */
const passing =
  /(?:^|-)(?:OOM|MISCONF|READONLY|LOADING|BUSY|MASTERDOWN|NOREPLICAS|CLUSTERDOWN|TRYAGAIN) /;
const againMs = 500;

export function willPass(error: unknown): boolean {
  return passing.test((error as Error).message);
}

/** Tries again for as long as Redis answers that it cannot just now, as it waits for one that is away. */
export async function patiently<T>(log: Log, ask: () => Promise<T>): Promise<T> {
  for (let isFirst = true; ; isFirst = false) {
    try {
      return await ask();
    } catch (err) {
      if (!willPass(err)) throw err;
      if (isFirst) log.warn({ err }, 'Redis takes no writes; trying again until it does');
      await sleep(againMs);
    }
  }
}

/** Runs the Lua script of a verb. Every one of them may be sent twice without harm. */
export async function runVerb(
  redis: Redis,
  verb: Verb,
  keyNames: readonly string[],
  args: readonly (string | number | Buffer)[],
): Promise<unknown> {
  const { text, sha } = sourceOf(verb);
  const parameters = [...keyNames, ...args];
  try {
    return await redis.evalsha(sha, keyNames.length, ...parameters);
  } catch (error) {
    if (!(error as Error).message.startsWith('NOSCRIPT')) throw error;
    return await redis.eval(text, keyNames.length, ...parameters);
  }
}
