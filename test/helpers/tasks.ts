import type { Test } from 'tap';
import type { Config } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { type Redis, connectRedis } from '../../src/queue/redis.js';
import { WorkerQueue } from '../../src/queue/worker-queue.js';
import { Tasks } from '../../src/task/tasks.js';
import { type RunningRedis, audioId, imageId } from './redis.js';

const log = createLog('silent');

/** A task without settings of its own, for devices that need no files. */
export const plainTask = { sessionId: 'session', refImageId: imageId, audioId };

/** What a worker with the bundled model tells of its device. */
export const device = {
  ...{ model: 'small', provider: 'cpu', simulated: false, size: 128, max_size: 256 },
  ...{ steps: 6, cfg: 1, fps: 24 },
};

export interface OpenTasks {
  readonly tasks: Tasks;
  readonly subscriber: Redis;
}

/** A server's side of the tasks, with connections of its own, as a process has it. */
export async function openTasks(
  t: Test,
  redis: RunningRedis,
  settings: Record<string, string> = {},
): Promise<OpenTasks> {
  return tasksOf(t, redis.config({ TASK_WORKER_WAIT_SECONDS: '0.3', ...settings }));
}

/** The same for a service that runs. */
export async function tasksOf(t: Test, config: Config): Promise<OpenTasks> {
  const client = connectRedis(config, log);
  const subscriber = connectRedis(config, log, { connectionName: 'tasks-subscriber' });
  const tasks = new Tasks(client, subscriber, config, log);
  t.teardown(() => {
    tasks.stop();
    client.disconnect();
    subscriber.disconnect();
  });
  await tasks.start();
  return { tasks, subscriber };
}

/** A live device whose tasks the test works on itself. */
export async function openWorker(
  t: Test,
  redis: RunningRedis,
  gpuId = 0,
  settings: Record<string, string> = {},
  info?: Parameters<WorkerQueue['open']>[0],
): Promise<WorkerQueue> {
  const name = `w${gpuId}-${Math.random().toString(36).slice(2)}`;
  const worker = new WorkerQueue(redis.config(settings), gpuId, name, log);
  t.teardown(() => worker.disconnect());
  await worker.open(info);
  return worker;
}

export async function takeAndClaim(
  worker: WorkerQueue,
): Promise<NonNullable<Awaited<ReturnType<WorkerQueue['claim']>>>> {
  const raw = await worker.take();
  const claim = raw === undefined ? undefined : await worker.claim(raw);
  if (claim === undefined) throw new Error(`nothing to work on: ${raw}`);
  return claim;
}
