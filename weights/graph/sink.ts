import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { floatToHalf } from '../checkpoint/index.js';

const pieceBytes = 8 << 20;

/**
 * Writes tensors one after the other in large pieces: while one piece is on its way to the disk, the
 * next is converted and hashed. Nothing is allocated per tensor.
 */
export class Sink {
  readonly #hash = createHash('sha256');
  #piece = new Uint8Array(pieceBytes);
  #spare = new Uint8Array(pieceBytes);
  #filled = 0;
  #handedOver = 0;
  #pending: Promise<void> = Promise.resolve();

  constructor(
    private readonly file: FileHandle,
    private readonly onBytes: (bytes: number) => void,
  ) {}

  /** Position of the next byte in the file. */
  get at(): number {
    return this.#handedOver + this.#filled;
  }

  /** Zeros up to byte `offset`. */
  async padTo(offset: number): Promise<void> {
    while (this.at < offset) {
      if (this.#filled === pieceBytes) await this.#hand();
      const end = Math.min(pieceBytes, this.#filled + offset - this.at);
      this.#piece.fill(0, this.#filled, end);
      this.#filled = end;
    }
  }

  async append(values: Float32Array, type: 'float32' | 'float16'): Promise<void> {
    const size = type === 'float16' ? 2 : 4;
    for (let done = 0; done < values.length;) {
      if (this.#filled === pieceBytes) await this.#hand();
      const part = values.subarray(done, done + (pieceBytes - this.#filled) / size);
      const { buffer } = this.#piece;
      if (type === 'float32') new Float32Array(buffer, this.#filled, part.length).set(part);
      else floatToHalf(part, new Uint16Array(buffer, this.#filled, part.length));
      this.#filled += part.length * size;
      done += part.length;
    }
  }

  async #hand(): Promise<void> {
    const piece = this.#piece.subarray(0, this.#filled);
    this.#hash.update(piece);
    await this.#pending;
    [this.#piece, this.#spare] = [this.#spare, this.#piece];
    this.#handedOver += piece.length;
    this.#filled = 0;
    this.#pending = this.#write(piece);
    this.#pending.catch(() => undefined);
  }

  async #write(piece: Uint8Array): Promise<void> {
    for (let done = 0; done < piece.length;) {
      const { bytesWritten } = await this.file.write(piece, done);
      done += bytesWritten;
      this.onBytes(bytesWritten);
    }
  }

  /** Writes what is left and returns the SHA-256 of everything. */
  async end(): Promise<string> {
    await this.#hand();
    await this.#pending;
    return this.#hash.digest('hex');
  }

  /** Waits until no write is under way, whatever became of it. */
  async settle(): Promise<void> {
    await this.#pending.catch(() => undefined);
  }
}
