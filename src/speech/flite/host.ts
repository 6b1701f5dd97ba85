/**
 * The system that flite sees: its arguments, and one file in memory that it may write. It reaches
 * nothing else, neither files nor the environment, and needs no clean-up.
 */
export interface Outcome {
  readonly code: number;
  readonly file: Uint8Array;
  /** The end of what it said on standard error and output. */
  readonly said: string;
}

export const outputPath = '/out/speech.wav';

const success = 0;
const badDescriptor = 8;
const invalid = 28;
const noEntry = 44;
const noSpace = 51;
const notSeekable = 70;

const folder = new TextEncoder().encode('/out');
const folderDescriptor = 3;
const fileDescriptor = 4;
const maxFileBytes = 256 * 1024 * 1024;
const saidCharacters = 500;

class Exit extends Error {
  constructor(readonly code: number) {
    super(`exit ${code}`);
  }
}

/** A WASI (preview 1) command, ready to run once. */
export class Command {
  readonly #system = new System();
  readonly #start: () => void;

  constructor(module: WebAssembly.Module) {
    const imports = { wasi_snapshot_preview1: this.#system.imports };
    const instance = new WebAssembly.Instance(module, imports);
    this.#system.memory = instance.exports['memory'] as WebAssembly.Memory;
    this.#start = instance.exports['_start'] as () => void;
  }

  /** Runs it to its end. Throws what it throws, such as a trap. */
  run(args: readonly string[]): Outcome {
    this.#system.args = args.map((arg) => new TextEncoder().encode(`${arg}\0`));
    let code = 0;
    try {
      this.#start();
    } catch (error) {
      if (!(error instanceof Exit)) throw error;
      code = error.code;
    }
    return { code, file: this.#system.file, said: this.#system.said };
  }
}

class System {
  memory: WebAssembly.Memory | undefined;
  args: readonly Uint8Array[] = [];
  said = '';
  #bytes = new Uint8Array(256 * 1024);
  #size = 0;
  #at = 0;

  get file(): Uint8Array {
    return this.#bytes.subarray(0, this.#size);
  }

  /** All that flite.wasm imports. */
  readonly imports = {
    args_sizes_get: (count: number, bytes: number) => {
      this.#view.setUint32(count, this.args.length, true);
      const total = this.args.reduce((sum, arg) => sum + arg.length, 0);
      this.#view.setUint32(bytes, total, true);
      return success;
    },
    args_get: (pointers: number, buffer: number) => {
      let at = buffer;
      this.args.forEach((arg, i) => {
        this.#view.setUint32(pointers + 4 * i, at, true);
        this.#memory.set(arg, at);
        at += arg.length;
      });
      return success;
    },
    clock_time_get: (_clock: number, _precision: bigint, time: number) => {
      this.#view.setBigUint64(time, BigInt(Date.now()) * 1_000_000n, true);
      return success;
    },
    fd_prestat_get: (fd: number, stat: number) => {
      if (fd !== folderDescriptor) return badDescriptor;
      this.#view.setUint32(stat, 0, true);
      this.#view.setUint32(stat + 4, folder.length, true);
      return success;
    },
    fd_prestat_dir_name: (fd: number, name: number, length: number) => {
      if (fd !== folderDescriptor || length < folder.length) return badDescriptor;
      this.#memory.set(folder, name);
      return success;
    },
    fd_fdstat_get: (fd: number, stat: number) => {
      if (fd > fileDescriptor) return badDescriptor;
      const device = 2;
      const directory = 3;
      const regular = 4;
      const type = fd < folderDescriptor ? device : fd === folderDescriptor ? directory : regular;
      this.#memory.fill(0, stat, stat + 8);
      this.#view.setUint8(stat, type);
      // all rights
      this.#memory.fill(0xff, stat + 8, stat + 24);
      return success;
    },
    fd_fdstat_set_flags: () => success,
    path_open: (
      ...[directory, , path, length, , , , , opened]: [
        ...[number, number, number, number, number, bigint, bigint, number],
        number,
      ]
    ) => {
      const name = new TextDecoder().decode(this.#memory.slice(path, path + length));
      if (directory !== folderDescriptor || `/out/${name}` !== outputPath) return noEntry;
      this.#size = 0;
      this.#at = 0;
      this.#view.setUint32(opened, fileDescriptor, true);
      return success;
    },
    fd_read: (_fd: number, _vectors: number, _count: number, read: number) => {
      this.#view.setUint32(read, 0, true);
      return success;
    },
    fd_write: (fd: number, vectors: number, count: number, written: number) => {
      let total = 0;
      for (let i = 0; i < count; i++) {
        const at = this.#view.getUint32(vectors + 8 * i, true);
        const length = this.#view.getUint32(vectors + 8 * i + 4, true);
        const bytes = this.#memory.subarray(at, at + length);
        if (fd !== fileDescriptor) this.#say(bytes);
        else if (!this.#write(bytes)) return noSpace;
        total += length;
      }
      this.#view.setUint32(written, total, true);
      return success;
    },
    fd_seek: (fd: number, offset: bigint, whence: number, position: number) => {
      if (fd !== fileDescriptor) return notSeekable;
      const to = Number(offset) + ([0, this.#at, this.#size][whence] ?? Number.NaN);
      if (!(to >= 0 && to <= maxFileBytes)) return invalid;
      this.#at = to;
      this.#view.setBigUint64(position, BigInt(to), true);
      return success;
    },
    fd_close: () => success,
    proc_exit: (code: number) => {
      throw new Exit(code);
    },
  };

  /** Growing replaces the buffer, so it is looked up each time. */
  get #memory(): Uint8Array {
    if (this.memory === undefined) throw new Error('called before it was started');
    return new Uint8Array(this.memory.buffer);
  }

  get #view(): DataView {
    return new DataView(this.#memory.buffer);
  }

  #write(bytes: Uint8Array): boolean {
    const end = this.#at + bytes.length;
    if (end > maxFileBytes) return false;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(end, this.#bytes.length * 2));
      grown.set(this.file);
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, this.#at);
    this.#at = end;
    this.#size = Math.max(this.#size, end);
    return true;
  }

  #say(bytes: Uint8Array): void {
    this.said = (this.said + new TextDecoder().decode(bytes)).slice(-saidCharacters);
  }
}
