import { type ElementType, type GraphNode, type TensorInfo, typeOf, unknown } from './graph.js';

/** Shapes of the operators that our graphs are made of (weights/model). */
export type Output = Omit<TensorInfo, 'constant'>;
type Inputs = readonly (TensorInfo | undefined)[];
type Rule = (node: GraphNode, inputs: Inputs) => Output[];

export const product = (dims: readonly number[]) => dims.reduce((all, n) => all * n, 1);

/** Input `i`, which must be there. */
export function need(node: GraphNode, inputs: Inputs, i: number): TensorInfo {
  const input = inputs[i];
  if (input === undefined) throw unknown(node.name, `${node.op} without input ${i}`);
  return input;
}

/** The contents of input `i`. */
export function contents(node: GraphNode, inputs: Inputs, i: number): readonly number[] {
  const { values } = need(node, inputs, i);
  if (values === undefined) throw unknown(node.name, `${node.op} with an input ${i} of any value`);
  return values;
}

export function attribute(node: GraphNode, name: string, fallback?: number): number {
  const value = node.attributes.get(name) ?? fallback;
  if (typeof value !== 'number') throw unknown(node.name, `${node.op} without ${name}`);
  return value;
}

function list(node: GraphNode, name: string, fallback?: readonly number[]): readonly number[] {
  const value = node.attributes.get(name) ?? fallback;
  if (!Array.isArray(value)) throw unknown(node.name, `${node.op} without ${name}`);
  return value as readonly number[];
}

const axisOf = (axis: number, rank: number) => (axis < 0 ? axis + rank : axis);

function broadcast(node: GraphNode, a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const [x, y] = [a[i - rank + a.length] ?? 1, b[i - rank + b.length] ?? 1];
    if (x !== y && x !== 1 && y !== 1) {
      throw unknown(node.name, `${node.op} of [${a.join()}] and [${b.join()}]`);
    }
    return x === 1 ? y : x;
  });
}

const integers: Record<string, (a: number, b: number) => number> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => Math.trunc(a / b),
};

const pointwise: Rule = (node, inputs) => {
  const [a, b] = [need(node, inputs, 0), need(node, inputs, 1)];
  const dims = broadcast(node, a.dims, b.dims);
  const compute = integers[node.op];
  const [x, y] = [a.values, b.values];
  if (a.type !== 'int64' || compute === undefined || x === undefined || y === undefined) {
    return [{ dims, type: a.type }];
  }
  const values = Array.from({ length: product(dims) }, (_, i) =>
    compute(x[i % x.length]!, y[i % y.length]!),
  );
  return [{ dims, type: 'int64', values }];
};

const like: Rule = (node, inputs) => {
  const { dims, type, values } = need(node, inputs, 0);
  return [{ dims, type, values: node.op === 'Identity' ? values : undefined }];
};

const matmul: Rule = (node, inputs) => {
  const [a, b] = [need(node, inputs, 0), need(node, inputs, 1)];
  const [rows, inner] = a.dims.slice(-2);
  const [depth, columns] = b.dims.slice(-2);
  if (a.dims.length < 2 || b.dims.length < 2 || inner !== depth) {
    throw unknown(node.name, `${node.op} of [${a.dims.join()}] and [${b.dims.join()}]`);
  }
  const batch = broadcast(node, a.dims.slice(0, -2), b.dims.slice(0, -2));
  return [{ dims: [...batch, rows!, columns!], type: a.type }];
};

const conv: Rule = (node, inputs) => {
  const [x, w] = [need(node, inputs, 0), need(node, inputs, 1)];
  const kernel = w.dims.slice(2);
  const strides = list(
    node,
    'strides',
    kernel.map(() => 1),
  );
  const pads = list(
    node,
    'pads',
    [...kernel, ...kernel].map(() => 0),
  );
  const odd = ['auto_pad', 'dilations'].find((name) => node.attributes.has(name));
  if (odd !== undefined || attribute(node, 'group', 1) !== 1 || x.dims[1] !== w.dims[1]) {
    throw unknown(node.name, `Conv with ${odd ?? 'groups or other channels than its input'}`);
  }
  const sides = kernel.map((k, i) => {
    const padded = x.dims[i + 2]! + pads[i]! + pads[i + kernel.length]!;
    return Math.floor((padded - k) / strides[i]!) + 1;
  });
  return [{ dims: [x.dims[0]!, w.dims[0]!, ...sides], type: x.type }];
};

const reshape: Rule = (node, inputs) => {
  const x = need(node, inputs, 0);
  const wanted = contents(node, inputs, 1).map((n, i) => (n === 0 ? (x.dims[i] ?? 0) : n));
  const known = product(wanted.filter((n) => n !== -1));
  const dims = wanted.map((n) => (n === -1 ? product(x.dims) / known : n));
  if (product(dims) !== product(x.dims)) {
    throw unknown(node.name, `Reshape of [${x.dims.join()}] to [${wanted.join()}]`);
  }
  return [{ dims, type: x.type, values: x.values }];
};

const shape: Rule = (node, inputs) => {
  const { dims } = need(node, inputs, 0);
  const values = dims.slice(attribute(node, 'start', 0), attribute(node, 'end', dims.length));
  return [{ dims: [values.length], type: 'int64', values }];
};

const concat: Rule = (node, inputs) => {
  const all = inputs.map((_, i) => need(node, inputs, i));
  const dims = [...all[0]!.dims];
  const axis = axisOf(attribute(node, 'axis'), dims.length);
  dims[axis] = all.reduce((sum, one) => sum + one.dims[axis]!, 0);
  const known = dims.length === 1 && all.every(({ values }) => values !== undefined);
  const values = known ? all.flatMap((one) => [...one.values!]) : undefined;
  return [{ dims, type: all[0]!.type, values }];
};

const slice: Rule = (node, inputs) => {
  const x = need(node, inputs, 0);
  const [starts, ends] = [contents(node, inputs, 1), contents(node, inputs, 2)];
  const axes = inputs[3] === undefined ? starts.map((_, i) => i) : contents(node, inputs, 3);
  if (inputs[4] !== undefined) throw unknown(node.name, 'Slice with steps');
  const dims = [...x.dims];
  let values = x.values;
  axes.forEach((given, i) => {
    const axis = axisOf(given, dims.length);
    const side = dims[axis]!;
    const at = (n: number) => Math.min(side, Math.max(0, n < 0 ? n + side : n));
    const [from, to] = [at(starts[i]!), at(ends[i]!)];
    dims[axis] = Math.max(0, to - from);
    values = dims.length === 1 ? values?.slice(from, to) : undefined;
  });
  return [{ dims, type: x.type, values }];
};

const split: Rule = (node, inputs) => {
  const x = need(node, inputs, 0);
  const axis = axisOf(attribute(node, 'axis', 0), x.dims.length);
  return contents(node, inputs, 1).map((width) => ({
    dims: x.dims.map((n, i) => (i === axis ? width : n)),
    type: x.type,
  }));
};

const pad: Rule = (node, inputs) => {
  const x = need(node, inputs, 0);
  const pads = contents(node, inputs, 1);
  const rank = x.dims.length;
  return [{ dims: x.dims.map((n, i) => n + pads[i]! + pads[i + rank]!), type: x.type }];
};

const reduce: Rule = (node, inputs) => {
  const x = need(node, inputs, 0);
  const rank = x.dims.length;
  const given = inputs[1] === undefined ? x.dims.map((_, i) => i) : contents(node, inputs, 1);
  const axes = new Set(given.map((axis) => axisOf(axis, rank)));
  const keep = attribute(node, 'keepdims', 1) !== 0;
  const dims = x.dims.map((n, i) => (axes.has(i) ? 1 : n)).filter((_, i) => keep || !axes.has(i));
  return [{ dims, type: x.type }];
};

const squeeze: Rule = (node, inputs) => {
  const x = need(node, inputs, 0);
  const axes = new Set(contents(node, inputs, 1).map((axis) => axisOf(axis, x.dims.length)));
  return [{ dims: x.dims.filter((_, i) => !axes.has(i)), type: x.type, values: x.values }];
};

const unsqueeze: Rule = (node, inputs) => {
  const x = need(node, inputs, 0);
  const axes = contents(node, inputs, 1);
  const dims = [...x.dims];
  for (const axis of [...axes].sort((a, b) => a - b)) dims.splice(axis, 0, 1);
  return [{ dims, type: x.type, values: x.values }];
};

const resize: Rule = (node, inputs) => {
  const x = need(node, inputs, 0);
  const scales = contents(node, inputs, 2);
  return [{ dims: x.dims.map((n, i) => Math.floor(n * scales[i]!)), type: x.type }];
};

const cast: Rule = (node, inputs) => {
  const { dims, values } = need(node, inputs, 0);
  const type: ElementType = typeOf(attribute(node, 'to'), node.name);
  return [{ dims, type, values }];
};

/** `part` of the last axis of the first input. */
const narrower =
  (part: number): Rule =>
  (node, inputs) => {
    const x = need(node, inputs, 0);
    return [{ dims: [...x.dims.slice(0, -1), x.dims.at(-1)! / part], type: x.type }];
  };

const groupNorm: Rule = (node, inputs) => {
  const x = need(node, inputs, 0);
  if (attribute(node, 'tokens') === 0) return like(node, inputs);
  return [{ dims: [product(x.dims.slice(0, -1)), x.dims.at(-1)!], type: x.type }];
};

/** Our own convolution: channels last; see native/ops/ops.h. */
const ownConv: Rule = (node, inputs) => {
  const x = need(node, inputs, 0);
  const weight = need(node, inputs, 1).dims;
  const [outer, kernel] =
    weight.length === 2 ? [weight[1]!, 1] : [weight[0]!, weight[2]!];
  if (x.dims.length === 2) {
    return [{ dims: inputs[3]?.dims ?? [x.dims[0]!, outer], type: x.type }];
  }
  const [images, ...sides] = x.dims.slice(0, -1);
  if (attribute(node, 'double') !== 0) {
    const size = inputs[4] === undefined ? sides.map((n) => 2 * n) : contents(node, inputs, 4);
    return [{ dims: [images!, ...size, outer], type: x.type }];
  }
  const [top, left, bottom, right] = list(node, 'pads');
  const stride = attribute(node, 'stride');
  const padded = [sides[0]! + top! + bottom!, sides[1]! + left! + right!];
  const out = padded.map((n) => Math.floor((n - kernel) / stride) + 1);
  return [{ dims: [images!, ...out, outer], type: x.type }];
};

export const shapeRules: Readonly<Record<string, Rule>> = {
  ...Object.fromEntries(
    [
      ...['Identity', 'Sigmoid', 'Erf', 'Log', 'Sin', 'Cos', 'Softmax'],
      ...['LayerNormalization', 'InstanceNormalization'],
      ...['com.microsoft:QuickGelu', 'com.microsoft:Gelu', 'echomimic:CrossAttention'],
    ].map((op) => [op, like]),
  ),
  ...Object.fromEntries(['Add', 'Sub', 'Mul', 'Div', 'Max'].map((op) => [op, pointwise])),
  MatMul: matmul,
  Gemm: matmul,
  Conv: conv,
  Reshape: reshape,
  Shape: shape,
  Concat: concat,
  Slice: slice,
  Split: split,
  Pad: pad,
  ReduceSumSquare: reduce,
  ReduceMax: reduce,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Resize: resize,
  Cast: cast,
  Transpose: (node, inputs) => {
    const { dims, type } = need(node, inputs, 0);
    return [{ dims: list(node, 'perm').map((axis) => dims[axis]!), type }];
  },
  Expand: (node, inputs) => {
    const { dims, type } = need(node, inputs, 0);
    return [{ dims: broadcast(node, dims, contents(node, inputs, 1)), type }];
  },
  'echomimic:SelfAttention': narrower(3),
  'echomimic:FrameAttention': narrower(3),
  'echomimic:Geglu': narrower(2),
  'echomimic:GroupNorm': groupNorm,
  'echomimic:ResidualNorm': (node, inputs) => {
    const [one] = like(node, inputs);
    return [one!, one!];
  },
  'echomimic:Conv': ownConv,
};
