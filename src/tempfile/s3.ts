import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  ListObjectsV2Command,
  NoSuchKey,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import type { S3Config } from '../config.js';
import { CodedError } from '../errors.js';
import { type ByteSource, headBytes } from '../media/content.js';
import { type ByteRange, type FileRecord, type Shelf, uuid } from './shelf.js';

export interface S3Options extends S3Config {
  /** A sweep does not look at files younger than this (ms), which cannot be over. */
  readonly sweepAfterMs: number;
  /** A line on which nothing moves for so long is given up. */
  readonly silentMs?: number;
}

/** Bytes of one part of a large file; one of them is in memory for each upload. */
const partBytes = 8 * 1024 * 1024;
/** Bytes without a record are being uploaded, or were left by a process that ended, after this. */
const unfinishedMs = 3_600_000;
const connectMs = 5000;
const defaultSilentMs = 30_000;

/**
 * A bucket. A file is an object of bytes and then `<id>/meta.json`, its record, which names the
 * first: it is there when that is. Several processes may write and sweep.
 */
export class S3Shelf implements Shelf {
  readonly #options: S3Options;
  readonly #client: S3Client;

  constructor(options: S3Options) {
    this.#options = options;
    this.#client = new S3Client({
      region: options.region,
      forcePathStyle: options.pathStyle,
      // Servers of other makes do not know the newer checksums; the record keeps one of ours.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: {
        connectionTimeout: connectMs,
        // its requestTimeout is no limit: it only warns
        socketTimeout: options.silentMs ?? defaultSilentMs,
        httpAgent: { maxSockets: 256 },
        httpsAgent: { maxSockets: 256 },
      },
      ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
      // the SDK writes into what it is given
      ...(options.credentials === undefined ? {} : { credentials: { ...options.credentials } }),
    });
  }

  async open(): Promise<void> {
    const { bucket: Bucket } = this.#options;
    await this.#ask(() => this.#client.send(new HeadBucketCommand({ Bucket })));
  }

  async put(
    id: string,
    source: AsyncIterable<Uint8Array>,
    describe: (stored: ByteSource) => Promise<FileRecord | undefined>,
  ): Promise<FileRecord | undefined> {
    const place = `${id}/${randomUUID()}.data`;
    try {
      await this.#upload(place, source);
      const record = await describe(this.#source(place));
      if (record === undefined) {
        await this.#delete(place);
        return undefined;
      }
      await this.#write(metaOf(id), JSON.stringify({ ...record, place }));
      return { ...record, place };
    } catch (error) {
      // what cannot be deleted now is found by a sweep
      await this.#delete(place).catch(() => undefined);
      throw error;
    }
  }

  async record(id: string): Promise<string | undefined> {
    return await this.#find(async () => {
      const { Body } = await this.#client.send(new GetObjectCommand(this.#object(metaOf(id))));
      return await Body?.transformToString();
    });
  }

  async read({ place }: FileRecord, range?: ByteRange): Promise<Readable | undefined> {
    if (place === undefined) return undefined;
    return await this.#find(async () => {
      const Range = range && `bytes=${range.start}-${range.end}`;
      const asked = { ...this.#object(place), ...(Range === undefined ? {} : { Range }) };
      return (await this.#client.send(new GetObjectCommand(asked))).Body as Readable;
    });
  }

  async discard(id: string): Promise<boolean> {
    const text = await this.record(id);
    if (text === undefined) return false;
    await this.#delete(metaOf(id));
    const place = /"place":"([^"]+)"/.exec(text)?.[1];
    if (place?.startsWith(`${id}/`) === true) await this.#delete(place);
    return true;
  }

  /** One request per thousand objects, and one for each file that is old enough to be over. */
  async sweep(isOver: (id: string) => Promise<boolean>): Promise<number> {
    const before = Date.now() - this.#options.sweepAfterMs;
    const known = new Set<string>();
    const over: string[] = [];
    const bytes: { id: string; place: string; at: number }[] = [];
    for await (const { name, at } of this.#list()) {
      const [id = '', part = ''] = name.split('/');
      if (!uuid.test(id)) continue;
      if (part !== 'meta.json') bytes.push({ id, place: name, at });
      else if (at > before || !(await isOver(id))) known.add(id);
      else over.push(id);
    }
    let removed = 0;
    for (const id of over) if (await this.discard(id)) removed++;
    for (const { id, place, at } of bytes) {
      if (known.has(id) || at > Date.now() - unfinishedMs) continue;
      await this.#delete(place);
      if (!over.includes(id)) removed++;
    }
    return removed;
  }

  close(): void {
    this.#client.destroy();
  }

  async #upload(name: string, source: AsyncIterable<Uint8Array>): Promise<void> {
    let broken: { readonly error: unknown } | undefined;
    async function* watched() {
      try {
        yield* source;
      } catch (error) {
        broken = { error };
        throw error;
      }
    }
    const upload = new Upload({
      client: this.#client,
      params: { ...this.#object(name), Body: Readable.from(watched(), { objectMode: false }) },
      partSize: partBytes,
      queueSize: 1,
    });
    try {
      await this.#ask(() => upload.done());
    } catch (error) {
      throw broken === undefined ? error : broken.error;
    }
  }

  async #write(name: string, text: string): Promise<void> {
    const put = new PutObjectCommand({ ...this.#object(name), Body: text });
    await this.#ask(() => this.#client.send(put));
  }

  async #delete(name: string): Promise<void> {
    await this.#ask(() => this.#client.send(new DeleteObjectCommand(this.#object(name))));
  }

  /** Bytes of an object, which are fetched in pieces that hold what is asked for next as well. */
  #source(name: string): ByteSource {
    let [start, piece] = [0, Buffer.alloc(0)];
    return {
      read: async (buffer, offset, length, position) => {
        if (position < start || position + length > start + piece.length) {
          const Range = `bytes=${position}-${position + Math.max(length, headBytes) - 1}`;
          const asked = new GetObjectCommand({ ...this.#object(name), Range });
          const { Body } = await this.#ask(() => this.#client.send(asked));
          start = position;
          piece = Buffer.from((await Body?.transformToByteArray()) ?? []);
        }
        const found = piece.subarray(position - start, position - start + length);
        buffer.set(found, offset);
        return { bytesRead: found.length };
      },
    };
  }

  async *#list(): AsyncGenerator<{ name: string; at: number }> {
    const { bucket: Bucket, prefix } = this.#options;
    const Prefix = prefix === '' ? '' : `${prefix}/`;
    for (let ContinuationToken: string | undefined; ;) {
      const asked = new ListObjectsV2Command({
        ...{ Bucket, Prefix },
        ...(ContinuationToken === undefined ? {} : { ContinuationToken }),
      });
      const page = await this.#ask(() => this.#client.send(asked));
      for (const { Key = '', LastModified } of page.Contents ?? []) {
        yield { name: Key.slice(Prefix.length), at: LastModified?.getTime() ?? Date.now() };
      }
      ContinuationToken = page.NextContinuationToken;
      if (ContinuationToken === undefined) return;
    }
  }

  #object(name: string): { Bucket: string; Key: string } {
    const { bucket, prefix } = this.#options;
    return { Bucket: bucket, Key: prefix === '' ? name : `${prefix}/${name}` };
  }

  async #find<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await this.#ask(work);
    } catch (error) {
      const cause = (error as Error).cause;
      if (cause instanceof NoSuchKey) return undefined;
      throw error;
    }
  }

  /** Says in our codes what went wrong; what the service answers may hold names, not secrets. */
  async #ask<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof CodedError) throw error;
      const { bucket, endpoint } = this.#options;
      const where = `the bucket ${bucket}${endpoint === undefined ? '' : ` at ${endpoint}`}`;
      const answered = error instanceof S3ServiceException ? error : undefined;
      const isFull =
        answered?.$metadata.httpStatusCode === 507 ||
        /Quota|StorageFull|InsufficientStorage/.test(answered?.name ?? '');
      if (isFull) {
        throw new CodedError('STORAGE_FULL', `${where} is full`, { cause: error });
      }
      throw new CodedError(
        'STORAGE_UNAVAILABLE',
        `${where} cannot be used now (${(error as Error).name}): try again later`,
        { cause: error },
      );
    }
  }
}

function metaOf(id: string): string {
  return `${id}/meta.json`;
}
