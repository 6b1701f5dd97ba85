import { Graph, type Precision } from '../graph/builder.js';
import type { DataFile } from '../graph/data-file.js';
import * as W from '../graph/weight.js';
import type { UNetConfig } from './config.js';
import { conv, fromImages, toImages } from './images.js';
import { attend, cast, computeType, exactly, groupNormSilu, matmul } from './layers.js';
import { partsOf, residualNorm, selfAttend, within } from './layers.js';
import type { Flavour, Net, Shared } from './layers.js';
import { motionFrames, motionModule, type Clip } from './motion.js';
import type { Params } from './source.js';
import * as T from './transformer.js';
import { layoutOf, walk, type Place } from './unet.js';

/** Frames of a window, unless a clip says otherwise or the position table is shorter. */
export const windowFrames = 12;

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
  readonly int8?: boolean;
}

/** All attentions that have a bank, in the order of the network. */
export function attentionPlaces(config: UNetConfig): { name: string; channels: number }[] {
  const { down, mid, up } = layoutOf(config);
  return [...down, { ...mid, resnets: [0] }, ...up].flatMap((level) =>
    level.attention
      ? level.resnets.map((_, i) => ({
          name: `${level.block}.attentions.${i}`,
          channels: level.channels,
        }))
      : [],
  );
}

/** Keys and values of the audio for every attention, side by side. */
interface Heard {
  readonly tokens: string;
  /** First column of an attention's keys, by its path. */
  readonly columns: ReadonlyMap<string, number>;
  /** In graphs of standard operators: keys and values by path. */
  readonly parts: ReadonlyMap<string, { keys: string; values: string }>;
}

function hear(net: Net, audio: string, p: Params, o: DenoiserOptions): Heard {
  const { g } = net;
  const places = attentionPlaces(o.config);
  const columns = new Map<string, number>();
  let width = 0;
  const weights = places.flatMap(({ name, channels }) => {
    const attn = p.at(name).at('transformer_blocks.0.attn2');
    columns.set(name, width);
    width += 2 * channels;
    const shape = [channels, o.audioWidth];
    return [attn.get('to_k.weight', shape), attn.get('to_v.weight', shape)];
  });
  return within(net, 'audio_keys_and_values', () => {
    const weight = W.transpose(W.concatRows(weights));
    const tokens = matmul(net, audio, 'audio_keys_and_values', weight);
    const parts = new Map<string, { keys: string; values: string }>();
    if (net.flavour === 'standard') {
      const names = places.flatMap(({ name }) => [`${name}.keys`, `${name}.values`]);
      const widths = places.flatMap(({ channels }) => [channels, channels]);
      const split = g.nodes('Split', [tokens, g.ints(widths)], names, { axis: -1 });
      places.forEach(({ name }, i) => {
        parts.set(name, { keys: split[2 * i]!, values: split[2 * i + 1]! });
      });
    }
    return { tokens, columns, parts };
  });
}

/** Tokens of one frame of the size that the model was trained on, after `depth` halvings. */
function tokensAt({ sample }: UNetConfig, depth: number): number {
  return sample.reduce((tokens, side) => tokens * Math.ceil(side / 2 ** depth), 1);
}

function transformer(
  net: Net,
  x: string,
  place: Place,
  params: Params,
  o: DenoiserOptions,
  images: string,
  audio: Heard | undefined,
): string {
  const { g } = net;
  const { channels: width, heads } = place;
  const name = `${place.block}.attentions.${place.index}`;
  const p = params.at(name);
  const block = p.at('transformer_blocks.0');
  const [attn1, attn2] = [block.at('attn1'), block.at('attn2')];
  let { tokens, normal } = T.enter(net, x, p, block.at('norm1'), width, o.config.groups);

  const size = tokensAt(o.config, place.depth);
  const self = (shared?: Shared) => {
    const qkv = matmul(net, normal, `${attn1.prefix}to_qkv`, T.qkvWeight(attn1, width, heads));
    const keys = (shared ? 2 : 1) * size;
    const parts = partsOf(heads, windowFrames, size, keys);
    return selfAttend(net, qkv, images, { heads, width, parts }, shared);
  };
  if (audio === undefined) {
    // Silence: every audio value is zero, so the audio attention is the bias of its last layer.
    const layer = T.outLayer(attn1, width);
    const silence = W.scale(attn2.get('to_out.0.bias', [width]), T.audioGain);
    const out = {
      ...layer,
      bias: W.add(layer.bias, silence),
      biasName: `${layer.name}.bias_in_silence`,
    };
    within(net, 'attn1', () => {
      const mixed = self();
      ({ tokens, normal } = residualNorm(net, tokens, mixed, out, block.at('norm3'), width));
    });
    checkAudioLayers(block, width, o.audioWidth);
    return T.leave(net, tokens, normal, x, p, block.at('ff'), width);
  }
  const bank = T.bankNames(name);
  const shared = {
    keys: cast(net, g.input(bank.keys, [1, `tokens.${name}`, width]), 'compute'),
    values: cast(net, g.input(bank.values, [1, `tokens.${name}`, width]), 'compute'),
  };
  within(net, 'attn1', () => {
    const mixed = self(shared);
    const out = T.outLayer(attn1, width);
    ({ tokens, normal } = residualNorm(net, tokens, mixed, out, block.at('norm2'), width));
  });
  within(net, 'attn2', () => {
    const query = W.scale(attn2.get('to_q.weight', [width, width]), (width / heads) ** -0.5);
    const q = matmul(net, normal, `${attn2.prefix}to_q`, W.transpose(query));
    const part = audio.parts.get(name);
    const mixed = part
      ? attend(net, q, part.keys, part.values, { heads, width })
      : g.own(
          'CrossAttention',
          [q, audio.tokens, images],
          { heads, offset: audio.columns.get(name)! },
          'attention',
        );
    const out = T.outLayer(attn2, width, T.audioGain);
    ({ tokens, normal } = residualNorm(net, tokens, mixed, out, block.at('norm3'), width));
  });
  return T.leave(net, tokens, normal, x, p, block.at('ff'), width);
}

/** The layers that silence makes needless. */
function checkAudioLayers(block: Params, width: number, audioWidth: number): void {
  block.get('attn2.to_q.weight', [width, width]);
  block.get('attn2.to_k.weight', [width, audioWidth]);
  block.get('attn2.to_v.weight', [width, audioWidth]);
  block.get('attn2.to_out.0.weight', [width, width]);
  block.get('norm2.weight', [width]);
  block.get('norm2.bias', [width]);
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
  const g = new Graph(name, data, o.precision, computeType(o.precision, o.flavour));
  const net: Net = { g, flavour: o.flavour, int8: o.int8 ?? false };
  const { config } = o;
  const { inChannels, outChannels, channels, groups, eps } = config;
  const motion = { heads: o.motionHeads, maxFrames: motionFrames(p, config) };
  const sample = g.input('sample', ['batch', 'frames', inChannels, 'height', 'width']);
  const timestep = g.input('timestep', [1]);
  let audio: Heard | undefined;
  let face: string | undefined;
  if (!o.unconditional) {
    const dims = ['batch', 'frames', o.audioTokens, o.audioWidth];
    const flat =
      o.flavour === 'cpu' ? g.ints([-1, o.audioWidth]) : g.ints([-1, o.audioTokens, o.audioWidth]);
    const heard = cast(net, g.input('audio', dims), 'compute');
    const perFrame = g.node('Reshape', [heard, flat], {}, 'audio_per_frame');
    audio = hear(exactly(net), perFrame, p, o);
    face = cast(net, g.input('face', [channels[0]!, 'height', 'width']), 'compute');
  }
  const clip: Clip = {
    shape: g.node('Shape', [sample], { end: 2 }, 'batch_and_frames'),
    frames: g.node('Shape', [sample], { start: 1, end: 2 }, 'frames_of_a_window'),
  };
  const size = g.node('Shape', [sample], { start: 2 }, 'latent_shape');
  const merged = g.node('Concat', [g.ints([-1]), size], { axis: 0 }, 'frame_shape');
  const frames = g.node('Reshape', [cast(net, sample, 'compute'), merged], {}, 'frames_as_images');
  let x = within(net, 'conv_in', () =>
    conv(exactly(net), toImages(net, frames), p.at('conv_in'), channels[0]!, inChannels),
  );
  if (face !== undefined) {
    const perm = [1, 2, 0];
    const like = o.flavour === 'cpu' ? g.node('Transpose', [face], { perm }, 'face_image') : face;
    x = g.node('Add', [x, like], {}, 'add_face');
  }
  x = walk(net, x, timestep, p, config, {
    attention: (y, place) => transformer(net, y, place, p, o, clip.shape, audio),
    motion: (y, place) => motionModule(net, y, place, p, motion, clip),
  });
  x = within(net, 'conv_norm_out', () =>
    groupNormSilu(net, x, p.at('conv_norm_out'), channels[0]!, groups, eps),
  );
  x = within(net, 'conv_out', () =>
    conv(exactly(net), x, p.at('conv_out'), outChannels, channels[0]!),
  );
  const shape = g.node('Shape', [sample], {}, 'sample_shape');
  const planes = fromImages(net, cast(net, x, 'float32'));
  const v = g.node('Reshape', [planes, shape], {}, 'prediction');
  g.output('v', v, ['batch', 'frames', outChannels, 'height', 'width']);
  return g;
}
