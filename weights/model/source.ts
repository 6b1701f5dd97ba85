import { CodedError } from '../../src/errors.js';
import type { WeightSource } from '../checkpoint/index.js';
import type { Weight } from '../graph/weight.js';

export type { WeightSource };

const show = (dims: readonly number[]) => `[${dims.join(', ')}]`;

/**
 * Named access to the tensors of a source. Each is checked against the shape that the config
 * demands when the graph is planned, long before its values are read.
 */
export class Params {
  readonly #known: Set<string>;

  constructor(
    readonly source: WeightSource,
    readonly prefix = '',
    known = new Set<string>(),
  ) {
    this.#known = known;
  }

  /** Every key that the network has, whether its graph needs the values or not. */
  get known(): ReadonlySet<string> {
    return this.#known;
  }

  at(name: string | number): Params {
    return new Params(this.source, `${this.prefix}${name}.`, this.#known);
  }

  has(name: string): boolean {
    return this.source.has(this.prefix + name);
  }

  /** The tensor `name`, or the first of `aliases` that the file has. */
  get(name: string, dims: readonly number[], aliases: readonly string[] = []): Weight {
    const key = this.prefix + ([name, ...aliases].find((n) => this.has(n)) ?? name);
    this.#known.add(key);
    this.source.expect(key, dims);
    return { dims, read: () => this.source.read(key) };
  }

  /** A tensor whose free dimensions (-1) the file decides. */
  infer(name: string, pattern: readonly number[]): Weight {
    const key = this.prefix + name;
    this.#known.add(key);
    const wanted = show(pattern).replaceAll('-1', '*');
    const shape = this.source.shape(key);
    const fits =
      shape.length === pattern.length &&
      shape.every((n, i) => n > 0 && (pattern[i] === -1 || pattern[i] === n));
    if (!fits) {
      throw new CodedError(
        'CHECKPOINT_SHAPE_MISMATCH',
        `${this.source.fileOf(key)}: key ${key} has the shape ${show(shape)}, expected ${wanted}`,
      );
    }
    this.source.expect(key, shape);
    return { dims: shape, read: () => this.source.read(key) };
  }

  /** How many consecutive indices 0, 1, ... have the key `name(index)`. */
  count(name: (index: number) => string): number {
    let n = 0;
    while (this.has(name(n))) n++;
    return n;
  }
}
