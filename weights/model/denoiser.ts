import { Graph, type Precision } from '../graph/builder.js';
import type { DataFile } from '../graph/data-file.js';
import * as W from '../graph/weight.js';
import type { UNetConfig } from './config.js';
import { attend, cast, conv, groupNormSilu, layerNorm, matmul, within } from './layers.js';
import type { Flavour, Net } from './layers.js';
import { motionFrames, motionModule, type Clip } from './motion.js';
import type { Params } from './source.js';
import * as T from './transformer.js';
import { layoutOf, walk, type Place } from './unet.js';

export interface DenoiserOptions {
  readonly config: UNetConfig;
  readonly motionHeads: number;
  /** Width of the audio features. */
  readonly audioWidth: number;
  /** Audio tokens per frame. */
  readonly audioTokens: number;
  /** Without audio, face and reference: the half that guidance subtracts. */
  readonly unconditional: boolean;
  readonly precision: Precision;
  readonly flavour: Flavour;
}

/** Names of all attentions that have a bank, in the order of the network. */
export function attentionNames(config: UNetConfig): string[] {
  const { down, mid, up } = layoutOf(config);
  return [
    ...down.flatMap((level) => (level.attention ? level.resnets.map((_, i) => [level, i]) : [])),
    [mid, 0],
    ...up.flatMap((level) => (level.attention ? level.resnets.map((_, i) => [level, i]) : [])),
  ].map((pair) => {
    const [level, i] = pair as [(typeof down)[number], number];
    return `${level.block}.attentions.${i}`;
  });
}

function transformer(
  net: Net,
  x: string,
  place: Place,
  params: Params,
  o: DenoiserOptions,
  audio: string | undefined,
): string {
  const { g } = net;
  const { channels, heads } = place;
  const name = `${place.block}.attentions.${place.index}`;
  const p = params.at(name);
  const block = p.at('transformer_blocks.0');
  let tokens = T.enter(net, x, p, { channels, heads, groups: o.config.groups });
  const norm1 = within(net, 'norm1', () => layerNorm(net, tokens, block.at('norm1'), channels));
  const attn2 = block.at('attn2');
  const audioShape = [channels, o.audioWidth];
  if (audio === undefined) {
    const extra = W.scale(attn2.get('to_out.0.bias', [channels]), T.audioGain);
    const self = within(net, 'attn1', () => {
      const out = T.selfAttention(net, norm1, block.at('attn1'), channels, heads);
      const bias = g.weight(`${attn2.prefix}silent`, extra);
      return g.node('Add', [out, bias], {}, 'silent_audio');
    });
    tokens = g.node('Add', [tokens, self], {}, 'attn1_residual');
    attn2.get('to_q.weight', [channels, channels]);
    attn2.get('to_k.weight', audioShape);
    attn2.get('to_v.weight', audioShape);
    attn2.get('to_out.0.weight', [channels, channels]);
    block.get('norm2.weight', [channels]);
    block.get('norm2.bias', [channels]);
  } else {
    const bank = T.bankNames(name);
    const entry = {
      keys: cast(net, g.input(bank.keys, [1, `tokens.${name}`, channels]), 'compute'),
      values: cast(net, g.input(bank.values, [1, `tokens.${name}`, channels]), 'compute'),
    };
    const self = within(net, 'attn1', () =>
      T.selfAttention(net, norm1, block.at('attn1'), channels, heads, entry),
    );
    tokens = g.node('Add', [tokens, self], {}, 'attn1_residual');
    const norm2 = within(net, 'norm2', () => layerNorm(net, tokens, block.at('norm2'), channels));
    const heard = within(net, 'attn2', () => {
      const q = matmul(net, norm2, `${attn2.prefix}to_q`, T.queryWeight(attn2, channels, heads));
      const project = (key: 'to_k' | 'to_v') =>
        matmul(net, audio, attn2.prefix + key, T.keyWeight(attn2, key, channels, o.audioWidth));
      const mixed = attend(net, q, project('to_k'), project('to_v'), { heads, width: channels });
      return T.outLayer(net, mixed, attn2, channels, T.audioGain);
    });
    tokens = g.node('Add', [tokens, heard], {}, 'attn2_residual');
  }
  tokens = T.feedForward(net, tokens, block.at('norm3'), block.at('ff'), channels);
  return T.leave(net, tokens, x, p, channels);
}

/**
 * The denoising UNet on B windows of F frames.
 *
 * `sample` [B, F, 4, h, w] noisy latents, `timestep` [1] 0..999; conditional also `audio`
 * [B, F, tokens, width] (the ten encoder positions around each frame, flattened), `face` [C0, h, w]
 * and the bank tensors of the reference graph. `v` [B, F, 4, h, w]. F is at most the length of the
 * motion modules' position table; h and w are free.
 */
export function buildDenoiser(p: Params, data: DataFile, o: DenoiserOptions): Graph {
  const name = o.unconditional ? 'denoiser_unconditional' : 'denoiser';
  const g = new Graph(name, data, o.precision);
  const net: Net = { g, flavour: o.flavour };
  const { config } = o;
  const { inChannels, outChannels, channels, groups, eps } = config;
  const maxFrames = motionFrames(p, config);
  const sample = g.input('sample', ['batch', 'frames', inChannels, 'height', 'width']);
  const timestep = g.input('timestep', [1]);
  let audio: string | undefined;
  let face: string | undefined;
  if (!o.unconditional) {
    const dims = ['batch', 'frames', o.audioTokens, o.audioWidth];
    const flat = g.ints([-1, o.audioTokens, o.audioWidth]);
    const heard = cast(net, g.input('audio', dims), 'compute');
    audio = g.node('Reshape', [heard, flat], {}, 'audio_per_frame');
    face = cast(net, g.input('face', [channels[0]!, 'height', 'width']), 'compute');
  }
  const clip: Clip = {
    shape: g.node('Shape', [sample], { end: 2 }, 'batch_and_frames'),
    frames: g.node('Shape', [sample], { start: 1, end: 2 }, 'frames_of_a_window'),
  };
  const size = g.node('Shape', [sample], { start: 2 }, 'latent_shape');
  const merged = g.node('Concat', [g.ints([-1]), size], { axis: 0 }, 'frame_shape');
  const frames = g.node('Reshape', [cast(net, sample, 'compute'), merged], {}, 'frames_as_images');
  let x = within(net, 'conv_in', () => conv(net, frames, p.at('conv_in'), channels[0]!, inChannels));
  if (face !== undefined) x = g.node('Add', [x, face], {}, 'add_face');
  x = walk(net, x, timestep, p, config, {
    attention: (y, place) => transformer(net, y, place, p, o, audio),
    motion: (y, place) => motionModule(net, y, place, p, o.motionHeads, maxFrames, clip),
  });
  x = within(net, 'conv_norm_out', () =>
    groupNormSilu(net, x, p.at('conv_norm_out'), channels[0]!, groups, eps),
  );
  x = within(net, 'conv_out', () => conv(net, x, p.at('conv_out'), outChannels, channels[0]!));
  const shape = g.node('Shape', [sample], {}, 'sample_shape');
  const v = g.node('Reshape', [cast(net, x, 'float32'), shape], {}, 'prediction');
  g.output('v', v, ['batch', 'frames', outChannels, 'height', 'width']);
  return g;
}
