import { type Static, Type } from 'typebox';
import type { ErrorCode } from '../errors.js';

export const taskStatuses = [
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
  attempt: Type.Optional(Type.Integer()),
  seq: Type.Optional(Type.Integer()),
});
export type TaskUpdate = Static<typeof taskUpdate>;
export type TaskStatus = TaskUpdate['status'];

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
  status: Exclude<TaskStatus, 'completed' | 'failed'>,
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
