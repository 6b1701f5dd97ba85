import type { Config } from '../config.js';
import { readJson } from '../json.js';
import { type DeviceInfo, deviceInfo } from './device.js';
import { readEntry } from './schema.js';
import { knownDevices } from './dead.js';
import { keys, queueOf, workerOf } from './keys.js';
import type { Redis } from './redis.js';

/** A task that a worker holds. */
export interface RunningTask {
  /** Undefined when the entry names none. */
  readonly taskId: string | undefined;
  readonly worker: string;
  /** What its state says, once it was claimed. */
  readonly status: string | undefined;
  readonly progress: number | undefined;
  readonly attempts: number | undefined;
}

/** One device and what is in its queue. */
export interface DeviceQueue {
  readonly id: number;
  readonly queue: string;
  /** As its worker says; undefined without a live one. */
  readonly status: string | undefined;
  readonly info: DeviceInfo | undefined;
  readonly waiting: number;
  /** The first that wait; undefined for an entry that names no task. */
  readonly next: readonly (string | undefined)[];
  readonly dead: number;
  readonly running: readonly RunningTask[];
}

/** How many of a queue's tasks are named. */
const mostNext = 20;

/** The devices that have a worker, or anything in their queue, by id. */
export async function queueOverview(redis: Redis, config: Config): Promise<DeviceQueue[]> {
  const [ids, running] = await Promise.all([knownDevices(redis, config), runningTasks(redis)]);
  const reading = redis.pipeline();
  for (const id of ids) {
    const queue = keys.queue(config, id);
    reading.get(keys.gpuStatus(id)).get(keys.gpuInfo(id));
    reading
      .llen(queue)
      .llen(keys.dead(queue))
      .lrange(queue, 0, mostNext - 1);
  }
  // A key of such a name that is something else has nothing to tell.
  const values = ((await reading.exec()) ?? []).map(([error, value]) => (error ? null : value));
  const devices = ids.map((id, i) => {
    const [status, info, waiting, dead, next] = values.slice(5 * i, 5 * i + 5);
    const queue = keys.queue(config, id);
    return {
      ...{ id, queue, running: running.get(queue) ?? [] },
      status: typeof status === 'string' ? status : undefined,
      info: typeof info === 'string' ? readJson(deviceInfo, info) : undefined,
      waiting: Number(waiting ?? 0),
      next: Array.isArray(next) ? next.map((raw) => readEntry(String(raw)).taskId) : [],
      dead: Number(dead ?? 0),
    };
  });
  return devices.filter(
    ({ status, waiting, dead, running }) =>
      status !== undefined || waiting + dead + running.length > 0,
  );
}

/** By queue. */
async function runningTasks(redis: Redis): Promise<Map<string, RunningTask[]>> {
  const found = new Map<string, RunningTask[]>();
  for (const processing of await redis.zrange(keys.workers, '0', '-1')) {
    const queue = queueOf(processing);
    const tasks = found.get(queue) ?? [];
    found.set(queue, tasks);
    for (const raw of await redis.lrange(processing, 0, -1)) {
      const { taskId } = readEntry(raw);
      tasks.push({ taskId, worker: workerOf(processing), ...(await stateOf(redis, taskId)) });
    }
  }
  return found;
}

async function stateOf(
  redis: Redis,
  taskId = '',
): Promise<Pick<RunningTask, 'status' | 'progress' | 'attempts'>> {
  const known = await redis.hmget(keys.state(taskId), 'status', 'progress', 'attempts');
  const [status, progress, attempts] = known.map((value) => value ?? undefined);
  return {
    status,
    progress: progress === undefined ? undefined : Number(progress),
    attempts: attempts === undefined ? undefined : Number(attempts),
  };
}
