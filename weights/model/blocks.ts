import * as W from '../graph/weight.js';
import { addTokens, conv, convolution, sidesOf } from './images.js';
import { groupNormSilu, groupNormTokens, linearWeight } from './layers.js';
import { matmul, selfAttend, within, type Net } from './layers.js';
import type { Params } from './source.js';

export interface ResnetOptions {
  readonly inner: number;
  readonly out: number;
  readonly groups: number;
  readonly eps: number;
  /** A [1, out, 1, 1] tensor, added after the first convolution. */
  readonly time?: string | undefined;
}

/** Images of `inner` channels to images of `out`. */
export function resnet(net: Net, x: string, p: Params, options: ResnetOptions): string {
  const { inner, out, groups, eps, time } = options;
  let y = within(net, 'norm1', () => groupNormSilu(net, x, p.at('norm1'), inner, groups, eps));
  y = within(net, 'conv1', () => conv(net, y, p.at('conv1'), out, inner));
  y = within(net, 'norm2', () => groupNormSilu(net, y, p.at('norm2'), out, groups, eps, time));
  const skip =
    inner === out
      ? x
      : within(net, 'conv_shortcut', () => conv(net, x, p.at('conv_shortcut'), out, inner, 1));
  return within(net, 'conv2', () => conv(net, y, p.at('conv2'), out, out, 3, { skip }));
}

/**
 * Nearest-neighbour doubling of images, cut to the height and width of `like` where one
 * is given (a side may have been odd on the way down), then the convolution of an upsampler.
 */
export function upsample(net: Net, x: string, p: Params, channels: number, like?: string): string {
  const { g } = net;
  const layer = p.at('conv');
  if (net.flavour === 'cpu') {
    const weights = [
      g.weight(`${layer.prefix}weight`, layer.get('weight', [channels, channels, 3, 3])),
      g.weight(`${layer.prefix}bias`, layer.get('bias', [channels])),
    ];
    const size = like === undefined ? [] : ['', sidesOf(net, like)];
    const how = { stride: 1, pads: [1, 1, 1, 1], double: 1 };
    return g.own(convolution(net), [x, ...weights, ...size], how, 'conv');
  }
  const how = {
    mode: 'nearest',
    coordinate_transformation_mode: 'asymmetric',
    nearest_mode: 'floor',
  };
  let doubled = g.node('Resize', [x, '', g.floats([1, 1, 2, 2])], how, 'double');
  if (like !== undefined) {
    const size = sidesOf(net, like);
    doubled = g.node('Slice', [doubled, g.ints([0, 0]), size, g.ints([2, 3])], {}, 'cut');
  }
  return within(net, 'conv', () => conv(net, doubled, layer, channels, channels));
}

/** The VAE's one-headed attention over all positions of images. */
export function vaeAttention(
  net: Net,
  x: string,
  p: Params,
  channels: number,
  groups: number,
): string {
  const { g } = net;
  const tokens = within(net, 'group_norm', () => groupNormTokens(net, x, channels, groups, 1e-6));
  // names before and after the family renamed its attention layers
  const layer = (name: string, old: string) => {
    const key = [name, old].find((n) => p.has(`${n}.weight`)) ?? name;
    const at = p.at(key);
    return { weight: linearWeight(at, channels, channels), bias: at.get('bias', [channels]) };
  };
  const [q, k, v] = [layer('to_q', 'query'), layer('to_k', 'key'), layer('to_v', 'value')];
  const scale = channels ** -0.5;
  const weights = W.concatRows([W.scale(q.weight, scale), k.weight, v.weight]);
  const biases = W.concatRows([W.scale(q.bias, scale), k.bias, v.bias]);
  const norm = p.at('group_norm');
  const folded = {
    weight: W.transpose(W.scaleColumns(weights, norm.get('weight', [channels]))),
    bias: W.apply(weights, norm.get('bias', [channels]), biases),
  };
  const qkv = within(net, 'to_qkv', () =>
    matmul(net, tokens, `${p.prefix}to_qkv`, folded.weight, folded.bias),
  );
  const images = g.node('Shape', [x], { end: 1 }, 'images');
  const mixed = selfAttend(net, qkv, images, { heads: 1, width: channels });
  return within(net, 'to_out', () => {
    const { weight, bias } = layer('to_out.0', 'proj_attn');
    const out = { name: `${p.prefix}to_out.0`, weight: W.transpose(weight), bias };
    return addTokens(net, mixed, out, x);
  });
}
