import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Config,
  childEnvironment,
  doubtfulNames,
  loadConfig,
  simulatedDevice,
} from '../src/config.js';
import { CodedError } from '../src/errors.js';
import { privatePieces } from '../src/fleet/traits.js';
import type { Log } from '../src/log.js';
import { projectRoot } from '../src/paths.js';
import { keys } from '../src/queue/keys.js';
import { PrivateRedis, freePort } from '../src/queue/private-redis.js';
import { checkRedis } from '../src/queue/redis.js';
import { Keeper } from '../worker/keeper.js';
import { Supervisor, visibleDevices } from '../worker/supervisor.js';
import { lockDataFolder } from './data-lock.js';

const redisWaitMs = 15_000;

export interface Stack {
  /** As the processes of the stack see it. */
  readonly config: Config;
  /** Process ids, for operators and tests. */
  readonly pids: {
    api: number | undefined;
    redis: number | undefined;
    workers: (number | undefined)[];
  };
  /** Resolves when every worker has loaded its model. */
  readonly workersReady: Promise<void>;
  stop(): Promise<void>;
}

type WorkersOnly = Pick<Stack, 'config' | 'workersReady' | 'stop'>;

export interface StackOptions {
  readonly log: Log;
  /** Settings that replace those of the environment. */
  readonly settings?: Parameters<typeof childEnvironment>[0];
  /** The private Redis takes this port when it is free. */
  readonly redisPort?: number;
}

/** Everything that serves: Redis (our own if none is named), the API, one worker per device. */
export async function startStack({ log, settings = {}, redisPort }: StackOptions): Promise<Stack> {
  const environment = childEnvironment(settings);
  let asked = nameDevices(environment, log);
  // Our own API is reached by its address: another program may answer to localhost over IPv6.
  const port = asked.port === 0 ? await freePort() : asked.port;
  environment['PORT'] = String(port);
  if (!environment['BASE_URL'] && ['127.0.0.1', '0.0.0.0'].includes(asked.host)) {
    environment['BASE_URL'] = `http://127.0.0.1:${port}`;
  }
  asked = loadConfig(environment);
  if (asked.devices?.length !== 0) requireModel(asked);
  const stops: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (const one of stops.splice(0).reverse()) {
      await one().catch((err: unknown) => log.error({ err }, 'a part did not stop cleanly'));
    }
  };
  try {
    stops.push(await lockDataFolder(asked.dataFolder));
    let redis: PrivateRedis | undefined;
    if (!asked.redis.named) {
      redis = await PrivateRedis.start({
        folder: join(asked.dataFolder, 'redis'),
        program: asked.redis.serverProgram,
        fsync: asked.redis.fsync,
        log,
        ...(redisPort === undefined ? {} : { preferredPort: redisPort }),
      });
      stops.push(() => redis?.stop() ?? Promise.resolve());
      Object.assign(environment, { REDIS_HOST: redis.host, REDIS_PORT: String(redis.port) });
    }
    const config = loadConfig(environment);
    await checkRedis(config, log, redisWaitMs);
    const pieces = privatePieces(config, redis !== undefined);
    if (pieces.length > 0) {
      log.info(`a second API process cannot join this one: ${pieces.join(', ')} (docs/scaling.md)`);
    }
    const api = new Keeper({
      name: 'the API',
      module: join(projectRoot, 'dist', 'src', 'server.js'),
      environment,
      log,
      startMs: 60_000,
      stopMs: config.shutdownMs + 5000,
    });
    stops.push(() => api.stop());
    await api.start();
    const supervisor = new Supervisor(config, environment, log);
    stops.push(() => supervisor.stop());
    const workersReady = supervisor.start();
    workersReady.catch(() => undefined);
    return {
      config,
      workersReady,
      stop,
      get pids() {
        return {
          api: api.pid,
          redis: redis?.pid,
          workers: supervisor.keepers.map((keeper) => keeper.pid),
        };
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Workers alone, for the service at BASE_URL and its Redis, which may be on other machines. */
export async function startWorkers({
  log,
  settings = {},
}: Omit<StackOptions, 'redisPort'>): Promise<WorkersOnly> {
  for (const doubt of doubtfulNames()) log.warn(doubt);
  const environment = childEnvironment(settings);
  const config = nameDevices(environment, log);
  if (!config.redis.named || !environment['BASE_URL']) {
    throw new CodedError(
      'CONFIG_INVALID',
      'workers alone need REDIS_HOST (or another REDIS_ setting) and BASE_URL of the service they work for',
    );
  }
  requireModel(config);
  const unlock = await lockDataFolder(config.dataFolder);
  try {
    await checkRedis(config, log, redisWaitMs);
  } catch (error) {
    await unlock();
    throw error;
  }
  const supervisor = new Supervisor(config, environment, log);
  const workersReady = supervisor.start();
  workersReady.catch(() => undefined);
  return { config, workersReady, stop: () => supervisor.stop().finally(unlock) };
}

/** For the operator: where tasks may be pushed, and whether anything real becomes of them. */
export function describeQueues(config: Config): string {
  const devices = config.devices ?? [];
  if (devices.length === 0) return 'no workers of its own';
  const queues = devices.map(({ id }) => keys.queue(config, id)).join(', ');
  const simulated = devices.some(({ device }) => device === simulatedDevice);
  return `push tasks on ${queues}${simulated ? ' (simulated devices: no model runs)' : ''}`;
}

/** Writes into the environment which devices `auto` stands for, so that all processes agree. */
function nameDevices(environment: Record<string, string>, log: Log): Config {
  const config = loadConfig(environment);
  if (config.devices !== undefined) return config;
  environment['WORKER_DEVICES'] = visibleDevices(config, log);
  return loadConfig(environment);
}

export function requireModel(config: Config): void {
  if (existsSync(join(config.modelFolder, 'manifest.json'))) return;
  throw new CodedError(
    'MODEL_MISSING',
    `there is no model in ${config.modelFolder}: "npm run weights -- list" shows what there is, ` +
      '"npm run weights -- import FOLDER" makes one; set MODEL to its name',
  );
}
