import { randomInt, randomUUID } from 'node:crypto';
import type { Quota, Reservation } from '../account/quota.js';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import type { Owner, Rates } from '../limit/rates.js';
import type { Log } from '../log.js';
import type { FileType } from '../media/content.js';
import { durationOf } from '../media/recording.js';
import type { CancelOutcome } from '../queue/cancel.js';
import { keys } from '../queue/keys.js';
import type { Redis } from '../queue/redis.js';
import type { User } from '../store/schema.js';
import { storedRecording } from '../tempfile/recording.js';
import type { FileRecord, TempFileStore } from '../tempfile/store.js';
import type { StorageUse } from '../tempfile/usage.js';
import { type DeviceInfo, sizeProblem } from './device.js';
import type { NewRender, RenderState } from './http-schema.js';
import { type RenderRequest, RenderRequests } from './requests.js';
import type { Submitted, Tasks } from './tasks.js';
import { isEnd } from './update.js';

/** The `session_id` of every task of HTTP: sessions have UUIDs. */
const httpSession = 'http';
/** How often it is looked whether a task that is followed is still known. */
const lookMs = 60_000;
const mostSeed = 2 ** 32;

export interface RenderServices {
  readonly config: Config;
  readonly log: Log;
  readonly redis: Redis;
  readonly store: TempFileStore;
  readonly quota: Quota;
  readonly rates: Rates;
  readonly usage: StorageUse;
  readonly tasks: Tasks;
}

/** Who asks. */
export interface Visitor {
  readonly user: User | undefined;
  /** For whom it is counted; undefined for whoever is trusted. */
  readonly owner: Owner | undefined;
}

/** What has to be done when a task is over. */
interface Follow {
  readonly unwatch: () => void;
  readonly release: () => Promise<void>;
}

/** The tasks of HTTP: who may have what rendered, and who may know of it. */
export class Renders {
  readonly #services: RenderServices;
  readonly #requests: RenderRequests;
  readonly #followed = new Map<string, Follow>();
  #timer: NodeJS.Timeout | undefined;

  constructor(services: RenderServices) {
    this.#services = services;
    this.#requests = new RenderRequests(services.redis, services.config);
  }

  start(): void {
    this.#timer = setInterval(() => void this.#look(), lookMs).unref();
  }

  /** What is not over by now is not counted: the tasks go on. */
  stop(): void {
    clearInterval(this.#timer);
    for (const { unwatch } of this.#followed.values()) unwatch();
    this.#followed.clear();
  }

  /**
   * Checks the files and queues the task. Throws TASK_INVALID, TASK_FILE_NOT_FOUND,
   * TASK_FILE_WRONG_TYPE, what is wrong with the recording, RATE_LIMITED, QUOTA_EXCEEDED, and
   * whatever `Tasks.submit` does.
   */
  async create(
    { user, owner }: Visitor,
    asked: NewRender,
    signal: AbortSignal,
  ): Promise<Submitted & { readonly seed: number }> {
    const { rates, quota, tasks } = this.#services;
    if (owner !== undefined) await rates.turn(owner);
    const devices = await tasks.devices();
    checkSize(asked.size, devices);
    await this.#file('image_id', asked.image_id, ['image']);
    const audio = await this.#file('audio_id', asked.audio_id, ['audio', 'video']);
    const seconds = await this.#seconds(audio, asked, devices, signal);

    const taskId = randomUUID();
    const { image_id, audio_id, seed = randomInt(mostSeed), ...settings } = asked;
    const request: RenderRequest = {
      ...{ image_id, audio_id, ...settings, seed },
      ...(user === undefined ? {} : { user: user.id }),
      created_at: new Date().toISOString(),
    };
    const reservation =
      user === undefined ? undefined : await quota.reserve(user, { video_seconds: seconds });
    try {
      await this.#requests.add(taskId, request);
      this.#follow(taskId, owner, reservation);
      const submitted = await tasks.submit(
        {
          ...{ taskId, sessionId: httpSession, owner, refImageId: image_id, audioId: audio_id },
          ...{ steps: asked.steps, cfg: asked.cfg, seed, size: asked.size },
          framesNum: asked.frames_num,
        },
        { signal },
      );
      return { ...submitted, seed };
    } catch (error) {
      this.#followed.get(taskId)?.unwatch();
      this.#followed.delete(taskId);
      await reservation?.release();
      await this.#requests.remove(taskId, request);
      throw error;
    }
  }

  /** Throws TASK_NOT_FOUND, also for a task of somebody else. */
  async find(taskId: string, user: User | undefined): Promise<RenderState> {
    const request = await this.#requests.find(taskId);
    const isTheirs = request?.user === undefined || request.user === user?.id;
    const state = request && isTheirs ? await this.#state(taskId, request) : undefined;
    if (state !== undefined) return state;
    throw new CodedError(
      'TASK_NOT_FOUND',
      'there is no such task, or it was forgotten since: what tasks said is kept for ' +
        `${this.#services.config.tasks.stateMs / 3_600_000} hours`,
    );
  }

  /** A user's tasks that are still known, the newest first. */
  async list(
    user: User,
    range: { page: number; pageSize: number },
  ): Promise<{ tasks: RenderState[]; total: number }> {
    const { ids, total } = await this.#requests.of(user.id, range);
    const found = ids.map(async (id) => {
      const request = await this.#requests.find(id);
      return request && (await this.#state(id, request));
    });
    return { tasks: (await Promise.all(found)).filter((task) => task !== undefined), total };
  }

  async cancel(taskId: string, user: User | undefined): Promise<Exclude<CancelOutcome, 'unknown'>> {
    await this.find(taskId, user);
    const outcome = await this.#services.tasks.cancel(taskId);
    return outcome === 'unknown' ? 'ended' : outcome;
  }

  async #state(
    taskId: string,
    { user: _, ...request }: RenderRequest,
  ): Promise<RenderState | undefined> {
    const last = await this.#services.tasks.result(taskId);
    if (last === undefined) return undefined;
    return { ...last, ...request, ...(isEnd(last) ? { finished_at: last.timestamp } : {}) };
  }

  /** An uploaded file. To HTTP the files of sessions do not exist. */
  async #file(
    role: 'image_id' | 'audio_id',
    id: string,
    types: readonly FileType[],
  ): Promise<FileRecord> {
    const { store, redis } = this.#services;
    const fileId = id.toLowerCase();
    const record = await store.find(fileId);
    if (record === undefined || (await redis.exists(keys.fileOwner(fileId))) === 1) {
      throw new CodedError(
        'TASK_FILE_NOT_FOUND',
        `${role}: there is no file ${id}, or it has expired: upload it again`,
      );
    }
    if (types.includes(record.type)) return record;
    throw new CodedError(
      'TASK_FILE_WRONG_TYPE',
      `${role}: a file of type ${types.join(' or ')} is wanted, ${id} is ${record.mime}`,
    );
  }

  /** How long the video will be, rounded up. */
  async #seconds(
    audio: FileRecord,
    { frames_num: frames }: NewRender,
    devices: readonly DeviceInfo[],
    signal: AbortSignal,
  ): Promise<number> {
    const { store, config } = this.#services;
    const options = { signal, maxSeconds: config.tasks.maxAudioSeconds };
    const seconds = await durationOf(await storedRecording(store, audio, options), options);
    const fps = Math.min(...devices.map((device) => device.fps));
    const most = frames === undefined || devices.length === 0 ? Infinity : frames / fps;
    return Math.ceil(Math.min(seconds, most));
  }

  /** Counts what the task made, once it is over: its seconds, and the room of its video. */
  #follow(taskId: string, owner: Owner | undefined, reservation: Reservation | undefined): void {
    const { tasks, store, usage, log } = this.#services;
    const release = async () => reservation?.release();
    const count = async (videoId: string | undefined) => {
      if (videoId === undefined) return release();
      await reservation?.settle({});
      const video = owner && (await store.find(videoId));
      if (owner && video) await usage.add(owner, video, { isThere: true });
    };
    const unwatch = tasks.watch(taskId, (update) => {
      if (!isEnd(update)) return;
      this.#followed.delete(taskId);
      const videoId = update.status === 'completed' ? update.video_file_id : undefined;
      count(videoId).catch((err: unknown) => log.error({ err, task: taskId }, 'not counted'));
    });
    this.#followed.set(taskId, { unwatch, release });
  }

  /** Lets go of tasks whose state is gone. */
  async #look(): Promise<void> {
    for (const [taskId, { unwatch, release }] of this.#followed) {
      try {
        if ((await this.#services.tasks.result(taskId)) !== undefined) continue;
        if (!this.#followed.delete(taskId)) continue;
        unwatch();
        await release();
      } catch (err) {
        this.#services.log.warn({ err, task: taskId }, 'a task could not be looked at');
      }
    }
  }
}

/** Devices that do not say what they can are asked themselves, by the task. */
function checkSize(size: number | undefined, devices: readonly DeviceInfo[]): void {
  if (size === undefined) return;
  const problems = devices.map((device) => sizeProblem(size, device));
  const [problem] = problems;
  if (problem !== undefined && !problems.includes(undefined)) {
    throw new CodedError('TASK_INVALID', problem);
  }
}
