import { createHash, randomUUID } from 'node:crypto';
import {
  type FileHandle,
  mkdir,
  open,
  readFile,
  readdir,
  rename,
  rm,
  stat,
} from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { isAlive } from '../alive.js';
import { CodedError } from '../errors.js';
import {
  type Content,
  type FileType,
  contentOf,
  headBytes,
  isIsoMedia,
  refineContent,
} from '../media/content.js';

const fileRecord = Type.Object({
  id: Type.String(),
  type: Type.Enum(['image', 'audio', 'video']),
  mime: Type.String(),
  extension: Type.String(),
  originalName: Type.String(),
  bytes: Type.Integer({ minimum: 1 }),
  sha256: Type.String(),
  createdAt: Type.Integer(),
  expiresAt: Type.Integer(),
});
export type FileRecord = Static<typeof fileRecord>;

export interface StoreOptions {
  readonly folder: string;
  readonly expiryMs: number;
  readonly maxBytes: Readonly<Record<FileType, number>>;
  readonly hostName: string;
  readonly now?: () => number;
}

export interface SaveOptions {
  /** A UUID that no other file has; chosen here by default. */
  readonly id?: string;
  /** Whether the file survives a crash of the machine; faster when it need not. */
  readonly isDurable?: boolean;
}

export const fileIdPattern = '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
const uuid = new RegExp(fileIdPattern);
const partName = /\.([A-Za-z0-9-]+)\.(\d+)\.part$/;
/** Another process may still be writing its unfinished folder: it is left alone for this long. */
const foreignPartMs = 3_600_000;

/**
 * Files under unguessable ids. Each is a folder `<id>/` holding `data` and `meta.json`; it is
 * written under another name and appears by one rename, so it is there completely or not at all.
 */
export class TempFileStore {
  readonly #options: StoreOptions;
  readonly #now: () => number;
  readonly #active = new Set<string>();

  constructor(options: StoreOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  get maxUploadBytes(): number {
    return Math.max(...Object.values(this.#options.maxBytes));
  }

  async open(): Promise<void> {
    await mkdir(this.#options.folder, { recursive: true, mode: 0o700 });
  }

  /**
   * Stores a stream; refuses with a code, leaving nothing behind. The same content under the same
   * `id` again is the same file; other content is FILE_EXISTS.
   */
  async save(
    source: AsyncIterable<Uint8Array>,
    originalName: string,
    { id = randomUUID(), isDurable = true }: SaveOptions = {},
  ): Promise<FileRecord> {
    const part = this.#partPath(`${id}-${randomUUID()}`);
    this.#active.add(part);
    try {
      await mkdir(part, { mode: 0o700 });
      const file = await open(join(part, 'data'), 'wx+', 0o600);
      let received: Received;
      try {
        received = await this.#receive(source, file);
        if (isDurable) await file.datasync();
      } finally {
        await file.close();
      }
      const now = this.#now();
      const record: FileRecord = {
        id,
        ...received,
        originalName: cleanName(originalName, received.extension),
        createdAt: now,
        expiresAt: now + this.#options.expiryMs,
      };
      await writeMeta(join(part, 'meta.json'), JSON.stringify(record), isDurable);
      return await this.#appear(part, record);
    } catch (error) {
      await rm(part, { recursive: true, force: true });
      throw (error as NodeJS.ErrnoException).code === 'ENOSPC'
        ? new CodedError('STORAGE_FULL', 'the disk of the temp files is full', { cause: error })
        : error;
    } finally {
      this.#active.delete(part);
    }
  }

  /** Gives a finished part its name, unless a file is there already. */
  async #appear(part: string, record: FileRecord): Promise<FileRecord> {
    const { id } = record;
    for (;;) {
      try {
        await rename(part, join(this.#options.folder, id));
        return record;
      } catch (error) {
        if (!isTaken(error)) throw error;
      }
      const other = await this.find(id);
      if (other === undefined) {
        await this.#discard(id);
        continue;
      }
      if (other.sha256 !== record.sha256) {
        throw new CodedError('FILE_EXISTS', `there is another file ${id}: choose another id`);
      }
      await rm(part, { recursive: true, force: true });
      return other;
    }
  }

  async #receive(source: AsyncIterable<Uint8Array>, file: FileHandle): Promise<Received> {
    const hash = createHash('sha256');
    const head: Uint8Array[] = [];
    let bytes = 0;
    let content: Content | undefined;
    const judge = async () => {
      content = await contentOf(Buffer.concat(head).subarray(0, headBytes));
      if (content === undefined) throw unsupported();
    };
    for await (const chunk of source) {
      if (chunk.length === 0) continue;
      if (bytes < headBytes) head.push(chunk);
      bytes += chunk.length;
      if (content === undefined && bytes >= headBytes) await judge();
      this.#checkSize(content, bytes);
      hash.update(chunk);
      await writeAll(file, chunk);
    }
    if (bytes === 0) throw new CodedError('FILE_EMPTY', 'the uploaded file is empty');
    if (content === undefined) await judge();
    const refined = await refineContent(content as unknown as Content, file, bytes);
    this.#checkSize(refined, bytes, true);
    return { ...refined, bytes, sha256: hash.digest('hex') };
  }

  /** Until its tracks are read, an MP4 of sound only looks like a film: the larger limit holds. */
  #checkSize(content: Content | undefined, bytes: number, final = false): void {
    const { maxBytes } = this.#options;
    const limit =
      content === undefined
        ? this.maxUploadBytes
        : !final && isIsoMedia(content)
          ? Math.max(maxBytes.audio, maxBytes.video)
          : maxBytes[content.type];
    if (bytes > limit) throw tooLarge(content?.type, limit);
  }

  /** The record of a live file; undefined when the id is malformed, unknown or expired. */
  async find(id: string): Promise<FileRecord | undefined> {
    if (!uuid.test(id)) return undefined;
    const record = await this.#read(id);
    return record !== undefined && record.expiresAt > this.#now() ? record : undefined;
  }

  /** Where the bytes of a record lie, relative to the store's folder. */
  relativeDataPath(record: FileRecord): string {
    return `/${record.id}/data`;
  }

  get folder(): string {
    return this.#options.folder;
  }

  /** Removes a file; false when there was none. A download in progress keeps its bytes. */
  async remove(id: string): Promise<boolean> {
    const live = await this.find(id);
    return (await this.#discard(id)) && live !== undefined;
  }

  async removeMany(ids: readonly string[]): Promise<number> {
    let count = 0;
    for (const id of new Set(ids)) if (await this.remove(id)) count++;
    return count;
  }

  /** Removes expired files, unreadable ones, and what a killed process left unfinished. */
  async sweep(): Promise<number> {
    let removed = 0;
    for (const entry of await readdir(this.#options.folder)) {
      if (uuid.test(entry)) {
        if ((await this.find(entry)) === undefined && (await this.#discard(entry))) removed++;
      } else if (await this.#isAbandoned(entry)) {
        await rm(join(this.#options.folder, entry), { recursive: true, force: true });
        removed++;
      }
    }
    return removed;
  }

  async #isAbandoned(entry: string): Promise<boolean> {
    const owner = partName.exec(entry);
    const path = join(this.#options.folder, entry);
    if (owner === null || this.#active.has(path)) return false;
    const pid = Number(owner[2]);
    if (owner[1] === this.#options.hostName && (pid === process.pid || !isAlive(pid))) return true;
    const info = await stat(path).catch(() => undefined);
    return info !== undefined && Date.now() - info.mtimeMs > foreignPartMs;
  }

  async #discard(id: string): Promise<boolean> {
    if (!uuid.test(id)) return false;
    const part = this.#partPath(`${id}-${randomUUID()}`);
    this.#active.add(part);
    try {
      await rename(join(this.#options.folder, id), part);
      await rm(part, { recursive: true, force: true });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    } finally {
      this.#active.delete(part);
    }
  }

  async #read(id: string): Promise<FileRecord | undefined> {
    try {
      const text = await readFile(join(this.#options.folder, id, 'meta.json'), 'utf8');
      const value: unknown = JSON.parse(text);
      return Value.Check(fileRecord, value) && value.id === id ? value : undefined;
    } catch {
      return undefined;
    }
  }

  #partPath(id: string): string {
    return join(this.#options.folder, `${id}.${this.#options.hostName}.${process.pid}.part`);
  }
}

interface Received extends Content {
  readonly bytes: number;
  readonly sha256: string;
}

function isTaken(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOTEMPTY' || code === 'EEXIST';
}

function unsupported(): CodedError {
  return new CodedError(
    'FILE_TYPE_UNSUPPORTED',
    'the content is not one of png jpg gif webp, mp3 wav ogg opus aac m4a flac, ' +
      'mp4 avi mov wmv flv mpeg m4v webm mkv',
  );
}

export function tooLarge(type: FileType | undefined, limit: number): CodedError {
  return new CodedError(
    'FILE_TOO_LARGE',
    `the ${type ?? 'file'} is larger than the ${Math.floor(limit / 1024 / 1024)} MiB allowed`,
  );
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  let done = 0;
  while (done < chunk.length) {
    done += (await file.write(chunk, done, chunk.length - done)).bytesWritten;
  }
}

async function writeMeta(path: string, text: string, isDurable: boolean): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    if (isDurable) await file.datasync();
  } finally {
    await file.close();
  }
}

/**
 * The last part of the client's name without control characters; never used as a path. Browsers
 * escape a quotation mark in a form's file name, and only that and line ends.
 */
function cleanName(name: string, extension: string): string {
  const last = name.replaceAll('%22', '"').split(/[/\\]/).pop() ?? '';

  const clean = last.replace(/[\u0000-\u001f\u007f\ufffe\uffff]/g, '').trim();
  return clean === '' ? `file.${extension}` : [...clean].slice(0, 200).join('');
}
