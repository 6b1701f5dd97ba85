import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { elementCount, recycle } from '../checkpoint/index.js';
import { Sink } from './sink.js';
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
    const file = await open(join(folder, this.path), 'wx');
    const sink = new Sink(file, (bytes) => options.onBytes?.(bytes));
    try {
      const entries = [...this.#entries.values()];
      // the next tensor is read while this one is written
      let next = entries[0]?.weight.read();
      for (const [i, { offset, type }] of entries.entries()) {
        options.signal?.throwIfAborted();
        const values = await next!;
        next = entries[i + 1]?.weight.read();
        next?.catch(() => undefined);
        await sink.padTo(offset);
        await sink.append(values, type);
        recycle(values);
      }
      const sha256 = await sink.end();
      return { path: this.path, bytes: sink.at, sha256 };
    } finally {
      await sink.settle();
      await file.close();
    }
  }
}
