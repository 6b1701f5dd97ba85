import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { elementCount, floatToHalf } from '../checkpoint/index.js';
import type { Weight } from './weight.js';

export interface Place {
  readonly offset: number;
  readonly length: number;
}

export interface WrittenFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface WriteOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called after every piece with the number of bytes written. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

interface Entry extends Place {
  readonly weight: Weight;
  readonly type: 'float32' | 'float16';
}

// Large tensors start on a page, so that a runtime may map them instead of reading them.
const pageBytes = 4096;
const pageFrom = 65536;
const lineBytes = 64;
const pieceBytes = 8 << 20;

/**
 * The external data of one or more graphs. Tensors get their place when a graph first names them
 * and are read and written one at a time; a tensor that several graphs name is stored once.
 */
export class DataFile {
  readonly #entries = new Map<string, Entry>();
  #end = 0;

  /** `path` is relative to the folder of the graphs. */
  constructor(readonly path: string) {}

  get bytes(): number {
    return this.#end;
  }

  place(name: string, weight: Weight, type: 'float32' | 'float16'): Place {
    const known = this.#entries.get(name);
    if (known) {
      if (known.type !== type || known.weight.dims.join() !== weight.dims.join()) {
        throw new Error(`${name} is two different tensors of ${this.path}`);
      }
      return known;
    }
    const length = elementCount(weight.dims) * (type === 'float16' ? 2 : 4);
    const step = length >= pageFrom ? pageBytes : lineBytes;
    const offset = Math.ceil(this.#end / step) * step;
    const entry = { offset, length, weight, type };
    this.#entries.set(name, entry);
    this.#end = offset + length;
    return entry;
  }

  async write(folder: string, options: WriteOptions = {}): Promise<WrittenFile> {
    const hash = createHash('sha256');
    const file = await open(join(folder, this.path), 'wx');
    try {
      let at = 0;
      const put = async (bytes: Uint8Array) => {
        options.signal?.throwIfAborted();
        for (let done = 0; done < bytes.length;) {
          const piece = bytes.subarray(done, done + pieceBytes);
          const { bytesWritten } = await file.write(piece);
          hash.update(piece.subarray(0, bytesWritten));
          done += bytesWritten;
          at += bytesWritten;
          options.onBytes?.(bytesWritten);
        }
      };
      for (const { offset, weight, type } of this.#entries.values()) {
        if (offset > at) await put(new Uint8Array(offset - at));
        const values = await weight.read();
        if (type === 'float32') {
          await put(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
        } else {
          const halves = new Uint16Array(values.length);
          floatToHalf(values, halves);
          await put(new Uint8Array(halves.buffer));
        }
      }
      return { path: this.path, bytes: at, sha256: hash.digest('hex') };
    } finally {
      await file.close();
    }
  }
}
