import { Graph, type Precision } from '../graph/builder.js';
import type { DataFile } from '../graph/data-file.js';
import * as W from '../graph/weight.js';
import type { UNetConfig } from './config.js';
import { attentionPlaces } from './denoiser.js';
import { conv, toImages } from './images.js';
import { cast, computeType, matmul, residualNorm, selfAttend } from './layers.js';
import { within, type Flavour, type Net } from './layers.js';
import type { Params } from './source.js';
import * as T from './transformer.js';
import { walk, type Place } from './unet.js';

/** Every tensor of a reference transformer after its first norm, checked but not needed. */
function checkRest(p: Params, width: number): void {
  const block = p.at('transformer_blocks.0');
  for (const name of ['to_q', 'to_k', 'to_v', 'to_out.0']) {
    block.get(`attn1.${name}.weight`, [width, width]);
  }
  block.get('attn1.to_out.0.bias', [width]);
  block.get('norm3.weight', [width]);
  block.get('norm3.bias', [width]);
  block.get('ff.net.0.proj.weight', [8 * width, width]);
  block.get('ff.net.0.proj.bias', [8 * width]);
  block.get('ff.net.2.weight', [width, 4 * width]);
  block.get('ff.net.2.bias', [width]);
  const matrix = p.source.has(`${p.prefix}proj_out.weight`)
    ? p.source.shape(`${p.prefix}proj_out.weight`).length === 2
    : false;
  p.get('proj_out.weight', matrix ? [width, width] : [width, width, 1, 1]);
  p.get('proj_out.bias', [width]);
}

/**
 * The reference UNet at timestep 0 without text. `latents` [1, 4, h, w] of the portrait to the
 * keys and values of every attention of the denoiser, `bank.NAME.keys` and `bank.NAME.values`
 * [1, tokens, channels]: the state after the reference block's first norm under the denoiser's own
 * projections, which are therefore part of this graph.
 */
export function buildReference(
  p: Params,
  denoiser: Params,
  config: UNetConfig,
  data: DataFile,
  precision: Precision,
  flavour: Flavour,
): Graph {
  const g = new Graph('reference', data, precision, computeType(precision, flavour));
  const net: Net = { g, flavour };
  const { inChannels, channels, groups } = config;
  const latents = g.input('latents', [1, inChannels, 'height', 'width']);
  const timestep = g.floats([0]);
  const images = g.ints([1]);
  const lastName = attentionPlaces(config).at(-1)!.name;
  const attention = (x: string, place: Place): string => {
    const { channels: width, heads } = place;
    const name = `${place.block}.attentions.${place.index}`;
    const q = p.at(name);
    const block = q.at('transformer_blocks.0');
    let { tokens, normal } = T.enter(net, x, q, block.at('norm1'), width, groups);
    const bank = T.bankNames(name);
    const attn = denoiser.at(name).at('transformer_blocks.0.attn1');
    const share = (key: 'to_k' | 'to_v', output: string) => {
      const weight = W.transpose(attn.get(`${key}.weight`, [width, width]));
      const made = within(net, `bank_${key}`, () =>
        matmul(net, normal, `denoiser.${attn.prefix}${key}`, weight),
      );
      const rows = g.node('Reshape', [made, g.ints([1, -1, width])], {}, `bank_${key}`);
      g.output(output, cast(net, rows, 'float32'), [1, `tokens.${name}`, width]);
    };
    share('to_k', bank.keys);
    share('to_v', bank.values);
    checkRest(q, width);
    if (name === lastName) return x;
    const attn1 = block.at('attn1');
    within(net, 'attn1', () => {
      const qkv = matmul(net, normal, `${attn1.prefix}to_qkv`, T.qkvWeight(attn1, width, heads));
      const mixed = selfAttend(net, qkv, images, { heads, width });
      const out = T.outLayer(attn1, width);
      ({ tokens, normal } = residualNorm(net, tokens, mixed, out, block.at('norm3'), width));
    });
    return T.leave(net, tokens, normal, x, q, block.at('ff'), width);
  };
  const x = within(net, 'conv_in', () =>
    conv(
      net,
      toImages(net, cast(net, latents, 'compute')),
      p.at('conv_in'),
      channels[0]!,
      inChannels,
    ),
  );
  walk(net, x, timestep, p, config, { attention, motion: (y) => y });
  return g;
}
