import { createHash, randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { CodedError } from '../errors.js';
import { readJson } from '../json.js';
import {
  type ByteSource,
  type Content,
  type FileType,
  contentOf,
  headBytes,
  isIsoMedia,
  refineContent,
} from '../media/content.js';
import { type ByteRange, type FileRecord, type Shelf, fileRecord, uuid } from './shelf.js';

export type { FileRecord } from './shelf.js';

export interface StoreOptions {
  readonly expiryMs: number;
  readonly maxBytes: Readonly<Record<FileType, number>>;
  readonly now?: () => number;
}

export interface SaveOptions {
  /** A UUID that no other file has; chosen here by default. */
  readonly id?: string;
  /** The account whose file it is. */
  readonly user?: string | undefined;
  /** Whether the file survives a crash of the machine; faster when it need not. */
  readonly isDurable?: boolean;
}

/** Files under unguessable ids, judged by their content, for a limited time. */
export class TempFileStore {
  readonly #shelf: Shelf;
  readonly #options: StoreOptions;
  readonly #now: () => number;

  constructor(shelf: Shelf, options: StoreOptions) {
    this.#shelf = shelf;
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  get maxUploadBytes(): number {
    return Math.max(...Object.values(this.#options.maxBytes));
  }

  /** Throws STORAGE_UNAVAILABLE when the place of the files cannot be used. */
  open(): Promise<void> {
    return this.#shelf.open();
  }

  close(): void {
    this.#shelf.close();
  }

  /**
   * Stores a stream; refuses with a code, leaving nothing behind. The same content of the same
   * account under the same `id` again is the same file; anything else there is FILE_EXISTS.
   */
  async save(
    source: AsyncIterable<Uint8Array>,
    originalName: string,
    options: SaveOptions = {},
  ): Promise<FileRecord> {
    const { id = randomUUID(), user, isDurable = true } = options;
    const judge = new Judge(this.#options.maxBytes);
    let same: FileRecord | undefined;
    const describe = async (stored: ByteSource): Promise<FileRecord | undefined> => {
      const found = await judge.verdict(stored);
      if (options.id !== undefined) {
        same = await this.#makeWay(id, found.sha256, user);
        if (same !== undefined) return undefined;
      }
      const now = this.#now();
      return {
        id,
        ...found,
        originalName: cleanName(originalName, found.extension),
        ...(user === undefined ? {} : { user }),
        createdAt: now,
        expiresAt: now + this.#options.expiryMs,
      };
    };
    const record = await this.#shelf.put(id, judge.pass(source), describe, { isDurable });
    return record ?? (same as FileRecord);
  }

  /** The file of an id that its sender chose, if it is there already; an expired one goes. */
  async #makeWay(
    id: string,
    sha256: string,
    user: string | undefined,
  ): Promise<FileRecord | undefined> {
    const other = await this.find(id);
    if (other !== undefined && (other.sha256 !== sha256 || other.user !== user)) {
      throw new CodedError('FILE_EXISTS', `there is another file ${id}: choose another id`);
    }
    if (other === undefined) await this.#shelf.discard(id);
    return other;
  }

  /** The record of a live file; undefined when the id is malformed, unknown or expired. */
  async find(id: string): Promise<FileRecord | undefined> {
    if (!uuid.test(id)) return undefined;
    const record = readRecord(id, await this.#shelf.record(id));
    return record !== undefined && record.expiresAt > this.#now() ? record : undefined;
  }

  /** The bytes of a file, or some of them; throws FILE_NOT_FOUND. */
  async read(record: FileRecord, range?: ByteRange): Promise<Readable> {
    const stream = await this.#shelf.read(record, range);
    if (stream === undefined) throw notFound();
    return stream;
  }

  /** Removes a file; false when there was none. A download in progress keeps its bytes. */
  async remove(id: string): Promise<boolean> {
    if (!uuid.test(id)) return false;
    const live = await this.find(id);
    return (await this.#shelf.discard(id)) && live !== undefined;
  }

  async removeMany(ids: readonly string[]): Promise<number> {
    let count = 0;
    for (const id of new Set(ids)) if (await this.remove(id)) count++;
    return count;
  }

  /** Removes expired files, unreadable ones, and what a killed process left unfinished. */
  async sweep(): Promise<number> {
    return await this.#shelf.sweep(async (id) => (await this.find(id)) === undefined);
  }
}

/** Looks at a stream as it passes: its size, its hash, and what it is. */
class Judge {
  readonly #maxBytes: StoreOptions['maxBytes'];
  readonly #hash = createHash('sha256');
  #bytes = 0;
  #content: Content | undefined;
  #sha256: string | undefined;

  constructor(maxBytes: StoreOptions['maxBytes']) {
    this.#maxBytes = maxBytes;
  }

  /** The stream itself, which fails with a code when it is none that is taken. */
  async *pass(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const head: Uint8Array[] = [];
    const look = async () => {
      this.#content = await contentOf(Buffer.concat(head).subarray(0, headBytes));
      if (this.#content === undefined) throw unsupported();
    };
    for await (const chunk of source) {
      if (chunk.length === 0) continue;
      if (this.#bytes < headBytes) head.push(chunk);
      this.#bytes += chunk.length;
      if (this.#content === undefined && this.#bytes >= headBytes) await look();
      this.#checkSize(this.#content);
      this.#hash.update(chunk);
      yield chunk;
    }
    if (this.#bytes === 0) throw new CodedError('FILE_EMPTY', 'the uploaded file is empty');
    if (this.#content === undefined) await look();
  }

  async verdict(stored: ByteSource): Promise<Content & { bytes: number; sha256: string }> {
    const refined = await refineContent(this.#content as Content, stored, this.#bytes);
    this.#checkSize(refined, true);
    this.#sha256 ??= this.#hash.digest('hex');
    return { ...refined, bytes: this.#bytes, sha256: this.#sha256 };
  }

  /** Until its tracks are read, an MP4 of sound only looks like a film: the larger limit holds. */
  #checkSize(content: Content | undefined, final = false): void {
    const limits = this.#maxBytes;
    const limit =
      content === undefined
        ? Math.max(...Object.values(limits))
        : !final && isIsoMedia(content)
          ? Math.max(limits.audio, limits.video)
          : limits[content.type];
    if (this.#bytes > limit) throw tooLarge(content?.type, limit);
  }
}

function readRecord(id: string, text: string | undefined): FileRecord | undefined {
  const record = readJson(fileRecord, text);
  return record?.id === id ? record : undefined;
}

/** Whether an account, or nobody in particular, may name the file. */
export function mayUse({ user }: FileRecord, id: string | undefined): boolean {
  return user === undefined || user === id;
}

export function notFound(): CodedError {
  return new CodedError('FILE_NOT_FOUND', 'there is no such file, or it has expired');
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

/**
 * The last part of the client's name without control characters; never used as a path. Browsers
 * escape a quotation mark in a form's file name, and only that and line ends.
 */
function cleanName(name: string, extension: string): string {
  const last = name.replaceAll('%22', '"').split(/[/\\]/).pop() ?? '';

  const clean = last.replace(/[\u0000-\u001f\u007f\ufffe\uffff]/g, '').trim();
  return clean === '' ? `file.${extension}` : [...clean].slice(0, 200).join('');
}
