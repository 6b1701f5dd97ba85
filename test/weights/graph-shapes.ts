import {
  TensorProto_DataType as Type,
  type AttributeProto,
  type GraphProto,
  type NodeProto,
  type TensorProto,
} from 'onnx-buf';

/**
 * What the values of a tensor follow from. `folded` ones are made of initializers alone, `shape`
 * ones also of the shapes of inputs, `data` ones of what is in the inputs.
 */
export type Origin = 'initializer' | 'folded' | 'shape' | 'data';
const origins: readonly Origin[] = ['initializer', 'folded', 'shape', 'data'];

export interface Tensor {
  /** As ONNX counts them. */
  readonly type: Type;
  readonly dims: readonly number[];
  readonly origin: Origin;
  /** Of small integer tensors that do not follow from data. */
  readonly values?: readonly number[] | undefined;
}

/** What each named dimension is. */
export type Sizes = ReadonlyMap<string, number>;

export const elements = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);
export const show = (dims: readonly number[]) => `[${dims.join(', ')}]`;

export type AttributeValue = number | string | readonly number[] | undefined;

function valueOf(attribute: AttributeProto): AttributeValue {
  if (attribute.ints.length > 0) return attribute.ints.map(Number);
  if (attribute.floats.length > 0) return attribute.floats;
  if (attribute.s.length > 0) return new TextDecoder().decode(attribute.s);
  return attribute.f === 0 ? Number(attribute.i) : attribute.f;
}

export const attributesOf = (node: NodeProto): ReadonlyMap<string, AttributeValue> =>
  new Map(node.attribute.map((attribute) => [attribute.name, valueOf(attribute)]));

function initializer(tensor: TensorProto): Tensor {
  const { rawData, int64Data } = tensor;
  const type = tensor.dataType as Type;
  const dims = tensor.dims.map(Number);
  const known: Tensor = { type, dims, origin: 'initializer' };
  if (type === Type.INT64) {
    const raw = new BigInt64Array(rawData.slice().buffer);
    return { ...known, values: [...(raw.length > 0 ? raw : int64Data)].map(Number) };
  }
  if (type === Type.FLOAT && rawData.length > 0) {
    return { ...known, values: [...new Float32Array(rawData.slice().buffer)] };
  }
  return known;
}

/** The shape that both broadcast to. */
function broadcast(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new Error(`${show(a)} and ${show(b)} do not fit each other`);
    }
    return x === 1 ? y : x;
  });
}

/** What the shape of a node's outputs is computed from. */
class Node {
  readonly #attributes: ReadonlyMap<string, AttributeValue>;

  constructor(
    readonly proto: NodeProto,
    readonly inputs: readonly (Tensor | undefined)[],
  ) {
    this.#attributes = attributesOf(proto);
  }

  input(i: number): Tensor {
    const input = this.inputs[i];
    if (input === undefined) throw new Error(`input ${i} is missing`);
    return input;
  }

  get dims(): readonly number[] {
    return this.input(0).dims;
  }

  number(name: string, otherwise: number): number {
    return Number(this.#attributes.get(name) ?? otherwise);
  }

  list(name: string): readonly number[] | undefined {
    return this.#attributes.get(name) as readonly number[] | undefined;
  }

  /** Values of an input that a shape depends on. */
  values(i: number): readonly number[] {
    const { values, origin } = this.input(i);
    if (values === undefined) throw new Error(`input ${i} follows from ${origin}, not from shapes`);
    return values;
  }

  axis(axis: number, rank = this.dims.length): number {
    const from0 = axis < 0 ? axis + rank : axis;
    if (from0 < 0 || from0 >= rank) throw new Error(`there is no axis ${axis}`);
    return from0;
  }

  axes(i: number): number[] {
    return this.inputs[i]
      ? this.values(i).map((axis) => this.axis(axis))
      : this.dims.map((_, n) => n);
  }
}

type Made = Pick<Tensor, 'dims'> & Partial<Tensor>;
type Shape = (node: Node) => Made | readonly Made[];

const same: Shape = (node) => ({ dims: node.dims, values: node.inputs[0]?.values });

const arithmetic =
  (compute: (a: number, b: number) => number): Shape =>
  (node) => {
    const [a, b] = [node.input(0), node.input(1)];
    const dims = broadcast(a.dims, b.dims);
    if (!a.values || !b.values) return { dims };
    const at = (list: readonly number[], i: number) => list[list.length === 1 ? 0 : i]!;
    const count = elements(dims);
    return {
      dims,
      values: Array.from({ length: count }, (_, i) => compute(at(a.values!, i), at(b.values!, i))),
    };
  };

const conv: Shape = (node) => {
  const [x, w] = [node.input(0).dims, node.input(1).dims];
  const spatial = x.length - 2;
  if (w.length !== x.length) throw new Error(`a kernel ${show(w)} on ${show(x)}`);
  if (w[1]! * node.number('group', 1) !== x[1])
    throw new Error(`channels of ${show(w)}, ${show(x)}`);
  const strides = node.list('strides') ?? new Array<number>(spatial).fill(1);
  const dilations = node.list('dilations') ?? new Array<number>(spatial).fill(1);
  const pads = node.list('pads') ?? new Array<number>(2 * spatial).fill(0);
  const out = Array.from({ length: spatial }, (_, i) => {
    const padded = x[i + 2]! + pads[i]! + pads[i + spatial]!;
    return Math.floor((padded - dilations[i]! * (w[i + 2]! - 1) - 1) / strides[i]!) + 1;
  });
  return { dims: [x[0]!, w[0]!, ...out] };
};

const matmul: Shape = (node) => {
  const [a, b] = [node.input(0).dims, node.input(1).dims];
  if (a.length < 2 || b.length < 2 || a.at(-1) !== b.at(-2)) {
    throw new Error(`${show(a)} times ${show(b)}`);
  }
  return { dims: [...broadcast(a.slice(0, -2), b.slice(0, -2)), a.at(-2)!, b.at(-1)!] };
};

const reshape: Shape = (node) => {
  const wanted = node.values(1).map((n, i) => (n === 0 ? node.dims[i]! : n));
  const known = elements(wanted.filter((n) => n !== -1));
  const dims = wanted.map((n) => (n === -1 ? elements(node.dims) / known : n));
  if (elements(dims) !== elements(node.dims) || !dims.every(Number.isInteger)) {
    throw new Error(`${show(node.dims)} does not become ${show(wanted)}`);
  }
  return { dims, values: node.input(0).values };
};

const slice: Shape = (node) => {
  const [starts, ends, axes] = [node.values(1), node.values(2), node.axes(3)];
  const steps = node.inputs[4] ? node.values(4) : starts.map(() => 1);
  if (steps.some((step) => step !== 1)) throw new Error('slices in steps are not computed here');
  const dims = [...node.dims];
  let range: [number, number] = [0, dims[0] ?? 1];
  axes.forEach((axis, i) => {
    const length = node.dims[axis]!;
    const clamp = (n: number) => Math.min(Math.max(n < 0 ? n + length : n, 0), length);
    range = [clamp(starts[i]!), clamp(ends[i]!)];
    dims[axis] = Math.max(0, range[1] - range[0]);
  });
  const { values } = node.input(0);
  return { dims, values: dims.length === 1 ? values?.slice(...range) : undefined };
};

const concat: Shape = (node) => {
  const tensors = node.inputs.map((_, i) => node.input(i));
  const axis = node.axis(node.number('axis', 0));
  const dims = [...node.dims];
  dims[axis] = 0;
  for (const { dims: part } of tensors) {
    if (part.length !== dims.length || part.some((n, i) => i !== axis && n !== dims[i])) {
      throw new Error(`${show(node.dims)} and ${show(part)} do not join along axis ${axis}`);
    }
    dims[axis] += part[axis]!;
  }
  const known = dims.length === 1 && tensors.every(({ values }) => values);
  return { dims, values: known ? tensors.flatMap(({ values }) => values!) : undefined };
};

const shape: Shape = (node) => {
  const end = node.number('end', node.dims.length);
  const values = node.dims.slice(node.number('start', 0), end);
  return { dims: [values.length], values, type: Type.INT64, origin: 'shape' };
};

const split: Shape = (node) => {
  const axis = node.axis(node.number('axis', 0));
  const parts = node.values(1);
  if (parts.reduce((a, b) => a + b, 0) !== node.dims[axis]) {
    throw new Error(`axis ${axis} of ${show(node.dims)} has not the parts ${show(parts)}`);
  }
  return parts.map((part) => ({ dims: node.dims.map((n, i) => (i === axis ? part : n)) }));
};

const reduce: Shape = (node) => {
  const axes = node.axes(1);
  const kept = node.number('keepdims', 1) === 1;
  const dims = node.dims.map((n, i) => (axes.includes(i) ? 1 : n));
  return { dims: kept ? dims : dims.filter((_, i) => !axes.includes(i)) };
};

const pad: Shape = (node) => {
  const pads = node.values(1);
  const rank = node.dims.length;
  return { dims: node.dims.map((n, i) => n + pads[i]! + pads[i + rank]!) };
};

const unsqueeze: Shape = (node) => {
  const rank = node.dims.length + node.values(1).length;
  const axes = node.values(1).map((axis) => node.axis(axis, rank));
  const rest = [...node.dims];
  const dims = Array.from({ length: rank }, (_, i) => (axes.includes(i) ? 1 : rest.shift()!));
  return { dims, values: node.input(0).values };
};

const squeeze: Shape = (node) => {
  const axes = node.axes(1);
  if (axes.some((axis) => node.dims[axis] !== 1)) throw new Error(`${show(node.dims)} is not one`);
  return { dims: node.dims.filter((_, i) => !axes.includes(i)), values: node.input(0).values };
};

const transpose: Shape = (node) => {
  const perm = node.list('perm') ?? node.dims.map((_, i) => node.dims.length - 1 - i);
  return { dims: perm.map((i) => node.dims[i]!) };
};

const shapes: Readonly<Record<string, Shape>> = {
  Add: arithmetic((a, b) => a + b),
  Sub: arithmetic((a, b) => a - b),
  Mul: arithmetic((a, b) => a * b),
  Div: arithmetic((a, b) => Math.trunc(a / b)),
  Max: arithmetic(Math.max),
  Cast: (node) => ({ dims: node.dims, type: node.number('to', 0) }),
  Concat: concat,
  Conv: conv,
  Cos: same,
  Erf: same,
  Expand: (node) => ({ dims: broadcast(node.dims, node.values(1)) }),
  Identity: same,
  InstanceNormalization: same,
  LayerNormalization: same,
  Log: same,
  MatMul: matmul,
  Pad: pad,
  ReduceMax: reduce,
  ReduceSumSquare: reduce,
  Reshape: reshape,
  Resize: (node) => ({ dims: node.dims.map((n, i) => Math.floor(n * node.values(2)[i]!)) }),
  Shape: shape,
  Sigmoid: same,
  Sin: same,
  Slice: slice,
  Softmax: same,
  Split: split,
  Squeeze: squeeze,
  Transpose: transpose,
  Unsqueeze: unsqueeze,
};

/** An unknown input, and an operator whose outputs cannot be told, end with an error. */
export function inferNode(
  proto: NodeProto,
  inputs: readonly (Tensor | undefined)[],
): readonly Tensor[] {
  const infer = shapes[proto.opType];
  if (infer === undefined) throw new Error('its outputs are not computed here');
  const node = new Node(proto, inputs);
  const made = infer(node);
  const from = inputs.map((input) => origins.indexOf(input?.origin ?? 'initializer'));
  const origin = origins[Math.max(1, ...from)]!;
  return [made].flat().map((tensor) => {
    const full = { type: node.input(0).type, origin, ...tensor };
    // only whole numbers are followed, and never those of data
    const known = full.type === Type.INT64 && full.origin !== 'data';
    return known ? full : { ...full, values: undefined };
  });
}

/** Initializers, and inputs of these sizes. */
export function given(graph: GraphProto, sizes: Sizes): Map<string, Tensor> {
  const tensors = new Map(graph.initializer.map((tensor) => [tensor.name, initializer(tensor)]));
  for (const { name, type } of graph.input) {
    if (type?.value.case !== 'tensorType') throw new Error(`input ${name} is not a tensor`);
    const { elemType, shape } = type.value.value;
    const dims = (shape?.dim ?? []).map(({ value }) => {
      if (value.case === 'dimValue') return Number(value.value);
      const size = value.case === 'dimParam' ? sizes.get(value.value) : undefined;
      if (size === undefined) throw new Error(`input ${name}: a size of ${value.value} is missing`);
      return size;
    });
    tensors.set(name, { type: elemType, dims, origin: 'data' });
  }
  return tensors;
}
