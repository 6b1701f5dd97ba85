import type { Readable } from 'node:stream';
import { type Static, Type } from 'typebox';
import type { ByteSource } from '../media/content.js';
import { fileIdPattern } from './http-schema.js';

export const fileRecord = Type.Object({
  id: Type.String(),
  type: Type.Enum(['image', 'audio', 'video']),
  mime: Type.String(),
  extension: Type.String(),
  originalName: Type.String(),
  /** The account that alone may use it; without one, whoever may use files. */
  user: Type.Optional(Type.String()),
  bytes: Type.Integer({ minimum: 1 }),
  sha256: Type.String(),
  createdAt: Type.Integer(),
  expiresAt: Type.Integer(),
  /** Where its bytes lie, on shelves that have to be told. */
  place: Type.Optional(Type.String()),
});
export type FileRecord = Static<typeof fileRecord>;

export const uuid = new RegExp(fileIdPattern);

/** First and last byte, both included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export interface PutOptions {
  /** Whether the file survives a crash of the machine. */
  readonly isDurable: boolean;
}

/**
 * Where files lie. A file is there completely, with its record, or not at all. Every method throws
 * STORAGE_FULL or STORAGE_UNAVAILABLE when the place fails.
 */
export interface Shelf {
  open(): Promise<void>;
  /**
   * Stores what `source` yields. `describe` looks at what was stored, just before it appears; when
   * it answers undefined, or anything throws, nothing is left of it. It is asked again when the id
   * was taken meanwhile.
   */
  put(
    id: string,
    source: AsyncIterable<Uint8Array>,
    describe: (stored: ByteSource) => Promise<FileRecord | undefined>,
    options: PutOptions,
  ): Promise<FileRecord | undefined>;
  /** The text of a record; undefined when there is none. */
  record(id: string): Promise<string | undefined>;
  /** The bytes of a file, or some of them; undefined when there is none. */
  read(record: FileRecord, range?: ByteRange): Promise<Readable | undefined>;
  /** False when there was none. A read in progress keeps its bytes. */
  discard(id: string): Promise<boolean>;
  /** Discards the files that `isOver`, and what was left unfinished; the number of both. */
  sweep(isOver: (id: string) => Promise<boolean>): Promise<number>;
  close(): void;
}
