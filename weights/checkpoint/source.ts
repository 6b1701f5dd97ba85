import { CodedError } from '../../src/errors.js';
import type { Checkpoint } from './types.js';

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
  }

  read(key: string): Promise<Float32Array> {
    return this.holder(key).read(key);
  }
}
