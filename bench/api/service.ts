import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Stack, type StackOptions, startStack } from '../../scripts/stack.js';
import type { Config } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { freePort } from '../../src/queue/private-redis.js';
import { type Redis, connectRedis } from '../../src/queue/redis.js';

export const log = createLog('error');

/** A whole service of the measurement's own, in real processes, and connections to its Redis. */
export interface Service {
  readonly config: Config;
  readonly url: string;
  readonly pids: Stack['pids'];
  readonly connect: () => Redis;
  readonly stop: () => Promise<void>;
}

/** `devices` as WORKER_DEVICES has it, and more settings; resolves when the workers are ready. */
export async function openService(
  devices: string,
  more: StackOptions['settings'] = {},
): Promise<Service> {
  const folder = await mkdtemp(join(tmpdir(), 'bench-api-'));
  const clients: Redis[] = [];
  let stack: Stack | undefined;
  const stop = async () => {
    for (const client of clients) client.disconnect();
    await stack?.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const port = String(await freePort());
    stack = await startStack({
      log,
      settings: {
        ...{ DATA_DIR: folder, HOST: '127.0.0.1', PORT: port, LOG_LEVEL: 'error' },
        ...{ BASE_URL: `http://127.0.0.1:${port}`, PUBLIC_BASE_URL: undefined },
        ...{ DATABASE_URL: undefined, API_TOKEN: undefined, AUTH: 'optional' },
        ...{ REDIS_HOST: undefined, REDIS_PORT: undefined },
        ...{ REDIS_DB: undefined, REDIS_PASSWORD: undefined },
        ...{ WORKER_DEVICES: devices, WORKER_FIRST_ID: '0' },
        ...{ TTS: 'flite', DIALOGUE: 'echo', ASR: 'parrot' },
        ...{ SESSIONS_PER_ADDRESS: '1000000', WS_FRAMES_PER_SECOND: '10000' },
        // one client stands for many: what guards against that is off
        ...{ REQUESTS_PER_MINUTE: '0', TURNS_PER_MINUTE: '0', TASKS_PER_USER: '0' },
        ...{ STORAGE_PER_USER_MB: '0', UPLOADS_PER_ADDRESS: '0', CONNECTIONS_PER_ADDRESS: '0' },
        ...{ SHUTDOWN_SECONDS: '1', ...more },
      },
    });
    await stack.workersReady;
  } catch (error) {
    await stop();
    throw error;
  }
  const running = stack;
  const { config } = running;
  const connect = () => {
    const client = connectRedis(config, log);
    clients.push(client);
    return client;
  };
  return {
    ...{ config, url: config.baseUrl, connect, stop },
    get pids() {
      return running.pids;
    },
  };
}

/** Calls `work` so often, with so many of the calls under way at any time. */
export async function inLanes<T>(
  count: number,
  atOnce: number,
  work: (number: number) => Promise<T>,
): Promise<T[]> {
  const done: T[] = [];
  let next = 0;
  const lane = async () => {
    for (let i = next++; i < count; i = next++) done[i] = await work(i);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, lane));
  return done;
}

/** How long `work` takes, in milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
