import type { UNetConfig } from './config.js';
import * as W from '../graph/weight.js';
import { attend, matmul, residualNorm, splitLast, within, type Net } from './layers.js';
import { enter, leave, outLayer, qkvWeight } from './transformer.js';
import type { Params } from './source.js';
import type { Place } from './unet.js';

/** The motion norm's group count is fixed in the family. */
export const motionGroups = 32;

/** How the frames of a call lie. */
export interface Clip {
  /** int64 [2]: batch, frames. */
  readonly shape: string;
  /** int64 [1]: frames. */
  readonly frames: string;
}

export interface MotionOptions {
  readonly heads: number;
  /** Length of the position tables. */
  readonly maxFrames: number;
}

/** How many frames the position tables of the motion modules hold. */
export function motionFrames(p: Params, config: UNetConfig): number {
  const table =
    'down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder.pe';
  return p.infer(table, [1, -1, config.channels[0]!]).dims[1]!;
}

/** Tokens [N, h w, C] as [B h w, F, C] and back, where attention is by standard operators. */
function perPosition(net: Net, tokens: string, clip: Clip, width: number): string {
  const { g } = net;
  const shape = g.node('Concat', [clip.shape, g.ints([-1, width])], { axis: 0 }, 'clip_shape');
  const split = g.node('Reshape', [tokens, shape], {}, 'by_clip');
  const moved = g.node('Transpose', [split], { perm: [0, 2, 1, 3] }, 'by_position');
  const flat = g.node('Concat', [g.ints([-1]), clip.frames, g.ints([width])], { axis: 0 }, 'flat');
  return g.node('Reshape', [moved, flat], {}, 'per_position');
}

function perFrame(net: Net, tokens: string, like: string, clip: Clip, width: number): string {
  const { g } = net;
  const batch = g.node('Slice', [clip.shape, g.ints([0]), g.ints([1])], {}, 'batch');
  const rest = [g.ints([-1]), clip.frames, g.ints([width])];
  const shape = g.node('Concat', [batch, ...rest], { axis: 0 }, 'position_shape');
  const split = g.node('Reshape', [tokens, shape], {}, 'split_positions');
  const moved = g.node('Transpose', [split], { perm: [0, 2, 1, 3] }, 'by_frame');
  return g.node('Reshape', [moved, g.node('Shape', [like], {}, 'like')], {}, 'per_frame');
}

function frameAttention(
  net: Net,
  normal: string,
  attn: Params,
  width: number,
  o: MotionOptions,
  clip: Clip,
): string {
  const { g } = net;
  const weight = qkvWeight(attn, width, o.heads);
  const name = `${attn.prefix}to_qkv`;
  const qkv = matmul(net, normal, name, weight);
  // The layer is linear: a position added to its input is this added to its output. Both factors
  // are constant, so runtimes compute the product when they load the graph.
  const places = attn.get('pos_encoder.pe', [1, o.maxFrames, width]);
  const rows = W.reshape(places, [o.maxFrames, width]);
  const table = g.node(
    'MatMul',
    [g.weight(`${attn.prefix}pos_encoder.pe`, rows), g.weight(`${name}.weight`, weight)],
    {},
    'position_table',
  );
  if (net.flavour === 'cpu') {
    return g.own('FrameAttention', [qkv, table, clip.shape], { heads: o.heads }, 'attention');
  }
  const used = [table, g.ints([0]), clip.frames, g.ints([0])];
  const positions = g.node('Slice', used, {}, 'positions');
  const placed = g.node('Add', [qkv, positions], {}, 'with_position');
  const [q, k, v] = splitLast(net, placed, [width, width, width], ['q', 'k', 'v']);
  return attend(net, q!, k!, v!, { heads: o.heads, width });
}

/**
 * A motion module, `x` [B F, C, h, w] to the same: attention over the frames of each position.
 */
export function motionModule(
  net: Net,
  x: string,
  place: Place,
  params: Params,
  o: MotionOptions,
  clip: Clip,
): string {
  const width = place.channels;
  const p = params.at(place.block).at(`motion_modules.${place.index}.temporal_transformer`);
  const block = p.at('transformer_blocks.0');
  const standard = net.flavour === 'standard';
  const start = enter(net, x, p, block.at('norms.0'), width, motionGroups, (y) =>
    standard ? perPosition(net, y, clip, width) : y,
  );
  let { tokens, normal } = start;
  const count = Math.max(
    1,
    block.count((i) => `attention_blocks.${i}.to_q.weight`),
  );
  for (let i = 0; i < count; i++) {
    within(net, `attention_blocks.${i}`, () => {
      const attn = block.at('attention_blocks').at(i);
      const next = i + 1 < count ? block.at('norms').at(i + 1) : block.at('ff_norm');
      const mixed = frameAttention(net, normal, attn, width, o, clip);
      const out = outLayer(attn, width);
      ({ tokens, normal } = residualNorm(net, tokens, mixed, out, next, width));
    });
  }
  return leave(net, tokens, normal, x, p, block.at('ff'), width, (y) =>
    standard ? perFrame(net, y, start.images, clip, width) : y,
  );
}
