import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { CodedError } from '../../errors.js';
import { type Owner, userOf } from '../../limit/rates.js';
import type { FileType } from '../../media/content.js';
import { uuid } from '../../tempfile/shelf.js';
import { type FileRecord, mayUse } from '../../tempfile/store.js';
import type { SessionServices } from '../services.js';

/** Where it is written down who owns what. */
export interface Ownership {
  readonly services: Pick<SessionServices, 'config' | 'log' | 'store' | 'usage'>;
  claim(sessionId: string, fileId: string): Promise<boolean>;
  disown(sessionId: string, fileIds: readonly string[]): Promise<void>;
  addTask(sessionId: string, taskId: string): Promise<void>;
  forgetTask(sessionId: string, taskId: string): Promise<void>;
  withdraw(sessionId: string, taskId: string): Promise<void>;
  forget(sessionId: string, isClean: boolean): Promise<void>;
}

const removeAttempts = 3;
const removePauseMs = 200;

/**
 * The temp files and tasks of one session. A file belongs to the first session that names it: to
 * every other one it does not exist.
 */
export class OwnedFiles {
  /** For whom what the session stores is counted. */
  owner: Owner | undefined;
  readonly #sessionId: string;
  readonly #registry: Ownership;
  readonly #ids = new Set<string>();
  readonly #tasks = new Set<string>();
  readonly #pending = new Set<Promise<void>>();
  #isClosed = false;

  constructor(sessionId: string, registry: Ownership) {
    this.#sessionId = sessionId;
    this.#registry = registry;
  }

  url(fileId: string): string {
    return `${this.#registry.services.config.clientUrl}/api/tempfile/download/${fileId}`;
  }

  /** Makes an uploaded file this session's; throws FILE_NOT_FOUND or FILE_TYPE_UNSUPPORTED. */
  async use(fileId: string, types: readonly FileType[]): Promise<FileRecord> {
    const known = this.#ids.has(fileId);
    if (uuid.test(fileId) && (known || (await this.#claim(fileId)))) {
      const found = await this.#registry.services.store.find(fileId);
      const record = found && mayUse(found, userOf(this.owner)) ? found : undefined;
      if (record !== undefined && types.includes(record.type)) return record;
      if (!known) await this.#disown([fileId]);
      if (record !== undefined) {
        throw new CodedError(
          'FILE_TYPE_UNSUPPORTED',
          `the file ${fileId} is ${record.mime}; ${types.join(' or ')} was expected`,
        );
      }
    }
    throw new CodedError(
      'FILE_NOT_FOUND',
      `there is no file ${fileId.slice(0, 64)} that this session may use; upload one and name its file_id`,
    );
  }

  /** Stores a file of the session's own; it is deleted with the session. */
  async save(data: Uint8Array, name: string, id = randomUUID() as string): Promise<FileRecord> {
    if (this.#isClosed) throw new CodedError('SESSION_NOT_CONNECTED', 'the session ended');
    const { usage, config } = this.#registry.services;
    if (this.owner !== undefined) {
      const expiresAt = Date.now() + config.tempFiles.expiryMs;
      await usage.add(this.owner, { id, bytes: data.length, expiresAt });
    }
    const options = { id, user: userOf(this.owner), isDurable: false };
    const [record] = await Promise.all([
      this.#track(this.#registry.services.store.save(once(data), name, options)),
      this.#claim(id),
    ]);
    return record;
  }

  /** Deletes some of the session's files; what cannot be deleted now is tried again at its end. */
  async remove(ids: readonly string[]): Promise<void> {
    const own = ids.filter((id) => this.#ids.has(id));
    const gone = await this.#removeAll(own);
    await this.#disown(gone);
  }

  /** Remembers a task, so that it is withdrawn even when this process dies. */
  async addTask(taskId: string): Promise<void> {
    if (this.#isClosed) throw new CodedError('SESSION_NOT_CONNECTED', 'the session ended');
    this.#tasks.add(taskId);
    await this.#registry.addTask(this.#sessionId, taskId);
  }

  /** For a task that is over and left no video. */
  async forgetTask(taskId: string): Promise<void> {
    this.#tasks.delete(taskId);
    await this.#registry.forgetTask(this.#sessionId, taskId);
  }

  /** For a task that is over: its video is the session's from now on. */
  async keepVideo(taskId: string, videoId: string): Promise<void> {
    if (this.#isClosed) return this.withdraw(taskId);
    if (!uuid.test(videoId) || !(await this.#claim(videoId))) {
      throw new CodedError('FILE_NOT_FOUND', `the video ${videoId} of task ${taskId} is not there`);
    }
    const { store, usage } = this.#registry.services;
    const video = this.owner && (await store.find(videoId));
    if (this.owner && video) await usage.add(this.owner, video, { isThere: true });
    await this.forgetTask(taskId);
  }

  /** Cancels a task in the background; a video it makes all the same is deleted when it appears. */
  withdraw(taskId: string): void {
    this.#tasks.delete(taskId);
    void this.#registry.withdraw(this.#sessionId, taskId);
  }

  /** Takes over what the session owned in a process that is gone. */
  adopt(ids: readonly string[], tasks: readonly string[]): void {
    for (const id of ids) this.#ids.add(id);
    for (const id of tasks) this.#tasks.add(id);
  }

  /** Deletes everything. What cannot be deleted is logged, and tried again by the registry. */
  async clear(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#pending);
    for (const taskId of this.#tasks) this.withdraw(taskId);
    const gone = await this.#removeAll([...this.#ids]);
    await this.#disown(gone);
    await this.#registry.forget(this.#sessionId, this.#ids.size === 0);
  }

  /** Lets go of files without deleting them, for a session that never came to be. */
  async letGo(): Promise<void> {
    this.#isClosed = true;
    await this.#disown([...this.#ids]);
    await this.#registry.forget(this.#sessionId, true);
  }

  #claim(fileId: string): Promise<boolean> {
    if (this.#isClosed) throw new CodedError('SESSION_NOT_CONNECTED', 'the session ended');
    return this.#track(
      this.#registry.claim(this.#sessionId, fileId).then((isOurs) => {
        if (isOurs) this.#ids.add(fileId);
        return isOurs;
      }),
    );
  }

  /** The end of the session waits for what is under way. */
  #track<T>(work: Promise<T>): Promise<T> {
    const settled = work.then(
      () => undefined,
      () => undefined,
    );
    this.#pending.add(settled);
    void settled.then(() => this.#pending.delete(settled));
    return work;
  }

  async #disown(ids: readonly string[]): Promise<void> {
    for (const id of ids) this.#ids.delete(id);
    await this.#registry.disown(this.#sessionId, ids);
  }

  async #removeAll(ids: readonly string[]): Promise<string[]> {
    const { store, usage, log } = this.#registry.services;
    const gone: string[] = [];
    let left = ids;
    for (let attempt = 1; left.length > 0; attempt++) {
      const failed: string[] = [];
      for (const id of left) {
        try {
          await store.remove(id);
          gone.push(id);
        } catch (error) {
          log.warn({ err: error, file: id, session: this.#sessionId, attempt }, 'not deleted');
          failed.push(id);
        }
      }
      left = failed;
      if (attempt >= removeAttempts) break;
      if (left.length > 0) await sleep(removePauseMs * attempt, undefined, { ref: false });
    }
    await usage.remove(gone);
    if (left.length > 0) {
      log.error({ files: left, session: this.#sessionId }, 'files were not deleted; trying later');
    }
    return gone;
  }
}

async function* once(data: Uint8Array): AsyncGenerator<Uint8Array> {
  yield data;
}
