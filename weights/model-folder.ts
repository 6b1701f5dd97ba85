import { chmod, mkdir, mkdtemp, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isAlive } from '../src/alive.js';
import { CodedError } from '../src/errors.js';
import { manifestName } from './manifest.js';

const exists = async (path: string) => (await stat(path).catch(() => undefined)) !== undefined;

/**
 * A model folder that appears as a whole or not at all: files are written beside it, flushed, and
 * moved into place at the end. What a killed import left behind goes with the next one.
 */
export class ModelFolder {
  private constructor(
    readonly target: string,
    /** Where to write; it becomes the model folder. */
    readonly work: string,
  ) {}

  static async begin(target: string): Promise<ModelFolder> {
    const parent = dirname(target);
    try {
      await mkdir(parent, { recursive: true });
      await sweep(target);
      if ((await exists(target)) && !(await replaceable(target))) {
        throw new CodedError(
          'MODEL_WRITE_FAILED',
          `${target}: exists and is not an imported model, so it is not replaced; choose another --name or --out`,
        );
      }
      const work = await mkdtemp(join(parent, `.${basename(target)}.importing-${process.pid}-`));
      await chmod(work, 0o777 & ~process.umask());
      return new ModelFolder(target, work);
    } catch (error) {
      throw writeError(error, target);
    }
  }

  /** Refuses early what cannot fit; a disk that fills up meanwhile is caught when writing. */
  async reserve(bytes: number): Promise<void> {
    const { bavail, bsize } = await statfs(this.work);
    const free = bavail * bsize;
    if (free < bytes) {
      throw new CodedError(
        'MODEL_WRITE_FAILED',
        `${this.target}: the disk has ${megabytes(free)} free, the model needs ${megabytes(bytes)}`,
      );
    }
  }

  /** Moves the finished folder into place; an older model of that name is removed afterwards. */
  async commit(): Promise<void> {
    const flush = async (path: string) => {
      const handle = await open(path, 'r');
      await handle.sync().finally(() => handle.close());
    };
    const names = await readdir(this.work);
    await Promise.all(names.map((name) => flush(join(this.work, name))));
    await flush(this.work);
    const old = `${this.work.replace('.importing-', '.replaced-')}`;
    const replaced = await exists(this.target);
    if (replaced) await rename(this.target, old);
    try {
      await rename(this.work, this.target);
    } catch (error) {
      if (replaced) await rename(old, this.target);
      throw error;
    }
    await flush(dirname(this.target));
    if (replaced) await rm(old, { recursive: true, force: true });
  }

  async discard(): Promise<void> {
    await rm(this.work, { recursive: true, force: true });
  }
}

const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`;

/** A folder may be replaced when it is empty or holds an imported model. */
async function replaceable(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch(() => undefined);
  return names !== undefined && (names.length === 0 || names.includes(manifestName));
}

/** Undoes what imports into `target` left when they were killed. */
async function sweep(target: string): Promise<void> {
  const parent = dirname(target);
  const prefix = `.${basename(target)}.`;
  for (const name of await readdir(parent)) {
    if (!name.startsWith(prefix)) continue;
    const match = /^(importing|replaced)-(\d+)-/.exec(name.slice(prefix.length));
    if (!match || isAlive(Number(match[2]))) continue;
    const path = join(parent, name);
    if (match[1] === 'replaced' && !(await exists(target))) await rename(path, target);
    else await rm(path, { recursive: true, force: true });
  }
}

const full = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const denied = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST', 'EIO']);

/** A coded error for what goes wrong while writing a model; other errors pass as they are. */
export function writeError(error: unknown, target: string): unknown {
  const { code, path } = error as NodeJS.ErrnoException;
  if (error instanceof CodedError || code === undefined) return error;
  if (full.has(code)) {
    return new CodedError(
      'MODEL_WRITE_FAILED',
      `${target}: the disk is full (${code}); nothing was left behind`,
      { cause: error },
    );
  }
  if (denied.has(code)) {
    return new CodedError('MODEL_WRITE_FAILED', `${path ?? target}: cannot be written (${code})`, {
      cause: error,
    });
  }
  return error;
}
