import { CodedError } from '../../src/errors.js';
import type { Checkpoint } from './types.js';

/** Where a network's builder takes its tensors from, by key. Every read key counts as used. */
export interface WeightSource {
  has(key: string): boolean;
  shape(key: string): readonly number[];
  read(key: string): Promise<Float32Array>;
}

/**
 * Several checkpoints as one, the first that has a key wins, and a record of what was used, so that
 * keys nobody asked for can be reported.
 */
export class MergedSource implements WeightSource {
  private readonly used = new Set<string>();

  constructor(private readonly checkpoints: readonly Checkpoint[]) {}

  private holder(key: string): Checkpoint {
    const holder = this.checkpoints.find((checkpoint) => checkpoint.has(key));
    if (holder) return holder;
    const paths = this.checkpoints.map((checkpoint) => checkpoint.path).join(' or ');
    throw new CodedError('CHECKPOINT_KEY_MISSING', `${paths}: key ${key} is missing`);
  }

  has(key: string): boolean {
    return this.checkpoints.some((checkpoint) => checkpoint.has(key));
  }

  /** Path of the file that gives this key. */
  pathOf(key: string): string {
    return this.holder(key).path;
  }

  shape(key: string): readonly number[] {
    return this.holder(key).info(key).shape;
  }

  read(key: string): Promise<Float32Array> {
    this.used.add(key);
    return this.holder(key).read(key);
  }

  /** Keys of `checkpoint` that no reader asked for. */
  leftovers(checkpoint: Checkpoint): string[] {
    return checkpoint.keys().filter((key) => !this.used.has(key));
  }
}
