import { Redis } from 'ioredis';
import type { Test } from 'tap';
import { type Config, loadConfig } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { PrivateRedis } from '../../src/queue/private-redis.js';
import type { TaskUpdate } from '../../src/queue/update.js';
import { temporaryFolder } from './folder.js';

export { until } from './until.js';

export interface RunningRedis {
  readonly server: PrivateRedis;
  /** A client's plain connection. */
  readonly client: Redis;
  config(settings?: Record<string, string>): Config;
  /** Everything published on the progress channel from now on. */
  listen(): Promise<TaskUpdate[]>;
}

/** A real redis-server of the test's own. */
export async function startRedis(t: Test): Promise<RunningRedis> {
  const folder = await temporaryFolder(t);
  const server = await PrivateRedis.start({
    folder,
    program: 'redis-server',
    log: createLog('silent'),
  });
  t.teardown(() => server.stop());
  const connect = () => {
    const redis = new Redis({ host: server.host, port: server.port });
    redis.on('error', () => undefined);
    t.teardown(() => redis.disconnect());
    return redis;
  };
  return {
    server,
    client: connect(),
    config: (settings = {}) =>
      loadConfig({
        DATA_DIR: folder,
        LOG_LEVEL: 'silent',
        REDIS_HOST: server.host,
        REDIS_PORT: String(server.port),
        ...settings,
      }),
    listen: async () => {
      const subscriber = connect();
      const heard: TaskUpdate[] = [];
      subscriber.on('message', (_channel, text: string) =>
        heard.push(JSON.parse(text) as TaskUpdate),
      );
      await subscriber.subscribe('task_progress');
      return heard;
    },
  };
}

export const imageId = '550e8400-e29b-41d4-a716-446655440000';
export const audioId = '661f9511-f3ac-52e5-b827-557766551111';

/** A task as a client would push it. */
export function taskJson(taskId: string, more: Record<string, unknown> = {}): string {
  return JSON.stringify({
    task_id: taskId,
    session_id: 'session',
    ref_image_id: imageId,
    audio_id: audioId,
    ...more,
  });
}
