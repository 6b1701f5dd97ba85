import {
  type GraphModel,
  type GraphNode,
  type TensorInfo,
  unknown,
} from '../../weights/cost/graph.js';
import { attribute, contents, need, product } from '../../weights/cost/shapes.js';
import { bytesOf, isView, walk } from '../../weights/cost/walk.js';

/** Arithmetic of one operator: what matrix units can do, and the rest. */
interface Work {
  readonly matrix: number;
  readonly other: number;
}

/** What one call of a network costs. */
export interface NetworkCount {
  /** Floating-point operations of convolutions, matrix products and attention. */
  readonly matrixFlops: number;
  /** Those of everything else: norms, activations, sums. */
  readonly otherFlops: number;
  /** Bytes of weights that operators read. */
  readonly weightBytes: number;
  /** Bytes of activations that operators read and write, each through memory. */
  readonly activationBytes: number;
  /** Weights, inputs and outputs once: what no fusion can avoid. */
  readonly leastBytes: number;
  readonly operators: ReadonlyMap<string, { nodes: number; flops: number; bytes: number }>;
  /** Shapes of the network's outputs. */
  readonly outputs: ReadonlyMap<string, readonly number[]>;
}

type Inputs = readonly (TensorInfo | undefined)[];
type Rule = (node: GraphNode, inputs: Inputs, outputs: readonly TensorInfo[]) => Work;

const size = (tensor: TensorInfo) => product(tensor.dims);

/** So many operations per element of the first output. */
const perElement =
  (operations: number): Rule =>
  (_node, _inputs, outputs) => ({ matrix: 0, other: operations * size(outputs[0]!) });

const nothing: Rule = () => ({ matrix: 0, other: 0 });

/** Largest value, difference, exponential, sum, quotient. */
const softmax = 5;
/** Mean, difference, square, sum of squares, quotient. */
const normalise = 5;
const gain = 2;
/** As our graphs write it: half, scaled, erf, shifted, product. */
const gelu = 5;
const silu = 2;

/** Scores, softmax and mixture of `queries` x `keys` pairs over `width` channels and all heads. */
function attention(pairs: number, width: number, heads: number): Work {
  return { matrix: 4 * pairs * width, other: softmax * pairs * heads };
}

const selfAttention: Rule = (node, inputs) => {
  const qkv = need(node, inputs, 0);
  const width = qkv.dims[1]! / 3;
  const tokens = qkv.dims[0]!;
  const size = tokens / product(contents(node, inputs, 1));
  const shared = inputs[2] === undefined ? 0 : product(inputs[2].dims) / width;
  return attention(tokens * (size + shared), width, attribute(node, 'heads'));
};

const crossAttention: Rule = (node, inputs) => {
  const [q, kv] = [need(node, inputs, 0), need(node, inputs, 1)];
  const keys = kv.dims[0]! / product(contents(node, inputs, 2));
  return attention(q.dims[0]! * keys, q.dims[1]!, attribute(node, 'heads'));
};

const frameAttention: Rule = (node, inputs) => {
  const qkv = need(node, inputs, 0);
  const frames = contents(node, inputs, 2)[1]!;
  const work = attention(qkv.dims[0]! * frames, qkv.dims[1]! / 3, attribute(node, 'heads'));
  // the positions are added here
  return { ...work, other: work.other + product(qkv.dims) };
};

const groupNorm: Rule = (node, inputs, [out]) => {
  const scaled = inputs[1] === undefined ? 0 : gain;
  const shifted = inputs[3] === undefined ? 0 : 1;
  const active = attribute(node, 'silu') === 0 ? 0 : silu;
  return { matrix: 0, other: (normalise + scaled + shifted + active) * size(out!) };
};

const convolution: Rule = (node, inputs, [out]) => {
  const [, channels, ...kernel] = need(node, inputs, 1).dims;
  const bias = inputs[2] === undefined ? 0 : size(out!);
  return { matrix: 2 * size(out!) * channels! * product(kernel), other: bias };
};

const matmul: Rule = (node, inputs, [out]) => {
  const sum = inputs[2] === undefined ? 0 : size(out!);
  return { matrix: 2 * size(out!) * need(node, inputs, 0).dims.at(-1)!, other: sum };
};

/** As taps would compute it; Winograd's schemes need a fraction of that. */
const ownConvolution: Rule = (node, inputs, [out]) => {
  const weight = need(node, inputs, 1);
  const added = [inputs[2], inputs[3]].filter((one) => one !== undefined).length;
  const perValue = weight.dims.length === 2 ? weight.dims[0]! : product(weight.dims.slice(1));
  return { matrix: 2 * size(out!) * perValue, other: added * size(out!) };
};

const reduced =
  (operations: number): Rule =>
  (node, inputs) => ({ matrix: 0, other: operations * size(need(node, inputs, 0)) });

const rules: Readonly<Record<string, Rule>> = {
  Conv: convolution,
  MatMul: matmul,
  Gemm: matmul,
  'echomimic:SelfAttention': selfAttention,
  'echomimic:CrossAttention': crossAttention,
  'echomimic:FrameAttention': frameAttention,
  Softmax: perElement(softmax),
  InstanceNormalization: perElement(normalise),
  LayerNormalization: perElement(normalise + gain),
  'echomimic:GroupNorm': groupNorm,
  // bias, residual where there is one, norm
  'echomimic:ResidualNorm': (_node, inputs, [out]) => ({
    matrix: 0,
    other: (1 + (inputs[4] === undefined ? 0 : 1) + normalise + gain) * size(out!),
  }),
  // both halves get their bias; then gelu of one and the product
  'echomimic:Geglu': perElement(2 + gelu + 1),
  'echomimic:Conv': ownConvolution,
  'com.microsoft:Gelu': perElement(gelu),
  'com.microsoft:QuickGelu': perElement(silu),
  ReduceSumSquare: reduced(2),
  ReduceMax: reduced(1),
  ...Object.fromEntries(
    ['Add', 'Sub', 'Mul', 'Div', 'Max', 'Sigmoid', 'Erf', 'Log', 'Sin', 'Cos'].map((op) => [
      op,
      perElement(1),
    ]),
  ),
  ...Object.fromEntries(
    [
      ...['Identity', 'Cast', 'Reshape', 'Shape', 'Concat', 'Slice', 'Split', 'Pad', 'Squeeze'],
      ...['Unsqueeze', 'Resize', 'Transpose', 'Expand'],
    ].map((op) => [op, nothing]),
  ),
};

/** Bytes that a node reads of an input; most read it once. */
function bytesRead(node: GraphNode, i: number, input: TensorInfo, out: TensorInfo): number {
  if (node.op === 'Slice') return bytesOf(out);
  if (node.op === 'echomimic:CrossAttention' && i === 1) {
    // its own columns of the keys and values of all attentions
    return (bytesOf(input) / input.dims[1]!) * 2 * out.dims[1]!;
  }
  return bytesOf(input);
}

/** Counts one call of a network whose named dimensions have the sizes `dims`. */
export function countGraph(
  graph: GraphModel,
  dims: Readonly<Record<string, number>>,
): NetworkCount {
  const operators = new Map<string, { nodes: number; flops: number; bytes: number }>();
  const weights = new Map<string, number>();
  const total = { matrix: 0, other: 0, weights: 0, activations: 0 };
  const values = walk(graph, dims, ({ node, inputs, outputs, constant }) => {
    const count = rules[node.op];
    if (count === undefined) throw unknown(node.name, `operator ${node.op}`);
    if (constant || outputs[0]!.type === 'int64') return;
    const work = count(node, inputs, outputs);
    let bytes = 0;
    if (!isView(node.op)) {
      inputs.forEach((input, i) => {
        if (input === undefined || input.type === 'int64') return;
        const read = bytesRead(node, i, input, outputs[0]!);
        bytes += read;
        if (input.constant) {
          total.weights += read;
          weights.set(node.inputs[i]!, read);
        } else total.activations += read;
      });
      const written = node.outputs.reduce(
        (sum, name, i) => sum + (name === '' ? 0 : bytesOf(outputs[i]!)),
        0,
      );
      bytes += written;
      total.activations += written;
    }
    total.matrix += work.matrix;
    total.other += work.other;
    const sum = operators.get(node.op) ?? { nodes: 0, flops: 0, bytes: 0 };
    operators.set(node.op, {
      nodes: sum.nodes + 1,
      flops: sum.flops + work.matrix + work.other,
      bytes: sum.bytes + bytes,
    });
  });
  const ends = [...graph.inputs.keys(), ...graph.outputs].map((name) => bytesOf(values.get(name)!));
  return {
    matrixFlops: total.matrix,
    otherFlops: total.other,
    weightBytes: total.weights,
    activationBytes: total.activations,
    leastBytes: [...weights.values(), ...ends].reduce((sum, n) => sum + n, 0),
    operators,
    outputs: new Map(graph.outputs.map((name) => [name, values.get(name)!.dims])),
  };
}
