import { CodedError } from '../../src/errors.js';
import { elementCount, type Checkpoint, type TensorInfo } from './types.js';

/**
 * Where a network's builder takes its tensors from. While it plans, a builder names every key of its
 * network with `expect`; nothing is read before the whole model is known to be sound.
 */
export interface WeightSource {
  /** The main file of the source; `fileOf` knows which of several gives a key. */
  readonly path: string;
  has(key: string): boolean;
  shape(key: string): readonly number[];
  /** The file that gives this key, or that should. */
  fileOf(key: string): string;
  /** Refuses a missing key or another shape than this one, naming file and key. */
  expect(key: string, shape: readonly number[]): void;
  /** The tensor in row-major order. */
  read(key: string): Promise<Float32Array>;
}

const same = (a: readonly number[], b: readonly number[]) =>
  a.length === b.length && a.every((n, i) => n === b[i]);

/** Several checkpoints as one: the first that has a key gives it. */
export class MergedSource implements WeightSource {
  private readonly known = new Set<string>();

  /** `home` tells which file ought to hold a key that none has. */
  constructor(
    private readonly checkpoints: readonly Checkpoint[],
    private readonly home: (key: string) => string = () => checkpoints[0]!.path,
  ) {}

  get path(): string {
    return this.checkpoints[0]!.path;
  }

  private holder(key: string): Checkpoint {
    const holder = this.checkpoints.find((checkpoint) => checkpoint.has(key));
    if (holder) return holder;
    throw new CodedError('CHECKPOINT_KEY_MISSING', `${this.home(key)}: key ${key} is missing`);
  }

  has(key: string): boolean {
    return this.checkpoints.some((checkpoint) => checkpoint.has(key));
  }

  shape(key: string): readonly number[] {
    return this.holder(key).info(key).shape;
  }

  fileOf(key: string): string {
    return this.checkpoints.find((checkpoint) => checkpoint.has(key))?.path ?? this.home(key);
  }

  expect(key: string, shape: readonly number[]): void {
    const holder = this.holder(key);
    const { dtype, shape: found } = holder.info(key);
    if (!same(found, shape)) {
      throw new CodedError(
        'CHECKPOINT_SHAPE_MISMATCH',
        `${holder.path}: key ${key} has the shape [${found.join(', ')}], the configuration asks for [${shape.join(', ')}]`,
      );
    }
    if (!dtype.includes('float')) {
      throw new CodedError(
        'CHECKPOINT_FORMAT_INVALID',
        `${holder.path}: key ${key} is ${dtype}, a float tensor was expected`,
      );
    }
    this.known.add(key);
  }

  read(key: string): Promise<Float32Array> {
    return this.holder(key).read(key);
  }

  /** Number of weights in all expected tensors. */
  get parameters(): number {
    return [...this.known].reduce((sum, key) => sum + elementCount(this.shape(key)), 0);
  }

  /** Keys of `checkpoint` that no network of this source expected. */
  unexpected(checkpoint: Checkpoint): string[] {
    return checkpoint.keys().filter((key) => !this.known.has(key));
  }
}

/** A checkpoint whose keys go by other names, for files that were written with older ones. */
export function renamed(checkpoint: Checkpoint, rename: (key: string) => string): Checkpoint {
  const original = new Map(checkpoint.keys().map((key) => [rename(key), key]));
  const of = (key: string) => original.get(key) ?? key;
  return {
    path: checkpoint.path,
    format: checkpoint.format,
    scalars: checkpoint.scalars,
    keys: () => [...original.keys()],
    has: (key) => original.has(key),
    info: (key): TensorInfo => checkpoint.info(of(key)),
    read: (key) => checkpoint.read(of(key)),
    close: () => checkpoint.close(),
  };
}
