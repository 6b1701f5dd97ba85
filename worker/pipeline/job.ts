import { mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isAlive } from '../../src/alive.js';
import type { Config } from '../../src/config.js';
import { CodedError, type ErrorCode } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import type { Claim, WorkerQueue } from '../../src/queue/worker-queue.js';
import { sizeProblem } from '../../src/queue/device.js';
import type { Task } from '../../src/queue/schema.js';
import type { VideoEncoder } from '../media/index.js';
import type { ClipEngine } from './engine.js';
import { keepLease } from './lease.js';
import { Reporter } from './reporter.js';
import { StageClock } from './stages.js';
import { type DownloadOptions, Transfers, fileNotFound } from './transfer.js';
import { type VideoResult, type VideoStage, makeVideo } from './video.js';
import { Watchdog } from './watchdog.js';

/** Why work on a task was cut short. */
export class Interrupted extends Error {
  constructor(readonly why: 'lost' | 'shutdown') {
    super(why === 'lost' ? 'the task belongs to another worker now' : 'the worker shuts down');
  }
}

export interface JobContext {
  readonly config: Config;
  readonly engine: ClipEngine;
  readonly encoder: VideoEncoder;
  readonly queue: WorkerQueue;
  readonly log: Log;
  /** This worker's folder; each task gets one below it and leaves nothing there. */
  readonly folder: string;
  /** Aborted with Interrupted('shutdown') when the worker has to give the task back. */
  readonly shutdown: AbortSignal;
}

/** Brings one of the task's files to a path. */
type Fetch = (id: string, path: string, options: DownloadOptions) => Promise<void>;

/** Where each stage lies on the scale of the whole task. */
const scale: Record<'downloading' | VideoStage, readonly [number, number]> = {
  downloading: [0, 5],
  face_detecting: [5, 10],
  inference: [10, 92],
  merging_audio: [92, 96],
};

/** Failures that a process does not get over; the next process may. */
const fatalCodes: ReadonlySet<ErrorCode> = new Set([
  'ENGINE_DEVICE_LOST',
  'ENGINE_OUT_OF_MEMORY',
  'TASK_STALLED',
]);

/**
 * Works on a claimed task until it is completed, failed, cancelled, handed back or lost. Resolves
 * with the failure after which this process must end: the task is then left to the recovery, or
 * has failed when that was its last attempt.
 */
export async function runJob(claim: Claim, context: JobContext): Promise<CodedError | undefined> {
  const { config, queue, shutdown } = context;
  const log = context.log.child({ task: claim.taskId });
  const lost = new AbortController();
  const onLost = () => lost.abort(new Interrupted('lost'));
  const signal = AbortSignal.any([lost.signal, shutdown, claim.cancelled]);
  const lease = keepLease(queue, claim, config.tasks.leaseMs, log, onLost);
  const reporter = new Reporter(queue, claim, onLost);
  const clock = new StageClock();
  const folder = join(context.folder, `task-${claim.token.replace(/[^A-Za-z0-9-]/g, '_')}`);
  try {
    const { task, problem } = claim.entry;
    if (task === undefined) throw problem ?? new CodedError('INTERNAL', 'the task was not read');
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const transfers = new Transfers(config, signal, {
      workerKey: queue.workerKey,
      traceparent: () => clock.traceparent,
    });
    const fetch: Fetch = async (id, path, options) => {
      if (!(await queue.mayUse(claim, id))) throw fileNotFound(options.role, id);
      await transfers.download(id, path, options);
    };
    const path = join(folder, 'video.mp4');
    const made = await makeVideoOf(task, path, fetch, { reporter, clock, ...context }, signal);
    clock.enter('upload');
    const videoId = await transfers.upload(path, 'video.mp4', claim.videoId, claim.entry.user);
    clock.leave();
    await reporter.close();
    const { frames } = made;
    const videoSeconds = Number(made.seconds.toFixed(3));
    const came = { frames: String(frames), video_seconds: String(videoSeconds) };
    if (await queue.complete(claim, videoId, { ...clock.facts(), ...came })) {
      const { attempt } = claim;
      const seconds = clock.seconds();
      log.info({ video: videoId, attempt, frames, videoSeconds, seconds }, 'task completed');
    } else {
      await transfers.delete(videoId);
      signal.throwIfAborted();
      throw new Interrupted('lost');
    }
    return undefined;
  } catch (error) {
    await reporter.close();
    clock.leave(error);
    return await end(error, claim, reporter.progress, { ...context, log, clock }, signal);
  } finally {
    lease.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** The largest side that tasks may ask for. */
export function largestSize({ tasks }: Config, defaults: { readonly width: number }): number {
  return Math.max(defaults.width, tasks.maxSize ?? 0);
}

/** Makes the video at `outPath`. */
async function makeVideoOf(
  task: Task,
  outPath: string,
  fetch: Fetch,
  context: JobContext & { readonly reporter: Reporter; readonly clock: StageClock },
  signal: AbortSignal,
): Promise<VideoResult> {
  const { config, engine, encoder, log, reporter, clock } = context;
  const folder = dirname(outPath);
  const { maxBytes } = config.tempFiles;
  const { model, defaults } = engine.info();
  const { size = defaults.width } = task;
  const limits = { size: defaults.width, max_size: largestSize(config, defaults) };
  const problem = task.size && sizeProblem(task.size, { model: model.name, ...limits });
  if (problem) throw new CodedError('TASK_INVALID', problem);
  const tell = (stage: 'downloading' | VideoStage, percent: number, message: string) => {
    clock.enter(stage);
    const [from, to] = scale[stage];
    reporter.update(stage, from + ((to - from) * percent) / 100, message);
  };
  const imagePath = join(folder, 'image');
  const audioPath = join(folder, 'audio');
  tell('downloading', 0, 'fetching the picture and the sound');
  await fetch(task.ref_image_id, imagePath, {
    role: 'ref_image_id',
    maxBytes: maxBytes.image,
    types: ['image/'],
  });
  tell('downloading', 50, 'fetched the picture');
  await fetch(task.audio_id, audioPath, {
    role: 'audio_id',
    maxBytes: Math.max(maxBytes.audio, maxBytes.video),
    types: ['audio/', 'video/'],
  });
  const watchdog = new Watchdog(config.tasks.stallMs);
  const making = makeVideo(engine, {
    imagePath,
    audioPath,
    outPath,
    steps: task.steps,
    cfg: task.cfg,
    seed: task.seed,
    frames: task.frames_num,
    size,
    maxAudioSeconds: config.tasks.maxAudioSeconds,
    // Hardware was only tried at the model's own size, and refuses small ones.
    encoder: size === defaults.width ? encoder : { name: 'x264' },
    mark: config.visibleMark,
    signal,
    onStage: (...news) => {
      watchdog.alive();
      tell(...news);
    },
  });
  const result = await watchdog.watch(making);
  const { frames, seed, face, milliseconds, timings } = result;
  clock.rendered(timings);
  log.info({ frames, seed: String(seed), face, milliseconds }, 'rendered');
  reporter.update('merging_audio', 97, 'storing the video');
  return result;
}

/** What becomes of a task whose work did not end with a video; a failure that is fatal to us. */
async function end(
  error: unknown,
  claim: Claim,
  progress: number,
  { config, queue, log, clock }: JobContext & { readonly clock: StageClock },
  signal: AbortSignal,
): Promise<CodedError | undefined> {
  const fatal = error instanceof CodedError && fatalCodes.has(error.code) ? error : undefined;
  // Once stopped, whatever breaks breaks because of that; a fault of the task's own comes again.
  // The reason of a cancelled task is the failure that it ends with.
  const interruption: unknown = signal.aborted ? signal.reason : error;
  if (interruption instanceof Interrupted) {
    if (interruption.why === 'shutdown') {
      const done = await queue.handBack(claim);
      log.info({ done }, 'task handed back');
    } else {
      log.warn('task lost to another worker');
    }
    return fatal;
  }
  if (fatal !== undefined && !signal.aborted && claim.tries < config.tasks.maxAttempts) {
    return fatal;
  }
  const failure = codedFailure(interruption);
  const told = await queue.fail(claim, progress, failure, {
    breaksWorkers: fatal !== undefined,
    facts: clock.facts(),
  });
  const { code } = failure;
  const { attempt } = claim;
  const err = code === 'INTERNAL' ? error : undefined;
  log.warn({ err, code, attempt, told, seconds: clock.seconds() }, failure.message);
  return fatal;
}

function codedFailure(error: unknown): CodedError {
  if (error instanceof CodedError) return error;
  if ((error as NodeJS.ErrnoException | null)?.code === 'ENOSPC') {
    return new CodedError('STORAGE_FULL', "the disk of the worker's files is full");
  }
  return new CodedError('INTERNAL', 'the worker failed; its log says why', { cause: error });
}

/** Name of the folder of one run of a worker, below that of all workers. */
export function workerFolder(hostName: string, pid: number): string {
  return `${hostName}.${pid}`;
}

/** Removes what workers of this host that were killed left in the folder of all workers. */
export async function removeLeftovers(root: string, hostName: string): Promise<void> {
  for (const name of await readdir(root).catch(() => [])) {
    const [, host, pid] = /^([A-Za-z0-9-]+)\.(\d+)$/.exec(name) ?? [];
    if (host !== hostName || (Number(pid) !== process.pid && isAlive(Number(pid)))) continue;
    await rm(join(root, name), { recursive: true, force: true });
  }
}
