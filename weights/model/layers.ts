import type { Graph, Precision } from '../graph/builder.js';
import * as W from '../graph/weight.js';
import type { Weight } from '../graph/weight.js';
import type { Params } from './source.js';

/**
 * Which operators a graph may use: the standard ones, which every runtime and TensorRT read, or
 * also those that only the engine's CPU sessions know (ONNX Runtime's and native/ops). Images are
 * [N, C, h, w] and tokens [N, h w, C] in the former; in the latter, images are [N, h, w, C] and tokens
 * [N h w, C], which is the same memory.
 */
export type Flavour = 'standard' | 'cpu';

export interface Net {
  readonly g: Graph;
  readonly flavour: Flavour;
  /** Large layers of a CPU graph in 8 bits. */
  readonly int8?: boolean;
}

/** For layers that decide much and cost little. */
export const exactly = (net: Net): Net => ({ ...net, int8: false });

/** CPU graphs compute in float32, whatever the weights are stored in. */
export const computeType = (precision: Precision, flavour: Flavour) =>
  precision === 'fp16' && flavour === 'standard' ? 'float16' : 'float32';

/** Runs `body` with node names under `name`. */
export const within = <T>(net: Net, name: string, body: () => T): T => net.g.scope(name, body);

/** `x W (+ b)` on the last axis; `weight` is [in, out] as MatMul wants it. */
export function matmul(
  net: Net,
  x: string,
  name: string,
  weight: Weight,
  bias?: Weight,
  biasName = `${name}.bias`,
): string {
  const { g } = net;
  const w = g.weight(`${name}.weight`, weight);
  if (net.int8) {
    const inputs = bias ? [x, w, g.weight(biasName, bias)] : [x, w];
    return g.own('Int8Linear', inputs, {}, 'linear');
  }
  if (bias && net.flavour === 'cpu') {
    return g.node('Gemm', [x, w, g.weight(biasName, bias)], {}, 'linear');
  }
  const y = g.node('MatMul', [x, w], {}, 'matmul');
  return bias ? g.node('Add', [y, g.weight(biasName, bias)], {}, 'bias') : y;
}

/** A linear layer of the checkpoint; a 1x1 convolution is one too. [out, in] */
export function linearWeight(p: Params, out: number, inner: number): Weight {
  const kernel = p.has('weight') && p.source.shape(`${p.prefix}weight`).length === 4;
  return kernel
    ? W.reshape(p.get('weight', [out, inner, 1, 1]), [out, inner])
    : p.get('weight', [out, inner]);
}

export function linear(net: Net, x: string, p: Params, out: number, inner: number): string {
  const weight = W.transpose(linearWeight(p, out, inner));
  return matmul(net, x, p.prefix.slice(0, -1), weight, p.get('bias', [out]));
}

export function silu(net: Net, x: string): string {
  const { g } = net;
  if (net.flavour === 'cpu') {
    return g.contrib('QuickGelu', [x], ['silu'], { alpha: { float: 1 } })[0]!;
  }
  return g.node('Mul', [x, g.node('Sigmoid', [x], {}, 'sigmoid')], {}, 'silu');
}

/** The exact (erf) Gelu. */
export function gelu(net: Net, x: string): string {
  const { g } = net;
  if (net.flavour === 'cpu') return g.contrib('Gelu', [x], ['gelu'])[0]!;
  const half = g.node('Mul', [x, g.scalar(0.5)], {}, 'half');
  const erf = g.node('Erf', [g.node('Mul', [x, g.scalar(Math.SQRT1_2)], {}, 'scaled')], {}, 'erf');
  return g.node('Mul', [half, g.node('Add', [erf, g.scalar(1)], {}, 'shifted')], {}, 'gelu');
}

export const cast = (net: Net, x: string, to: 'float32' | 'compute'): string => {
  if (net.g.compute === 'float32') return x;
  return net.g.node('Cast', [x], { to: to === 'float32' ? 1 : 10 }, `to_${to}`);
};

/**
 * Normalised groups of channels of `x` [N, C, ...], without gain and bias, as [N, groups, rest].
 * The statistics are float32 in every precision.
 */
function normalisedGroups(net: Net, x: string, groups: number, eps: number): string {
  const { g } = net;
  const wide = cast(net, x, 'float32');
  const grouped = g.node('Reshape', [wide, g.ints([0, groups, -1])], {}, 'groups');
  const one = g.weight32(`ones[${groups}]`, W.filled([groups], 1));
  const zero = g.weight32(`zeros[${groups}]`, W.filled([groups], 0));
  return g.node(
    'InstanceNormalization',
    [grouped, one, zero],
    { epsilon: { float: eps } },
    'group_norm',
  );
}

const normAttributes = (groups: number, eps: number, silu: boolean, tokens: boolean) => ({
  groups,
  epsilon: { float: eps },
  silu: silu ? 1 : 0,
  tokens: tokens ? 1 : 0,
});

/** SiLU(GroupNorm(x + shift)) of images; `shift` [1, C, 1, 1] is optional. */
export function groupNormSilu(
  net: Net,
  x: string,
  p: Params,
  channels: number,
  groups: number,
  eps: number,
  shift?: string,
): string {
  const { g } = net;
  const name = p.prefix.slice(0, -1);
  const column = [channels, 1, 1];
  const gain = g.weight(`${name}.gain`, W.reshape(p.get('weight', [channels]), column));
  const bias = g.weight(`${name}.bias`, W.reshape(p.get('bias', [channels]), column));
  if (net.flavour === 'cpu') {
    const inputs = shift === undefined ? [x, gain, bias] : [x, gain, bias, shift];
    return g.own('GroupNorm', inputs, normAttributes(groups, eps, true, false), 'group_norm');
  }
  const shifted = shift === undefined ? x : g.node('Add', [x, shift], {}, 'add_time');
  const normal = normalisedGroups(net, shifted, groups, eps);
  const shaped = g.node('Reshape', [normal, g.node('Shape', [x], {}, 'shape')], {}, 'ungroup');
  const scaled = g.node('Mul', [cast(net, shaped, 'compute'), gain], {}, 'gain');
  return silu(net, g.node('Add', [scaled, bias], {}, 'bias'));
}

/** GroupNorm without its gain and bias, images to tokens. */
export function groupNormTokens(
  net: Net,
  x: string,
  channels: number,
  groups: number,
  eps: number,
): string {
  const { g } = net;
  if (net.flavour === 'cpu') {
    return g.own('GroupNorm', [x], normAttributes(groups, eps, false, true), 'group_norm');
  }
  const normal = normalisedGroups(net, x, groups, eps);
  const rows = g.node('Reshape', [normal, g.ints([0, channels, -1])], {}, 'ungroup');
  return g.node('Transpose', [cast(net, rows, 'compute')], { perm: [0, 2, 1] }, 'tokens');
}

/** The linear layer after a norm with the norm's gain and bias moved in: [in, out] and bias. */
export function foldNorm(
  norm: Params,
  channels: number,
  weight: Weight,
  bias?: Weight,
): { weight: Weight; bias: Weight } {
  const gain = norm.get('weight', [channels]);
  const shift = norm.get('bias', [channels]);
  return {
    weight: W.transpose(W.scaleColumns(weight, gain)),
    bias: W.apply(weight, shift, bias),
  };
}

const layerNormEps = { float: 1e-5 };

export function layerNorm(net: Net, x: string, p: Params, width: number): string {
  const { g } = net;
  const name = p.prefix.slice(0, -1);
  const gain = g.weight(`${name}.gain`, p.get('weight', [width]));
  const bias = g.weight(`${name}.bias`, p.get('bias', [width]));
  const attributes = { axis: -1, epsilon: layerNormEps };
  return g.node('LayerNormalization', [x, gain, bias], attributes, 'layer_norm');
}

export interface Layer {
  /** Path in the checkpoint. */
  readonly name: string;
  /** [in, out] */
  readonly weight: Weight;
  readonly bias: Weight;
  /** What the bias is called where it is not the checkpoint's. */
  readonly biasName?: string;
}

export const layerOf = (p: Params, out: number, inner: number, gain = 1): Layer => {
  const weight = W.transpose(linearWeight(p, out, inner));
  const bias = p.get('bias', [out]);
  return {
    name: p.prefix.slice(0, -1),
    weight: gain === 1 ? weight : W.scale(weight, gain),
    bias: gain === 1 ? bias : W.scale(bias, gain),
  };
};

/** `layer(x)`, added to `tokens` where they are given, and the layer norm `p` of that. */
export function residualNorm(
  net: Net,
  tokens: string | undefined,
  x: string,
  layer: Layer,
  p: Params,
  width: number,
): { tokens: string; normal: string } {
  const { g } = net;
  if (net.flavour === 'cpu') {
    const y = matmul(net, x, layer.name, layer.weight);
    const name = p.prefix.slice(0, -1);
    const vectors = [
      g.weight(layer.biasName ?? `${layer.name}.bias`, layer.bias),
      g.weight(`${name}.gain`, p.get('weight', [width])),
      g.weight(`${name}.bias`, p.get('bias', [width])),
    ];
    const [normal, sum] = g.ownNodes(
      'ResidualNorm',
      tokens === undefined ? [y, ...vectors] : [y, ...vectors, tokens],
      ['layer_norm', 'residual'],
      { epsilon: layerNormEps },
    );
    return { tokens: sum!, normal: normal! };
  }
  const y = matmul(net, x, layer.name, layer.weight, layer.bias, layer.biasName);
  const sum = tokens === undefined ? y : g.node('Add', [tokens, y], {}, 'residual');
  return { tokens: sum, normal: layerNorm(net, sum, p, width) };
}

export interface Heads {
  readonly heads: number;
  readonly width: number;
  /** In how many parts, heads by heads, standard operators attend; 1 by default. */
  readonly parts?: number;
}

/** What the scores of the heads that attend at once may take, in float32: those of TensorRT 9 and
 * older have fewer than 2^31 elements, and the release at 512x512 fits a device of 12 GiB. */
const scoreBytes = 2 ** 31;

/**
 * In how many parts to attend, so that a runtime that keeps the scores of every head that attends
 * at once, as those that do not fuse the attention do, keeps at most `scoreBytes`; or one head each.
 */
export function partsOf(heads: number, images: number, queries: number, keys: number): number {
  const each = 4 * images * queries * keys;
  for (let parts = 1; parts < heads; parts++) {
    if (heads % parts === 0 && (heads / parts) * each <= scoreBytes) return parts;
  }
  return heads;
}

/** Parts of the last axis, equally wide. */
export function splitLast(net: Net, x: string, widths: readonly number[], names: string[]) {
  return net.g.nodes('Split', [x, net.g.ints(widths)], names, { axis: -1 });
}

/**
 * Softmax(q k^T) v over `q` [N, S, width], `k` and `v` [N, L, width], by standard operators. The
 * scale is part of the query's weights already.
 */
export function attend(net: Net, q: string, k: string, v: string, o: Heads) {
  const { g } = net;
  const { heads, width, parts = 1 } = o;
  const split = (x: string, perm: number[], name: string) => {
    const parts = g.node('Reshape', [x, g.ints([0, 0, heads, width / heads])], {}, `${name}_heads`);
    return g.node('Transpose', [parts], { perm }, name);
  };
  const some = (x: string, name: string) =>
    parts === 1
      ? [x]
      : g.nodes(
          'Split',
          [x, g.ints(new Array<number>(parts).fill(heads / parts))],
          Array.from({ length: parts }, (_, i) => `${name}.${i}`),
          { axis: 1 },
        );
  const queries = some(split(q, [0, 2, 1, 3], 'q'), 'q');
  const keys = some(split(k, [0, 2, 3, 1], 'k'), 'k');
  const values = some(split(v, [0, 2, 1, 3], 'v'), 'v');
  const made = queries.map((query, i) => {
    const weights = softmax(net, g.node('MatMul', [query, keys[i]!], {}, 'scores'));
    return g.node('MatMul', [weights, values[i]!], {}, 'mixed');
  });
  const mixed = parts === 1 ? made[0]! : g.node('Concat', made, { axis: 1 }, 'heads');
  const joined = g.node('Transpose', [mixed], { perm: [0, 2, 1, 3] }, 'joined');
  return g.node('Reshape', [joined, g.ints([0, 0, width])], {}, 'attention');
}

/** Over the last axis, in float32 in every precision. */
function softmax(net: Net, x: string): string {
  const wide = cast(net, x, 'float32');
  return cast(net, net.g.node('Softmax', [wide], { axis: -1 }, 'softmax'), 'compute');
}

/** Keys and values that every image shares, [1, L, width] each. */
export interface Shared {
  readonly keys: string;
  readonly values: string;
}

/**
 * Self-attention of tokens whose query, keys and values stand side by side in `qkv`. `images` is
 * an int64 tensor whose product is the number of images (used where tokens do not tell).
 */
export function selfAttend(net: Net, qkv: string, images: string, o: Heads, shared?: Shared) {
  const { g } = net;
  if (net.flavour === 'cpu') {
    const inputs = shared ? [qkv, images, shared.keys, shared.values] : [qkv, images];
    return g.own('SelfAttention', inputs, { heads: o.heads }, 'attention');
  }
  const { width } = o;
  const [q, k, v] = splitLast(net, qkv, [width, width, width], ['q', 'k', 'v']);
  const join = (x: string, more: string | undefined, what: string) => {
    if (more === undefined) return x;
    const count = g.node('Shape', [x], { end: 1 }, `${what}_images`);
    const shape = g.node('Concat', [count, g.ints([1, 1])], { axis: 0 }, `${what}_repeat`);
    const repeated = g.node('Expand', [more, shape], {}, `${what}_bank`);
    return g.node('Concat', [x, repeated], { axis: 1 }, `${what}_joined`);
  };
  return attend(net, q!, join(k!, shared?.keys, 'keys'), join(v!, shared?.values, 'values'), o);
}

/** The first layer of a feed-forward with GEGLU: hidden and gate, side by side. */
export const gegluLayer = (p: Params, width: number): Layer => layerOf(p, 8 * width, width);

/** Feed-forward with GEGLU without its last layer: hidden * gelu(gate). */
export function geglu(net: Net, x: string, p: Params, width: number): string {
  const { g } = net;
  const inner = 4 * width;
  const { name, weight, bias } = gegluLayer(p, width);
  if (net.flavour === 'cpu') {
    return g.own('Geglu', [matmul(net, x, name, weight), g.weight(`${name}.bias`, bias)]);
  }
  const both = matmul(net, x, name, weight, bias);
  const [hidden, gate] = splitLast(net, both, [inner, inner], ['hidden', 'gate']);
  return g.node('Mul', [hidden!, gelu(net, gate!)], {}, 'geglu');
}
