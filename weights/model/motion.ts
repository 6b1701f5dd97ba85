import type { UNetConfig } from './config.js';
import * as W from '../graph/weight.js';
import { attend, cast, foldNorm, layerNorm, matmul, within, type Net } from './layers.js';
import { linearWeight } from './layers.js';
import { feedForward, keyWeight, outLayer, queryWeight } from './transformer.js';
import type { Params } from './source.js';
import type { Place } from './unet.js';

/** The motion norm's group count is fixed in the family. */
export const motionGroups = 32;
const eps = 1e-6;

/** How the frames of a call lie: batches of `frames` frames. */
export interface Clip {
  /** int64 [2]: batch, frames. */
  readonly shape: string;
  /** int64 [1]: frames. */
  readonly frames: string;
}

/** How many frames the position tables of the motion modules hold. */
export function motionFrames(p: Params, config: UNetConfig): number {
  const table =
    'down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder.pe';
  return p.infer(table, [1, -1, config.channels[0]!]).dims[1]!;
}

/**
 * A motion module, `x` [B F, C, h, w] to the same: attention over the frames of each position, as
 * tokens [B h w, F, C].
 */
export function motionModule(
  net: Net,
  x: string,
  place: Place,
  params: Params,
  heads: number,
  maxFrames: number,
  clip: Clip,
): string {
  const { g } = net;
  const width = place.channels;
  const p = params.at(place.block).at(`motion_modules.${place.index}.temporal_transformer`);
  const normal = within(net, 'norm', () => {
    const grouped = g.node(
      'Reshape',
      [cast(net, x, 'float32'), g.ints([0, motionGroups, -1])],
      {},
      'groups',
    );
    const one = g.weight(`ones[${motionGroups}]`, W.filled([motionGroups], 1), 'float32');
    const zero = g.weight(`zeros[${motionGroups}]`, W.filled([motionGroups], 0), 'float32');
    const y = g.node(
      'InstanceNormalization',
      [grouped, one, zero],
      { epsilon: { float: eps } },
      'group_norm',
    );
    return cast(net, y, 'compute');
  });
  const perFrame = within(net, 'tokens', () => {
    const shape = g.node('Concat', [clip.shape, g.ints([width, -1])], { axis: 0 }, 'shape');
    const split = g.node('Reshape', [normal, shape], {}, 'frames');
    const moved = g.node('Transpose', [split], { perm: [0, 3, 1, 2] }, 'positions');
    const flat = g.node('Concat', [g.ints([-1]), clip.frames, g.ints([width])], { axis: 0 }, 'flat');
    return g.node('Reshape', [moved, flat], {}, 'tokens');
  });
  let tokens = within(net, 'proj_in', () => {
    const layer = p.at('proj_in');
    const { weight, bias } = foldNorm(
      p.at('norm'),
      width,
      linearWeight(layer, width, width),
      layer.get('bias', [width]),
    );
    return matmul(net, perFrame, `${p.prefix}proj_in`, weight, bias);
  });
  const blocks = p.count((i) => `transformer_blocks.${i}.ff_norm.weight`);
  for (let b = 0; b < Math.max(1, blocks); b++) {
    const block = p.at('transformer_blocks').at(b);
    const attentions = block.count((i) => `attention_blocks.${i}.to_q.weight`);
    for (let i = 0; i < Math.max(1, attentions); i++) {
      tokens = within(net, `attention_blocks.${i}`, () => {
        const attn = block.at('attention_blocks').at(i);
        const n = within(net, 'norm', () =>
          layerNorm(net, tokens, block.at('norms').at(i), width),
        );
        const table = W.reshape(attn.get('pos_encoder.pe', [1, maxFrames, width]), [
          maxFrames,
          width,
        ]);
        const positions = g.node(
          'Slice',
          [g.weight(`${attn.prefix}pos_encoder`, table), g.ints([0]), clip.frames, g.ints([0])],
          {},
          'positions',
        );
        const placed = g.node('Add', [n, positions], {}, 'with_position');
        const name = attn.prefix;
        const q = matmul(net, placed, `${name}to_q`, queryWeight(attn, width, heads));
        const k = matmul(net, placed, `${name}to_k`, keyWeight(attn, 'to_k', width));
        const v = matmul(net, placed, `${name}to_v`, keyWeight(attn, 'to_v', width));
        const mixed = attend(net, q, k, v, { heads, width });
        const out = outLayer(net, mixed, attn, width);
        return g.node('Add', [tokens, out], {}, 'residual');
      });
    }
    tokens = feedForward(net, tokens, block.at('ff_norm'), block.at('ff'), width);
  }
  return within(net, 'proj_out', () => {
    const layer = p.at('proj_out');
    const weight = W.transpose(linearWeight(layer, width, width));
    const out = matmul(net, tokens, `${p.prefix}proj_out`, weight, layer.get('bias', [width]));
    const batch = g.node('Slice', [clip.shape, g.ints([0]), g.ints([1])], {}, 'batch');
    const shape = g.node(
      'Concat',
      [batch, g.ints([-1]), clip.frames, g.ints([width])],
      { axis: 0 },
      'split',
    );
    const split = g.node('Reshape', [out, shape], {}, 'positions');
    const back = g.node('Transpose', [split], { perm: [0, 2, 3, 1] }, 'channels');
    const image = g.node('Reshape', [back, g.node('Shape', [x], {}, 'shape')], {}, 'image');
    return g.node('Add', [image, x], {}, 'residual');
  });
}
