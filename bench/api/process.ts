import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Config, childEnvironment, loadConfig } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { projectRoot } from '../../src/paths.js';
import { PrivateRedis, freePort } from '../../src/queue/private-redis.js';

/** What an API process says of itself, after garbage collection. */
export interface Condition {
  /** Bytes. */
  readonly rss: number;
  readonly heap: number;
  /** Open sockets, timers, files and the like. */
  readonly handles: number;
  /** Milliseconds that its event loop was late since it was asked before. */
  readonly delay: { readonly p50: number; readonly p99: number; readonly max: number };
}

/** Runs in the process that is measured. */
const probe = `import { monitorEventLoopDelay } from 'node:perf_hooks';
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
process.on('message', async (message) => {
  if (message !== 'measure') return;
  const late = Object.fromEntries([['p50', delay.percentile(50)], ['p99', delay.percentile(99)], ['max', delay.max]].map(([name, ns]) => [name, ns / 1e6]));
  for (let i = 0; i < 4; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  delay.reset();
  const { rss, heapUsed, external } = process.memoryUsage();
  const handles = process.getActiveResourcesInfo().length;
  process.send({ rss, heap: heapUsed + external, handles, delay: late });
});`;

/** An API process on loopback, with a Redis and a folder of the measurement's own. */
export interface MeasuredApi {
  readonly config: Config;
  readonly url: string;
  condition(settleMs?: number): Promise<Condition>;
  stop(): Promise<void>;
}

export async function startMeasuredApi(more: Record<string, string> = {}): Promise<MeasuredApi> {
  const folder = await mkdtemp(join(tmpdir(), 'bench-sessions-'));
  const redis = await PrivateRedis.start({
    ...{ folder, program: 'redis-server', log: createLog('warn') },
  });
  const port = await freePort();
  const settings: Record<string, string> = {
    ...{ DATA_DIR: folder, LOG_LEVEL: 'warn', HOST: '127.0.0.1', PORT: String(port) },
    ...{ BASE_URL: `http://127.0.0.1:${port}`, SESSIONS_PER_ADDRESS: '1000000' },
    ...{ REDIS_HOST: redis.host, REDIS_PORT: String(redis.port) },
    ...{ REQUESTS_PER_MINUTE: '0', TURNS_PER_MINUTE: '0', TASKS_PER_USER: '0' },
    ...{ CONNECTIONS_PER_ADDRESS: '0', CONNECTIONS: '100000', WS_FRAMES_PER_SECOND: '10000' },
    ...more,
  };
  const api = fork(join(projectRoot, 'dist', 'src', 'server.js'), {
    execArgv: ['--expose-gc', '--import', `data:text/javascript,${encodeURIComponent(probe)}`],
    env: childEnvironment(settings),
  });
  await messageOf(api, (message) => (message as { type?: string }).type === 'ready');
  return {
    config: loadConfig(settings),
    url: `http://127.0.0.1:${port}`,
    condition: async (settleMs = 3000) => {
      await sleep(settleMs);
      api.send('measure');
      return await messageOf<Condition>(api, (message) => 'rss' in message);
    },
    stop: async () => {
      if (api.exitCode === null && api.kill('SIGTERM')) await once(api, 'exit');
      await redis.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function messageOf<T>(child: ChildProcess, fits: (message: object) => boolean): Promise<T> {
  for (;;) {
    const [message] = (await once(child, 'message')) as [object];
    if (fits(message)) return message as T;
  }
}
