import type { Config } from '../config.js';

/** Names of everything in Redis. The first four are the contract with clients. */
export const keys = {
  queue: (config: Config, gpuId: number) => config.queueName.replaceAll('{gpu_id}', String(gpuId)),
  gpuStatus: (gpuId: number) => `${statusPrefix}${gpuId}`,
  /** JSON of what its worker tells of a device and its model; expires with the status. */
  gpuInfo: (gpuId: number) => `gpu_info:${gpuId}`,
  state: (taskId: string) => `task:${taskId}`,
  dead: (queue: string) => `${queue}:dead`,
  lease: (taskId: string) => `task_lease:${taskId}`,
  processing: (queue: string, worker: string) => `${queue}${separator}${worker}`,
  suspects: (processing: string) => `${processing}:suspects`,
  /** Sorted set: the processing lists in use, by the time of their worker's last heartbeat. */
  workers: 'task_workers',
  /** Sorted set: files that attempts without a video may have stored, by the time (s) of their end. */
  orphans: 'task_orphans',
  recoveryTurn: 'task_recovery_turn',
  /** Sorted set: ids of the devices that have a worker, by the time of its last heartbeat. */
  gpus: 'task_gpus',
  /** The device that was chosen last. */
  turn: 'task_turn',
  /** JSON of what was asked for over HTTP, and whose it is. */
  request: (taskId: string) => `task_request:${taskId}`,
  /** Sorted set: a user's tasks of HTTP, by the time (ms) at which they were asked for. */
  requestsOf: (userId: string) => `task_requests_of:${userId}`,
  /** Sorted set: tasks of HTTP whose end nobody has counted yet, by the time (ms) of the request. */
  uncounted: 'task_requests_uncounted',
  /** Set: tasks of one user or address that are not known to be over. */
  tasksOf: (owner: string) => `tasks_of:${owner}`,
  /** The session whose file it is; nobody's without one. */
  fileOwner: (fileId: string) => `file_owner:${fileId}`,
  /** What workers show the API to be known as such. */
  workerKey: 'worker_key',
  /** Hash: what became of all tasks so far; its names are those of prelude.lua. */
  totals: 'task_totals',
  /** Hash: what became of the tasks that ended in a minute (since 1970); kept for two days. */
  minute: (minute: number) => `task_minute:${minute}`,
  /** List: the last tasks that failed, newest first, as JSON. */
  failures: 'task_failures',
  /** Channel on which tasks are cancelled. */
  control: 'task_control',
} as const;

/** Header in which workers show that they read the key that the API keeps in Redis. */
export const workerKeyHeader = 'x-worker-key';
export const statusPrefix = 'gpu_status:';
const separator = ':processing:';

/** The queue that a processing list takes from. */
export function queueOf(processing: string): string {
  return processing.slice(0, processing.lastIndexOf(separator));
}

export function workerOf(processing: string): string {
  return processing.slice(processing.lastIndexOf(separator) + separator.length);
}
