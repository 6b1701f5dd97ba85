import { randomUUID } from 'node:crypto';
import { CodedError, type ErrorCode, errorCodes } from '../../errors.js';
import { ownerOf } from '../../limit/rates.js';
import type { Submitted } from '../../task/tasks.js';
import type { TaskUpdate } from '../../queue/update.js';
import { unlessAborted } from '../../abort.js';
import type { RunningTurn } from '../core/host.js';

/** How often it is looked whether a task that is waited for is still known. */
const lookMs = 2_000;

/** Has the portrait speak `audioId`, which lasts `seconds`; the address of the video. */
export async function render(turn: RunningTurn, audioId: string, seconds: number): Promise<string> {
  const { session, signal } = turn;
  const { tasks } = session.services;
  const charge = await unlessAborted(turn.reserve({ video_seconds: Math.ceil(seconds) }), signal);
  const refImageId = await unlessAborted(session.portrait(), signal);
  const taskId = randomUUID();
  const submitted = (async () => {
    await session.files.addTask(taskId);
    const { user, address } = session.setup;
    const owner = ownerOf(user, address);
    const task = { taskId, sessionId: session.id, owner, refImageId, audioId };
    return await tasks.submit(task, { signal });
  })();
  const videoUrl = await follow(turn, taskId, submitted);
  if (charge !== undefined) charge.earned = true;
  return videoUrl;
}

/** Stays with a task to its end; the address of its video. Cut, the turn takes its task along. */
export async function follow(
  turn: RunningTurn,
  taskId: string,
  submitted?: Promise<Submitted>,
): Promise<string> {
  const { session, signal } = turn;
  // even one that is only now being queued
  const onCut = () =>
    turn.later(
      (submitted ?? Promise.resolve())
        .catch(() => undefined)
        .then(() => session.files.withdraw(taskId)),
    );
  signal.addEventListener('abort', onCut, { once: true });
  let last: TaskUpdate;
  try {
    if (submitted !== undefined) announce(turn, taskId, await unlessAborted(submitted, signal));
    last = await lastUpdate(turn, taskId);
  } catch (error) {
    if (!signal.aborted) {
      signal.removeEventListener('abort', onCut);
      void session.files.forgetTask(taskId);
    }
    throw named(error, taskId);
  }
  signal.removeEventListener('abort', onCut);
  const videoId = last.video_file_id;
  if (last.status === 'failed' || videoId === undefined) {
    void session.files.forgetTask(taskId);
    throw named(taskFailure(last), taskId);
  }
  await session.files.keepVideo(taskId, videoId);
  const videoUrl = session.files.url(videoId);
  turn.emit({ type: 'task-result', turn: turn.number, taskId, videoUrl });
  return videoUrl;
}

function announce(turn: RunningTurn, taskId: string, { position }: Submitted): void {
  const message = waitingMessage(position);
  turn.emit({ type: 'task-submitted', turn: turn.number, taskId, position, message });
}

/** Passes progress on until the task is over; throws TASK_NOT_FOUND when Redis has lost it. */
async function lastUpdate(turn: RunningTurn, taskId: string): Promise<TaskUpdate> {
  const { tasks } = turn.session.services;
  let stop: (() => void) | undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    const over = new Promise<TaskUpdate>((resolve, reject) => {
      const look = async () => {
        if ((await tasks.result(taskId)) === undefined) reject(lostTask());
      };
      // A Redis that does not answer may know it yet.
      timer = setInterval(() => void look().catch(() => undefined), lookMs);
      stop = tasks.watch(taskId, (update) => {
        if (update.status === 'completed' || update.status === 'failed') return resolve(update);
        turn.emit({
          type: 'task-progress',
          turn: turn.number,
          taskId,
          status: update.status,
          percentage: update.percentage,
          position: update.position,
          message: update.message,
        });
      });
    });
    return await unlessAborted(over, turn.signal);
  } finally {
    clearInterval(timer);
    stop?.();
  }
}

function lostTask(): CodedError {
  return new CodedError('TASK_NOT_FOUND', 'Redis has lost the task of the video: ask again');
}

function waitingMessage(position: number): string {
  return position === 0
    ? 'the video is next in the queue'
    : `the video waits in the queue behind ${position} other${position === 1 ? '' : 's'}`;
}

function taskFailure({ code, error }: TaskUpdate): CodedError {
  const known = code !== undefined && Object.hasOwn(errorCodes, code);
  return new CodedError(
    known ? (code as ErrorCode) : 'INTERNAL',
    error ?? 'the video could not be made; the worker gave no reason',
  );
}

/** An error that says which task it is about. */
function named(error: unknown, taskId: string): unknown {
  return typeof error === 'object' && error !== null ? Object.assign(error, { taskId }) : error;
}
