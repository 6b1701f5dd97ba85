import * as W from '../graph/weight.js';
import type { Weight } from '../graph/weight.js';
import {
  addTokens,
  conv,
  convWith,
  groupNormSilu,
  groupNormTokens,
  linearWeight,
} from './layers.js';
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

/** `x` [N, inner, h, w] to [N, out, h, w]. */
export function resnet(net: Net, x: string, p: Params, options: ResnetOptions): string {
  const { g } = net;
  const { inner, out, groups, eps, time } = options;
  let y = within(net, 'norm1', () => groupNormSilu(net, x, p.at('norm1'), inner, groups, eps));
  y = within(net, 'conv1', () => conv(net, y, p.at('conv1'), out, inner));
  y = within(net, 'norm2', () => groupNormSilu(net, y, p.at('norm2'), out, groups, eps, time));
  y = within(net, 'conv2', () => conv(net, y, p.at('conv2'), out, out));
  const shortcut =
    inner === out
      ? x
      : within(net, 'conv_shortcut', () => conv(net, x, p.at('conv_shortcut'), out, inner, 1));
  return g.node('Add', [y, shortcut], {}, 'residual');
}

/**
 * A doubled image repeats every pixel, so a 3x3 convolution of it sees 2x2 different pixels: for
 * each of the four places within a doubled pixel the taps that fall together are added up.
 * [C, C, 3, 3] becomes [4 C, C, 2, 2], in the order above left, above right, below left, below right.
 */
function fourPlaces(weight: Weight, channels: number): Weight {
  const pairs = channels * channels;
  const taps = [
    [[0], [1, 2]],
    [[0, 1], [2]],
  ];
  return W.derive([4 * channels, channels, 2, 2], [weight], (w) => {
    const out = new Float32Array(pairs * 16);
    for (let place = 0; place < 4; place++) {
      const rows = taps[place >> 1]!;
      const columns = taps[place & 1]!;
      for (let pair = 0; pair < pairs; pair++) {
        for (let tap = 0; tap < 4; tap++) {
          let sum = 0;
          for (const y of rows[tap >> 1]!) {
            for (const x of columns[tap & 1]!) sum += w[pair * 9 + y * 3 + x]!;
          }
          out[(place * pairs + pair) * 4 + tap] = sum;
        }
      }
    }
    return out;
  });
}

/**
 * Nearest-neighbour doubling of `x` [N, C, h, w], cut to the height and width of `like` where one
 * is given (a side may have been odd on the way down), then the convolution of an upsampler.
 */
export function upsample(net: Net, x: string, p: Params, channels: number, like?: string): string {
  const { g } = net;
  const layer = p.at('conv');
  if (net.flavour === 'cpu' && like === undefined) {
    const weight = fourPlaces(layer.get('weight', [channels, channels, 3, 3]), channels);
    const bias = layer.get('bias', [channels]);
    const places = within(net, 'conv', () =>
      convWith(net, x, `${layer.prefix}places`, weight, W.concatRows([bias, bias, bias, bias]), {
        pads: [1, 1, 1, 1],
      }),
    );
    return g.own('Interleave', [places], {}, 'double');
  }
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
  return within(net, 'conv', () => conv(net, doubled, layer, channels, channels));
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
  const out = within(net, 'to_out', () => {
    const { weight, bias } = layer('to_out.0', 'proj_attn');
    return matmul(net, mixed, `${p.prefix}to_out.0`, W.transpose(weight), bias);
  });
  return addTokens(net, out, x);
}
