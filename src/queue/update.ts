import { type Static, Type } from 'typebox';
import type { ErrorCode } from '../errors.js';

/** `queued` is only told of tasks that the server itself submitted. */
export const taskStatuses = [
  'queued',
  'processing',
  'downloading',
  'face_detecting',
  'inference',
  'merging_audio',
  'completed',
  'failed',
] as const;

/** A message on the progress channel; `attempt` and `seq` are added where it is published. */
export const taskUpdate = Type.Object({
  task_id: Type.String(),
  session_id: Type.String(),
  status: Type.Enum([...taskStatuses]),
  progress: Type.Number({ minimum: 0, maximum: 100 }),
  percentage: Type.Number({ minimum: 0, maximum: 100 }),
  message: Type.String(),
  timestamp: Type.String(),
  video_file_id: Type.Optional(Type.String()),
  error: Type.Optional(Type.String()),
  code: Type.Optional(Type.String()),
  /** How many tasks are before a queued one. */
  position: Type.Optional(Type.Integer({ minimum: 0 })),
  attempt: Type.Optional(Type.Integer()),
  seq: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
});
export type TaskUpdate = Static<typeof taskUpdate>;
export type TaskStatus = TaskUpdate['status'];
/** What a worker tells while it works. */
export type WorkStatus = Exclude<TaskStatus, 'queued' | 'completed' | 'failed'>;

export interface TaskNames {
  readonly taskId: string | undefined;
  readonly sessionId: string | undefined;
}

const base = (
  { taskId, sessionId }: TaskNames,
  status: TaskStatus,
  progress: number,
  message: string,
) => ({
  task_id: taskId ?? '',
  session_id: sessionId ?? '',
  status,
  progress,
  percentage: progress,
  message,
  timestamp: new Date().toISOString(),
});

export function progressUpdate(
  names: TaskNames,
  status: WorkStatus,
  progress: number,
  message: string,
): TaskUpdate {
  return base(names, status, Math.round(Math.min(Math.max(progress, 0), 100) * 10) / 10, message);
}

export function completedUpdate(names: TaskNames, videoFileId: string): TaskUpdate {
  return { ...base(names, 'completed', 100, 'the video is ready'), video_file_id: videoFileId };
}

/** `progress` is how far the task had come. */
export function failedUpdate(
  names: TaskNames,
  progress: number,
  code: ErrorCode,
  error: string,
): TaskUpdate {
  return { ...base(names, 'failed', progress, `the task failed: ${error}`), error, code };
}

export const cancelledMessage = 'the task was cancelled';

/** What is known of a cancelled task in advance: its session and progress stand in its state. */
export function cancelledHead(taskId: string): string {
  const {
    session_id: _,
    progress: __,
    percentage: ___,
    ...head
  } = failedUpdate({ taskId, sessionId: undefined }, 0, 'TASK_CANCELLED', cancelledMessage);
  return JSON.stringify(head);
}

/** What is known of a waiting task in advance: where it stands is found when this is sent. */
export function queuedHead(taskId: string, sessionId: string): string {
  const {
    message: _,
    progress: __,
    percentage: ___,
    ...head
  } = base({ taskId, sessionId }, 'queued', 0, '');
  return JSON.stringify(head);
}

export function isEnd({ status }: Pick<TaskUpdate, 'status'>): boolean {
  return status === 'completed' || status === 'failed';
}
