import * as W from '../graph/weight.js';
import { conv, foldNorm, groupNormChannels, groupNormSilu, within } from './layers.js';
import { attend, matmul, type Net } from './layers.js';
import type { Params } from './source.js';

export interface ResnetOptions {
  readonly inner: number;
  readonly out: number;
  readonly groups: number;
  readonly eps: number;
  /** A [1, out, 1, 1] tensor, added after the first convolution. */
  readonly time?: string | undefined;
}

/** `x` [N, inner, h, w] to [N, out, h, w]. */
export function resnet(net: Net, x: string, p: Params, options: ResnetOptions): string {
  const { g } = net;
  const { inner, out, groups, eps, time } = options;
  let y = within(net, 'norm1', () => groupNormSilu(net, x, p.at('norm1'), inner, groups, eps));
  y = within(net, 'conv1', () => conv(net, y, p.at('conv1'), out, inner));
  if (time !== undefined) y = g.node('Add', [y, time], {}, 'add_time');
  y = within(net, 'norm2', () => groupNormSilu(net, y, p.at('norm2'), out, groups, eps));
  y = within(net, 'conv2', () => conv(net, y, p.at('conv2'), out, out));
  const shortcut =
    inner === out
      ? x
      : within(net, 'conv_shortcut', () => conv(net, x, p.at('conv_shortcut'), out, inner, 1));
  return g.node('Add', [y, shortcut], {}, 'residual');
}

/**
 * Nearest-neighbour doubling of `x` [N, C, h, w], cut to the height and width of `like` where one
 * is given (a side may have been odd on the way down), then the convolution of an upsampler.
 */
export function upsample(
  net: Net,
  x: string,
  p: Params,
  channels: number,
  like?: string,
): string {
  const { g } = net;
  const how = {
    mode: 'nearest',
    coordinate_transformation_mode: 'asymmetric',
    nearest_mode: 'floor',
  };
  let doubled = g.node('Resize', [x, '', g.floats([1, 1, 2, 2])], how, 'double');
  if (like !== undefined) {
    const size = g.node('Shape', [like], { start: 2 }, 'size');
    doubled = g.node('Slice', [doubled, g.ints([0, 0]), size, g.ints([2, 3])], {}, 'cut');
  }
  return within(net, 'conv', () => conv(net, doubled, p.at('conv'), channels, channels));
}

/** The VAE's one-headed attention over all positions, `x` [N, C, h, w]. */
export function vaeAttention(
  net: Net,
  x: string,
  p: Params,
  channels: number,
  groups: number,
): string {
  const { g } = net;
  const normal = within(net, 'group_norm', () =>
    groupNormChannels(net, x, channels, groups, 1e-6),
  );
  const tokens = g.node('Transpose', [normal], { perm: [0, 2, 1] }, 'tokens');
  const square = [channels, channels];
  // names before and after the family renamed its attention layers
  const layer = (name: string, old: string) => {
    const isMatrix = (key: string) => !p.has(key) || p.source.shape(p.prefix + key).length === 2;
    const dims = isMatrix(`${name}.weight`) && isMatrix(`${old}.weight`) ? square : [...square, 1, 1];
    return {
      weight: W.reshape(p.get(`${name}.weight`, dims, [`${old}.weight`]), square),
      bias: p.get(`${name}.bias`, [channels], [`${old}.bias`]),
    };
  };
  const project = (name: string, old: string, factor: number) =>
    within(net, name, () => {
      const { weight, bias } = layer(name, old);
      const folded = foldNorm(p.at('group_norm'), channels, weight, bias);
      const scaled = factor === 1 ? folded.weight : W.scale(folded.weight, factor);
      const shift = factor === 1 ? folded.bias : W.scale(folded.bias, factor);
      return matmul(net, tokens, p.prefix + name, scaled, shift);
    });
  const q = project('to_q', 'query', channels ** -0.5);
  const k = project('to_k', 'key', 1);
  const v = project('to_v', 'value', 1);
  const mixed = attend(net, q, k, v, { heads: 1, width: channels });
  const out = within(net, 'to_out', () => {
    const { weight, bias } = layer('to_out.0', 'proj_attn');
    return matmul(net, mixed, `${p.prefix}to_out.0`, W.transpose(weight), bias);
  });
  const back = g.node('Transpose', [out], { perm: [0, 2, 1] }, 'channels');
  const shape = g.node('Shape', [x], {}, 'shape');
  const image = g.node('Reshape', [back, shape], {}, 'image');
  return g.node('Add', [image, x], {}, 'residual');
}

