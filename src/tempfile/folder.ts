import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
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
import type { Readable } from 'node:stream';
import { isAlive } from '../alive.js';
import { CodedError } from '../errors.js';
import type { ByteSource } from '../media/content.js';
import { type ByteRange, type FileRecord, type PutOptions, type Shelf, uuid } from './shelf.js';

const partName = /\.([A-Za-z0-9-]+)\.(\d+)\.part$/;
/** Another process may still be writing its unfinished folder: it is left alone for this long. */
const foreignPartMs = 3_600_000;

/**
 * A folder of this machine, or one that several machines share. Each file is a folder `<id>/`
 * holding `data` and `meta.json`; it is written under another name and appears by one rename.
 */
export class FolderShelf implements Shelf {
  readonly folder: string;
  readonly #hostName: string;
  readonly #active = new Set<string>();

  constructor(folder: string, hostName: string) {
    this.folder = folder;
    this.#hostName = hostName;
  }

  async open(): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
  }

  async put(
    id: string,
    source: AsyncIterable<Uint8Array>,
    describe: (stored: ByteSource) => Promise<FileRecord | undefined>,
    { isDurable }: PutOptions,
  ): Promise<FileRecord | undefined> {
    const part = this.#partPath(id);
    this.#active.add(part);
    try {
      await mkdir(part, { mode: 0o700 });
      const file = await open(join(part, 'data'), 'wx+', 0o600);
      try {
        for await (const chunk of source) await writeAll(file, chunk);
        if (isDurable) await file.datasync();
        for (;;) {
          const record = await describe(file);
          if (record === undefined) {
            await rm(part, { recursive: true, force: true });
            return undefined;
          }
          await writeMeta(join(part, 'meta.json'), JSON.stringify(record), isDurable);
          if (await appeared(part, join(this.folder, id))) return record;
        }
      } finally {
        await file.close();
      }
    } catch (error) {
      await rm(part, { recursive: true, force: true });
      throw (error as NodeJS.ErrnoException).code === 'ENOSPC'
        ? new CodedError('STORAGE_FULL', 'the disk of the temp files is full', { cause: error })
        : error;
    } finally {
      this.#active.delete(part);
    }
  }

  async record(id: string): Promise<string | undefined> {
    return await readFile(join(this.folder, id, 'meta.json'), 'utf8').catch(() => undefined);
  }

  async read({ id }: FileRecord, range?: ByteRange): Promise<Readable | undefined> {
    const stream = createReadStream(join(this.folder, id, 'data'), range);
    try {
      await once(stream, 'open');
      return stream;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async discard(id: string): Promise<boolean> {
    const part = this.#partPath(id);
    this.#active.add(part);
    try {
      await rename(join(this.folder, id), part);
      await rm(part, { recursive: true, force: true });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    } finally {
      this.#active.delete(part);
    }
  }

  async sweep(isOver: (id: string) => Promise<boolean>): Promise<number> {
    let removed = 0;
    for (const entry of await readdir(this.folder)) {
      if (uuid.test(entry)) {
        if ((await isOver(entry)) && (await this.discard(entry))) removed++;
      } else if (await this.#isAbandoned(entry)) {
        await rm(join(this.folder, entry), { recursive: true, force: true });
        removed++;
      }
    }
    return removed;
  }

  close(): void {}

  async #isAbandoned(entry: string): Promise<boolean> {
    const owner = partName.exec(entry);
    const path = join(this.folder, entry);
    if (owner === null || this.#active.has(path)) return false;
    const pid = Number(owner[2]);
    if (owner[1] === this.#hostName && (pid === process.pid || !isAlive(pid))) return true;
    const info = await stat(path).catch(() => undefined);
    return info !== undefined && Date.now() - info.mtimeMs > foreignPartMs;
  }

  #partPath(id: string): string {
    return join(this.folder, `${id}-${randomUUID()}.${this.#hostName}.${process.pid}.part`);
  }
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  let done = 0;
  while (done < chunk.length) {
    done += (await file.write(chunk, done, chunk.length - done)).bytesWritten;
  }
}

/** Gives a finished part its name; false when something has it. */
async function appeared(part: string, path: string): Promise<boolean> {
  try {
    await rename(part, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOTEMPTY' || code === 'EEXIST') return false;
    throw error;
  }
}

async function writeMeta(path: string, text: string, isDurable: boolean): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(text);
    if (isDurable) await file.datasync();
  } finally {
    await file.close();
  }
}
