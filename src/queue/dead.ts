import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { type Static, Type } from 'typebox';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import { readJson } from '../json.js';
import { maxTaskBytes } from './schema.js';
import type { TaskUpdate } from './update.js';
import { configuredDevices } from './cancel.js';
import { keys } from './keys.js';
import { type Redis, runVerb } from './redis.js';

const deadFields = Type.Object({
  task_id: Type.String(),
  code: Type.String(),
  error: Type.String(),
  /** ISO 8601 */
  at: Type.String(),
  /** The one that had it last. */
  worker: Type.Optional(Type.String()),
  attempts: Type.Optional(Type.Integer()),
  /** What was pushed, or its beginning. */
  raw: Type.String(),
  /** Set when `raw` is not all of it, byte for byte. */
  incomplete: Type.Optional(Type.Boolean()),
});

/** One entry of a dead-letter list. */
export interface DeadTask extends Static<typeof deadFields> {
  /** Names this entry among all. */
  readonly id: string;
  /** The queue that it came from. */
  readonly queue: string;
  /** The entry as it stands in the list. */
  readonly text: string;
}

/** What is kept of a task that nobody tries again; its attempts are added where it is written. */
export function deadEntry(raw: Buffer, update: TaskUpdate, worker: string): string {
  const text = raw.toString();
  const isWhole = text.length <= maxTaskBytes && isUtf8(raw);
  return JSON.stringify({
    ...{ task_id: update.task_id, code: update.code, error: update.error, at: update.timestamp },
    ...{ worker, raw: text.slice(0, maxTaskBytes) },
    ...(isWhole ? {} : { incomplete: true }),
  });
}

/** The devices whose queues may hold anything: those seen or configured, and the first 64. */
export async function knownDevices(redis: Redis, config: Config): Promise<number[]> {
  const seen = await redis.zrange(keys.gpus, '0', '-1');
  const ids = [...seen, ...configuredDevices(config).split(',')]
    .filter((id) => /^\d{1,6}$/.test(id))
    .map(Number);
  for (let id = 0; id < 64; id++) ids.push(id);
  return [...new Set(ids)].sort((a, b) => a - b);
}

/** The dead-letter lists of all queues, the newest entries of each first. */
export async function deadTasks(redis: Redis, config: Config): Promise<DeadTask[]> {
  const devices = await knownDevices(redis, config);
  const lists = await Promise.all(
    devices.map(async (gpuId) => {
      const queue = keys.queue(config, gpuId);
      const texts = await redis.lrange(keys.dead(queue), 0, -1);
      return texts.map((text) => readDead(queue, text));
    }),
  );
  return lists.flat();
}

/** The one with this id, or else the newest of the task of that name; throws NOT_FOUND. */
export async function findDead(redis: Redis, config: Config, id: string): Promise<DeadTask> {
  const all = await deadTasks(redis, config);
  const found = all.find((dead) => dead.id === id) ?? all.find(({ task_id }) => task_id === id);
  if (found !== undefined) return found;
  throw new CodedError('NOT_FOUND', `no dead task is "${id.slice(0, 200)}": list them anew`);
}

/**
 * Whether the server queued it for a session. The files of that are the session's: deleted with it,
 * and until then for no task but the one that was queued. Known as long as the task's state is kept.
 */
export async function isOfSession(redis: Redis, { task_id, raw }: DeadTask): Promise<boolean> {
  const [queued, asked] = await Promise.all([
    // A key of that name may be something else.
    redis.hget(keys.state(task_id), 'raw').catch(() => null),
    redis.exists(keys.request(task_id)),
  ]);
  return queued === raw && asked === 0;
}

const foreign = {
  ...{ task_id: '', code: 'INTERNAL', error: 'this is no entry of this server', at: '' },
  incomplete: true,
};

function readDead(queue: string, text: string): DeadTask {
  const id = createHash('sha1').update(text).digest('hex').slice(0, 12);
  const known = readJson(deadFields, text) ?? { ...foreign, raw: text };
  return { ...known, id, queue, text };
}

/**
 * Queues a dead task again, at the end of its own queue or another one, exactly as it was pushed.
 * Throws TASK_INVALID when it was not kept whole, runs again already, or was taken by someone else.
 */
export async function requeue(redis: Redis, dead: DeadTask, queue = dead.queue): Promise<void> {
  const { task_id: taskId, raw, text } = dead;
  if (dead.incomplete === true) {
    throw new CodedError(
      'TASK_INVALID',
      `${dead.id}: what was pushed was not kept whole, because it is longer than ` +
        `${maxTaskBytes} characters or no text; it would fail again: drop it`,
    );
  }
  const names = [keys.dead(dead.queue), queue, keys.state(taskId), keys.lease(taskId)];
  const outcome = await runVerb(redis, 'requeue', names, [text, raw]);
  if (outcome === 'requeued') return;
  const why =
    outcome === 'gone'
      ? 'it is no longer in the list'
      : `a task ${taskId} is under way: wait for it`;
  throw new CodedError('TASK_INVALID', `${dead.id}: ${why}`);
}

/** Forgets a dead task; false when it was gone. */
export async function dropDead(redis: Redis, { queue, text }: DeadTask): Promise<boolean> {
  return (await redis.lrem(keys.dead(queue), 1, text)) > 0;
}
