import type { Graph } from '../graph/builder.js';
import * as W from '../graph/weight.js';
import type { Weight } from '../graph/weight.js';
import type { Params } from './source.js';

/**
 * Which operators a graph may use: the standard ones, which every runtime and TensorRT read, or
 * also ONNX Runtime's own, which its CPU provider runs faster.
 */
export type Flavour = 'standard' | 'cpu';

export interface Net {
  readonly g: Graph;
  readonly flavour: Flavour;
}

/** Runs `body` with node names under `name`. */
export const within = <T>(net: Net, name: string, body: () => T): T => net.g.scope(name, body);

/** `x W + b` on the last axis; `weight` is [in, out] as MatMul wants it. */
export function matmul(net: Net, x: string, name: string, weight: Weight, bias?: Weight): string {
  const { g } = net;
  const w = g.weight(`${name}.weight`, weight);
  const y = g.node('MatMul', [x, w], {}, 'matmul');
  if (!bias) return y;
  return g.node('Add', [y, g.weight(`${name}.bias`, bias)], {}, 'bias');
}

/** A linear layer of the checkpoint; a 1x1 convolution is one too. */
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

export interface ConvOptions {
  readonly stride?: number;
  /** Top, left, bottom, right. */
  readonly pads?: readonly number[];
}

export function convWith(
  net: Net,
  x: string,
  name: string,
  weight: Weight,
  bias: Weight | undefined,
  options: ConvOptions = {},
): string {
  const { g } = net;
  const kernel = weight.dims.slice(2);
  const stride = options.stride ?? 1;
  const inputs = [x, g.weight(`${name}.weight`, weight)];
  if (bias) inputs.push(g.weight(`${name}.bias`, bias));
  const same = kernel.map((k) => (k - 1) / 2);
  return g.node(
    'Conv',
    inputs,
    {
      kernel_shape: kernel,
      strides: kernel.map(() => stride),
      pads: options.pads ?? [...same, ...same],
    },
    'conv',
  );
}

/** A square convolution of the checkpoint, padded to keep the size unless told otherwise. */
export function conv(
  net: Net,
  x: string,
  p: Params,
  out: number,
  inner: number,
  kernel = 3,
  options: ConvOptions = {},
): string {
  const weight = p.get('weight', [out, inner, kernel, kernel]);
  return convWith(net, x, p.prefix.slice(0, -1), weight, p.get('bias', [out]), options);
}

export function silu(net: Net, x: string): string {
  const { g } = net;
  if (net.flavour === 'cpu') return g.contrib('QuickGelu', [x], { alpha: { float: 1 } }, 'silu');
  return g.node('Mul', [x, g.node('Sigmoid', [x], {}, 'sigmoid')], {}, 'silu');
}

/** The exact (erf) Gelu. */
export function gelu(net: Net, x: string): string {
  const { g } = net;
  if (net.flavour === 'cpu') return g.contrib('Gelu', [x], {}, 'gelu');
  const half = g.node('Mul', [x, g.scalar(0.5)], {}, 'half');
  const erf = g.node('Erf', [g.node('Mul', [x, g.scalar(Math.SQRT1_2)], {}, 'scaled')], {}, 'erf');
  return g.node('Mul', [half, g.node('Add', [erf, g.scalar(1)], {}, 'shifted')], {}, 'gelu');
}

const toFloat = { to: 1 };
const toHalf = { to: 10 };

export const cast = (net: Net, x: string, to: 'float32' | 'compute'): string => {
  if (net.g.precision === 'fp32') return x;
  return net.g.node('Cast', [x], to === 'float32' ? toFloat : toHalf, `to_${to}`);
};

/**
 * Normalised groups of channels of `x` [N, C, ...], without gain and bias, as [N, groups, rest].
 * The statistics are float32 in every precision.
 */
function normalisedGroups(net: Net, x: string, groups: number, eps: number): string {
  const { g } = net;
  const grouped = g.node('Reshape', [cast(net, x, 'float32'), g.ints([0, groups, -1])], {}, 'groups');
  const one = g.weight(`ones[${groups}]`, W.filled([groups], 1), 'float32');
  const zero = g.weight(`zeros[${groups}]`, W.filled([groups], 0), 'float32');
  const normal = g.node(
    'InstanceNormalization',
    [grouped, one, zero],
    { epsilon: { float: eps } },
    'group_norm',
  );
  return normal;
}

/** SiLU(GroupNorm(x)) of `x` [N, C, h, w]. */
export function groupNormSilu(
  net: Net,
  x: string,
  p: Params,
  channels: number,
  groups: number,
  eps: number,
): string {
  const { g } = net;
  const name = p.prefix.slice(0, -1);
  const gain = p.get('weight', [channels]);
  const bias = p.get('bias', [channels]);
  const column = [channels, 1, 1];
  const normal = normalisedGroups(net, x, groups, eps);
  const shaped = g.node('Reshape', [normal, g.node('Shape', [x], {}, 'shape')], {}, 'ungroup');
  const half = cast(net, shaped, 'compute');
  const scaled = g.node(
    'Mul',
    [half, g.weight(`${name}.gain`, W.reshape(gain, column))],
    {},
    'gain',
  );
  const shifted = g.node(
    'Add',
    [scaled, g.weight(`${name}.bias`, W.reshape(bias, column))],
    {},
    'bias',
  );
  return silu(net, shifted);
}

/** GroupNorm without its gain and bias, `x` [N, C, h, w] to [N, C, h w]. */
export function groupNormChannels(
  net: Net,
  x: string,
  channels: number,
  groups: number,
  eps: number,
): string {
  const normal = normalisedGroups(net, x, groups, eps);
  const { g } = net;
  return cast(net, g.node('Reshape', [normal, g.ints([0, channels, -1])], {}, 'ungroup'), 'compute');
}

/** The linear layer `next` with the gain and bias of the norm before it moved in: [in, out] and bias. */
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

export function layerNorm(net: Net, x: string, p: Params, width: number): string {
  const { g } = net;
  const name = p.prefix.slice(0, -1);
  const gain = g.weight(`${name}.gain`, p.get('weight', [width]));
  const bias = g.weight(`${name}.bias`, p.get('bias', [width]));
  return g.node(
    'LayerNormalization',
    [x, gain, bias],
    { axis: -1, epsilon: { float: 1e-5 } },
    'layer_norm',
  );
}

export interface AttendOptions {
  readonly heads: number;
  readonly width: number;
  /** Whether 1 / sqrt(head width) is already part of the query weights. */
}

/**
 * Softmax(q k^T / sqrt(d)) v over `q` [N, S, width], `k` and `v` [N, L, width]. The scale is part
 * of the query's weights already.
 */
export function attend(
  net: Net,
  q: string,
  k: string,
  v: string,
  { heads, width }: AttendOptions,
): string {
  const { g } = net;
  if (net.flavour === 'cpu') {
    return g.contrib(
      'MultiHeadAttention',
      [q, k, v],
      { num_heads: heads, scale: { float: 1 } },
      'attention',
    );
  }
  const split = (x: string, perm: number[], name: string) => {
    const parts = g.node('Reshape', [x, g.ints([0, 0, heads, width / heads])], {}, `${name}_heads`);
    return g.node('Transpose', [parts], { perm }, name);
  };
  const scores = g.node(
    'MatMul',
    [split(q, [0, 2, 1, 3], 'q'), split(k, [0, 2, 3, 1], 'k')],
    {},
    'scores',
  );
  const weights = softmax(net, scores);
  const mixed = g.node('MatMul', [weights, split(v, [0, 2, 1, 3], 'v')], {}, 'mixed');
  const joined = g.node('Transpose', [mixed], { perm: [0, 2, 1, 3] }, 'joined');
  return g.node('Reshape', [joined, g.ints([0, 0, width])], {}, 'attention');
}

/** Over the last axis, in float32 in every precision. */
export function softmax(net: Net, x: string): string {
  const wide = cast(net, x, 'float32');
  return cast(net, net.g.node('Softmax', [wide], { axis: -1 }, 'softmax'), 'compute');
}

/** Feed-forward with GEGLU, without the last bias and residual: hidden * gelu(gate). */
export function geglu(net: Net, x: string, p: Params, width: number): string {
  const inner = 4 * width;
  const weight = p.get('weight', [2 * inner, width]);
  const bias = p.get('bias', [2 * inner]);
  const half = (from: number, name: string) =>
    within(net, name, () =>
      matmul(
        net,
        x,
        `${p.prefix}${name}`,
        W.transpose(W.sliceRows(weight, from, from + inner)),
        W.sliceRows(bias, from, from + inner),
      ),
    );
  const hidden = half(0, 'hidden');
  const gate = half(inner, 'gate');
  return net.g.node('Mul', [hidden, gelu(net, gate)], {}, 'geglu');
}
