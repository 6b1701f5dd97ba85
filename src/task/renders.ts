import { randomInt, randomUUID } from 'node:crypto';
import type { Quota } from '../account/quota.js';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import type { Owner, Rates } from '../limit/rates.js';
import type { Log } from '../log.js';
import type { FileType } from '../media/content.js';
import { durationOf } from '../media/recording.js';
import type { CancelOutcome } from '../queue/cancel.js';
import { keys } from '../queue/keys.js';
import { type Redis, inTime } from '../queue/redis.js';
import { Repeated } from '../repeated.js';
import type { User } from '../store/schema.js';
import { storedRecording } from '../tempfile/recording.js';
import { type FileRecord, type TempFileStore, mayUse } from '../tempfile/store.js';
import type { StorageUse } from '../tempfile/usage.js';
import { type DeviceInfo, sizeProblem } from '../queue/device.js';
import type { NewRender, RenderState } from './http-schema.js';
import { type RenderRequest, RenderRequests } from './requests.js';
import type { Submitted, Tasks } from './tasks.js';
import { isEnd } from '../queue/update.js';

/** The `session_id` of every task of HTTP: sessions have UUIDs. */
const httpSession = 'http';
const lookMs = 2_000;
const partingMs = 500;
/** Of a task that is not known by then nothing will be. */
const submitMs = 3_600_000;
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

/** The tasks of HTTP: who may have what rendered, and who may know of it. */
export class Renders {
  readonly #services: RenderServices;
  readonly #requests: RenderRequests;
  readonly #looks: Repeated;

  constructor(services: RenderServices) {
    this.#services = services;
    this.#requests = new RenderRequests(services.redis, services.config);
    this.#looks = new Repeated(
      lookMs,
      () => this.#look(),
      (err) => this.#notCounted(err),
    );
  }

  start(): void {
    this.#looks.start();
  }

  /** What is not over by now goes on, and is counted by another process or the next one. */
  stop(): Promise<void> {
    return this.#looks.stop(partingMs);
  }

  /**
   * Checks the files and queues the task. Throws TASK_INVALID, TASK_FILE_NOT_FOUND,
   * TASK_FILE_WRONG_TYPE, what is wrong with the recording, RATE_LIMITED, QUOTA_EXCEEDED, and
   * whatever `Tasks.submit` does.
   */
  async create(
    visitor: Visitor,
    asked: NewRender,
    signal: AbortSignal,
  ): Promise<Submitted & { readonly seed: number }> {
    const { user, owner } = visitor;
    const { rates, quota, tasks } = this.#services;
    if (owner !== undefined) await rates.turn(owner);
    const devices = await tasks.devices();
    checkSize(asked.size, devices);
    await this.#file('image_id', asked.image_id, ['image'], visitor);
    const audio = await this.#file('audio_id', asked.audio_id, ['audio', 'video'], visitor);
    const seconds = await this.#seconds(audio, asked, devices, signal);

    const taskId = randomUUID();
    const { image_id, audio_id, seed = randomInt(mostSeed), ...settings } = asked;
    const request: RenderRequest = {
      ...{ image_id, audio_id, ...settings, seed },
      ...(user === undefined ? {} : { user: user.id }),
      ...(owner === undefined ? {} : { owner }),
      created_at: new Date().toISOString(),
    };
    try {
      // Listed first, so that whatever happens next somebody looks after what is set aside.
      await this.#requests.add(taskId, request);
      if (user !== undefined) {
        const { keptMs } = this.#requests;
        await quota.reserveForTask(user, { video_seconds: seconds }, { id: taskId, keptMs });
      }
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
      await quota.closeTask(taskId, false);
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
    { user: _, owner: __, ...request }: RenderRequest,
  ): Promise<RenderState | undefined> {
    const last = await this.#services.tasks.result(taskId);
    if (last === undefined) return undefined;
    return { ...last, ...request, ...(isEnd(last) ? { finished_at: last.timestamp } : {}) };
  }

  /** An uploaded file. To HTTP those of sessions, and of other accounts, do not exist. */
  async #file(
    role: 'image_id' | 'audio_id',
    id: string,
    types: readonly FileType[],
    { user, owner }: Visitor,
  ): Promise<FileRecord> {
    const { store, redis } = this.#services;
    const fileId = id.toLowerCase();
    const record = await store.find(fileId);
    const isTheirs = record && (owner === undefined || mayUse(record, user?.id));
    if (isTheirs !== true || (await inTime(redis.exists(keys.fileOwner(fileId)))) === 1) {
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

  /** Counts what is over by now, whichever process it came to. */
  async #look(): Promise<void> {
    for (const [taskId, askedAt] of await this.#requests.uncounted()) {
      // One that cannot be counted must not keep the others from it.
      await this.#count(taskId, askedAt).catch((err: unknown) => this.#notCounted(err, taskId));
    }
  }

  #notCounted(err: unknown, task?: string): void {
    this.#services.log.warn({ err, task }, 'not counted; trying again');
  }

  /** Counts what a task made, if it is over: its seconds, and the room of its video. */
  async #count(taskId: string, askedAt: number): Promise<void> {
    const { tasks, quota, store, usage } = this.#services;
    const last = await tasks.result(taskId);
    const isOver = last === undefined ? Date.now() - askedAt > submitMs : isEnd(last);
    if (!isOver) return;
    const videoId = last?.status === 'completed' ? last.video_file_id : undefined;
    await quota.closeTask(taskId, videoId !== undefined);
    if (videoId !== undefined) {
      const owner = (await this.#requests.find(taskId))?.owner;
      const video = owner && (await store.find(videoId));
      if (owner && video) await usage.add(owner as Owner, video, { isThere: true });
    }
    await this.#requests.counted(taskId);
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
