import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Test } from 'tap';
import { childEnvironment } from '../../src/config.js';
import { projectRoot } from '../../src/paths.js';
import { temporaryFolder } from './folder.js';
import { type RunningRedis, until } from './redis.js';

export interface Api {
  readonly url: string;
  readonly child: ChildProcess;
  kill(): Promise<void>;
}

/** An API process, with a data folder of its own, as on a machine of its own. */
export async function startApi(
  t: Test,
  redis: RunningRedis,
  settings: Record<string, string>,
): Promise<Api> {
  const { host, port } = redis.config().redis;
  const child = fork(join(projectRoot, 'dist', 'src', 'server.js'), {
    env: childEnvironment({
      ...{ DATA_DIR: await temporaryFolder(t), PORT: '0', REDIS_HOST: host },
      ...{ REDIS_PORT: String(port), LOG_LEVEL: process.env['TEST_LOG_LEVEL'] ?? 'silent' },
      ...settings,
    }),
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const [message] = (await once(child, 'message')) as [
    { type: string; address: string; message: string; code: string },
  ];
  if (message.type !== 'ready') throw Object.assign(new Error(message.message), message);
  await until(async () => {
    const all = await redis.client.hvals('session_process_traits');
    return all.some((traits) => traits.includes(message.address));
  }, 'the others know where it is');
  return {
    url: message.address,
    child,
    kill: async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}
