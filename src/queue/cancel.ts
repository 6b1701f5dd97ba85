import { type Static, Type } from 'typebox';
import type { Config } from '../config.js';
import { readJson } from '../json.js';
import { maxTaskBytes, taskSchema } from './schema.js';
import { cancelledHead } from './update.js';
import { keys } from './keys.js';
import { type Redis, runVerb } from './redis.js';

/** What is said on the control channel: a client's wish, or what a worker has to drop. */
const controlMessage = Type.Union([
  Type.Object({ cancel: taskSchema.properties.task_id }),
  Type.Object({ stop: Type.String(), token: Type.String() }),
]);
export type ControlMessage = Static<typeof controlMessage>;

/** Undefined for anything that is no message of ours. */
export function readControl(text: string): ControlMessage | undefined {
  return text.length > maxTaskBytes ? undefined : readJson(controlMessage, text);
}

/** The configured devices as the scripts read them. */
export function configuredDevices(config: Config): string {
  return (config.devices ?? []).map(({ id }) => id).join(',');
}

/**
 * `withdrawn`: it waited and has failed with TASK_CANCELLED. `stopping`: its worker ends it so.
 * `ended`: it was over before. `unknown`: there is no such task.
 */
export type CancelOutcome = 'withdrawn' | 'stopping' | 'ended' | 'unknown';

/** Cancels a task, whoever pushed it and wherever it is; asking twice is no different. */
export async function cancelTask(
  redis: Redis,
  config: Config,
  taskId: string,
): Promise<CancelOutcome> {
  return (await runVerb(
    redis,
    'cancel',
    [keys.state(taskId), keys.lease(taskId), keys.gpus, keys.workers],
    [
      ...[taskId, config.queueName, configuredDevices(config), config.tasks.stateMs],
      ...[config.progressChannel, keys.control, cancelledHead(taskId)],
    ],
  )) as CancelOutcome;
}
