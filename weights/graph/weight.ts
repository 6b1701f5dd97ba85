import { elementCount, recycle, uninitialised } from '../checkpoint/index.js';

/**
 * A tensor of a graph whose values are read when the file is written. A derived tensor (transposed,
 * joined, scaled) is again a Weight that reads its few sources at that moment, so a model larger
 * than memory is written one tensor at a time.
 */
export interface Weight {
  readonly dims: readonly number[];
  /** The values belong to the caller, who may recycle them. */
  read(): Promise<Float32Array>;
}

export function weightOf(dims: readonly number[], values: ArrayLike<number>): Weight {
  const data = Float32Array.from(values);
  if (data.length !== elementCount(dims)) {
    throw new Error(`${data.length} values for a tensor of [${dims.join(', ')}]`);
  }
  return { dims, read: () => Promise.resolve(data) };
}

export function filled(dims: readonly number[], value: number): Weight {
  return { dims, read: () => Promise.resolve(new Float32Array(elementCount(dims)).fill(value)) };
}

export function reshape(weight: Weight, dims: readonly number[]): Weight {
  if (elementCount(dims) !== elementCount(weight.dims)) {
    throw new Error(`[${weight.dims.join(', ')}] does not fit [${dims.join(', ')}]`);
  }
  return { dims, read: () => weight.read() };
}

export function scale(weight: Weight, factor: number): Weight {
  return {
    dims: weight.dims,
    read: async () => {
      const from = await weight.read();
      const to = uninitialised(from.length);
      for (let i = 0; i < to.length; i++) to[i] = from[i]! * factor;
      recycle(from);
      return to;
    },
  };
}

/** `[rows, columns]` becomes `[columns, rows]`, in tiles that stay in the cache. */
export function transpose(weight: Weight): Weight {
  const [rows, columns] = matrix(weight);
  return {
    dims: [columns, rows],
    read: async () => {
      const from = await weight.read();
      const to = uninitialised(from.length);
      const tile = 32;
      for (let r0 = 0; r0 < rows; r0 += tile) {
        const r1 = Math.min(rows, r0 + tile);
        for (let c0 = 0; c0 < columns; c0 += tile) {
          const c1 = Math.min(columns, c0 + tile);
          for (let r = r0; r < r1; r++) {
            for (let c = c0; c < c1; c++) to[c * rows + r] = from[r * columns + c]!;
          }
        }
      }
      recycle(from);
      return to;
    },
  };
}

/** Joins weights along their first axis; the other axes agree. */
export function concatRows(weights: readonly Weight[]): Weight {
  const rest = weights[0]!.dims.slice(1);
  const rows = weights.reduce((sum, weight) => sum + weight.dims[0]!, 0);
  return {
    dims: [rows, ...rest],
    read: async () => {
      const out = uninitialised(rows * elementCount(rest));
      let at = 0;
      for (const weight of weights) {
        const values = await weight.read();
        out.set(values, at);
        at += values.length;
        recycle(values);
      }
      return out;
    },
  };
}

/** Rows `from` up to `to` of the first axis. */
export function sliceRows(weight: Weight, from: number, to: number): Weight {
  const rest = weight.dims.slice(1);
  const step = elementCount(rest);
  return {
    dims: [to - from, ...rest],
    read: async () => {
      const values = await weight.read();
      const out = uninitialised((to - from) * step);
      out.set(values.subarray(from * step, to * step));
      recycle(values);
      return out;
    },
  };
}

/** Values made from the values of other weights when they are needed. */
export function derive(
  dims: readonly number[],
  sources: readonly Weight[],
  make: (...values: Float32Array[]) => Float32Array,
): Weight {
  return {
    dims,
    read: async () => {
      const values: Float32Array[] = [];
      for (const source of sources) values.push(await source.read());
      const out = make(...values);
      if (out.length !== elementCount(dims)) {
        throw new Error(`derived ${out.length} values for [${dims.join(', ')}]`);
      }
      for (const value of values) if (value.buffer !== out.buffer) recycle(value);
      return out;
    },
  };
}

/** `[out, in]` with input channel c multiplied by `gain[c]`: a norm's gain moved into the layer. */
export function scaleColumns(weight: Weight, gain: Weight): Weight {
  const [rows, columns] = matrix(weight);
  return derive(weight.dims, [weight, gain], (w, g) => {
    const out = uninitialised(w.length);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) out[r * columns + c] = w[r * columns + c]! * g[c]!;
    }
    return out;
  });
}

/** `weight [out, in] * vector [in] (+ bias [out])`, summed in double precision. */
export function apply(weight: Weight, vector: Weight, bias?: Weight): Weight {
  const [rows, columns] = matrix(weight);
  return derive([rows], bias ? [weight, vector, bias] : [weight, vector], (w, v, b) => {
    const out = new Float32Array(rows);
    for (let r = 0; r < rows; r++) {
      let sum = b ? b[r]! : 0;
      for (let c = 0; c < columns; c++) sum += w[r * columns + c]! * v[c]!;
      out[r] = sum;
    }
    return out;
  });
}

export function add(a: Weight, b: Weight): Weight {
  return derive(a.dims, [a, b], (x, y) => x.map((value, i) => value + y[i]!));
}

function matrix(weight: Weight): [number, number] {
  if (weight.dims.length !== 2) throw new Error(`[${weight.dims.join(', ')}] is not a matrix`);
  return [weight.dims[0]!, weight.dims[1]!];
}
