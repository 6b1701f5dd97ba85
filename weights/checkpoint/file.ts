import { open, type FileHandle } from 'node:fs/promises';
import { CodedError, type ErrorCode } from '../../src/errors.js';

const chunk = 64 << 20;

/** A file read at positions. Every error names the file. */
export class PositionedFile {
  private constructor(
    readonly path: string,
    readonly size: number,
    private readonly handle: FileHandle,
  ) {}

  static async open(path: string): Promise<PositionedFile> {
    let handle: FileHandle;
    try {
      handle = await open(path, 'r');
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      throw code === 'ENOENT'
        ? new CodedError('CHECKPOINT_FILE_MISSING', `${path}: no such file`)
        : new CodedError('CHECKPOINT_FILE_MISSING', `${path}: cannot be opened (${code})`, {
            cause: error,
          });
    }
    const stat = await handle.stat();
    if (!stat.isFile()) {
      await handle.close();
      throw new CodedError('CHECKPOINT_FILE_MISSING', `${path}: not a regular file`);
    }
    return new PositionedFile(path, stat.size, handle);
  }

  fail(what: string, code: ErrorCode = 'CHECKPOINT_FORMAT_INVALID'): CodedError {
    return new CodedError(code, `${this.path}: ${what}`);
  }

  /** Fills `into` from byte `position` of the file. */
  async fill(into: Uint8Array, position: number, what: string): Promise<void> {
    let done = 0;
    while (done < into.byteLength) {
      const length = Math.min(chunk, into.byteLength - done);
      const { bytesRead } = await this.handle.read(into, done, length, position + done);
      if (bytesRead === 0) throw this.fail(`truncated: it ends inside ${what}`);
      done += bytesRead;
    }
  }

  async bytes(position: number, length: number, what: string): Promise<Uint8Array> {
    if (position < 0 || position + length > this.size) {
      throw this.fail(
        `truncated: ${what} should end at byte ${position + length}, the file has ${this.size}`,
      );
    }
    const buffer = new Uint8Array(length);
    await this.fill(buffer, position, what);
    return buffer;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}
