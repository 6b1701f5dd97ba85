import * as W from '../graph/weight.js';
import type { Weight } from '../graph/weight.js';
import { attend, foldNorm, geglu, groupNormChannels, layerNorm, matmul } from './layers.js';
import { linearWeight, within, type Net } from './layers.js';
import type { Params } from './source.js';

const transformerEps = 1e-6;
export const audioGain = 3;

/** Keys and values that a reference attention adds to the denoiser's own. */
export interface BankEntry {
  readonly keys: string;
  readonly values: string;
}

/** Names of an attention's bank tensors. */
export const bankNames = (attention: string): BankEntry => ({
  keys: `bank.${attention}.keys`,
  values: `bank.${attention}.values`,
});

export interface SpatialOptions {
  readonly channels: number;
  readonly heads: number;
  readonly groups: number;
}

/** GroupNorm and proj_in of a transformer, `x` [N, C, h, w] to tokens [N, h w, C]. */
export function enter(net: Net, x: string, p: Params, o: SpatialOptions): string {
  const normal = within(net, 'norm', () =>
    groupNormChannels(net, x, o.channels, o.groups, transformerEps),
  );
  return within(net, 'proj_in', () => {
    const tokens = net.g.node('Transpose', [normal], { perm: [0, 2, 1] }, 'tokens');
    const layer = p.at('proj_in');
    const { weight, bias } = foldNorm(
      p.at('norm'),
      o.channels,
      linearWeight(layer, o.channels, o.channels),
      layer.get('bias', [o.channels]),
    );
    return matmul(net, tokens, `${p.prefix}proj_in`, weight, bias);
  });
}

/** proj_out and residual of a transformer, tokens to [N, C, h, w]. */
export function leave(net: Net, tokens: string, x: string, p: Params, channels: number): string {
  const { g } = net;
  return within(net, 'proj_out', () => {
    const layer = p.at('proj_out');
    const weight = W.transpose(linearWeight(layer, channels, channels));
    const out = matmul(net, tokens, `${p.prefix}proj_out`, weight, layer.get('bias', [channels]));
    const back = g.node('Transpose', [out], { perm: [0, 2, 1] }, 'channels');
    const image = g.node('Reshape', [back, g.node('Shape', [x], {}, 'shape')], {}, 'image');
    return g.node('Add', [image, x], {}, 'residual');
  });
}

export function feedForward(net: Net, x: string, norm: Params, ff: Params, width: number): string {
  return within(net, 'ff', () => {
    const n = layerNorm(net, x, norm, width);
    const hidden = geglu(net, n, ff.at('net.0.proj'), width);
    const last = ff.at('net.2');
    const weight = W.transpose(last.get('weight', [width, 4 * width]));
    const out = matmul(net, hidden, last.prefix.slice(0, -1), weight, last.get('bias', [width]));
    return net.g.node('Add', [x, out], {}, 'residual');
  });
}

/** The query layer with the attention's scale moved in, [in, out]. */
export function queryWeight(attn: Params, width: number, heads: number): Weight {
  const scale = (width / heads) ** -0.5;
  return W.scale(W.transpose(attn.get('to_q.weight', [width, width])), scale);
}

export function keyWeight(attn: Params, name: 'to_k' | 'to_v', width: number, inner = width) {
  return W.transpose(attn.get(`${name}.weight`, [width, inner]));
}

/** The output layer with an optional factor moved in. */
export function outLayer(net: Net, x: string, attn: Params, width: number, gain = 1): string {
  return within(net, 'to_out', () => {
    const out = attn.at('to_out.0');
    const weight = W.transpose(out.get('weight', [width, width]));
    const bias = out.get('bias', [width]);
    return gain === 1
      ? matmul(net, x, out.prefix.slice(0, -1), weight, bias)
      : matmul(net, x, out.prefix.slice(0, -1), W.scale(weight, gain), W.scale(bias, gain));
  });
}

/**
 * Self-attention of `n` (after its norm) over its own tokens and, when given, the bank's, which
 * are the same for every frame: [1, L, width].
 */
export function selfAttention(
  net: Net,
  n: string,
  attn: Params,
  width: number,
  heads: number,
  bank?: BankEntry,
): string {
  const { g } = net;
  const name = attn.prefix;
  const q = within(net, 'to_q', () => matmul(net, n, `${name}to_q`, queryWeight(attn, width, heads)));
  const own = (key: 'to_k' | 'to_v') =>
    within(net, key, () => matmul(net, n, name + key, keyWeight(attn, key, width)));
  const join = (x: string, shared: string | undefined, what: string) => {
    if (shared === undefined) return x;
    const frames = g.node('Shape', [x], { end: 1 }, `${what}_frames`);
    const shape = g.node('Concat', [frames, g.ints([1, 1])], { axis: 0 }, `${what}_repeat`);
    const repeated = g.node('Expand', [shared, shape], {}, `${what}_bank`);
    return g.node('Concat', [x, repeated], { axis: 1 }, `${what}_joined`);
  };
  const k = join(own('to_k'), bank?.keys, 'keys');
  const v = join(own('to_v'), bank?.values, 'values');
  return outLayer(net, attend(net, q, k, v, { heads, width }), attn, width);
}
