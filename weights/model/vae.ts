import { Graph, type Precision } from '../graph/builder.js';
import type { DataFile } from '../graph/data-file.js';
import * as W from '../graph/weight.js';
import { resnet, upsample, vaeAttention } from './blocks.js';
import type { VaeConfig } from './config.js';
import { conv, convWith, fromImages, toImages } from './images.js';
import { cast, computeType, exactly, groupNormSilu, linearWeight, within } from './layers.js';
import type { Flavour, Net } from './layers.js';
import type { Params } from './source.js';

/** What the denoiser's latents are, relative to the VAE's. */
export const latentScale = 0.18215;
const eps = 1e-6;

function middle(net: Net, x: string, p: Params, channels: number, groups: number): string {
  const sizes = { inner: channels, out: channels, groups, eps };
  return within(net, 'mid_block', () => {
    const a = within(net, 'resnets.0', () => resnet(net, x, p.at('resnets').at(0), sizes));
    const b = within(net, 'attentions.0', () =>
      vaeAttention(net, a, p.at('attentions').at(0), channels, groups),
    );
    return within(net, 'resnets.1', () => resnet(net, b, p.at('resnets').at(1), sizes));
  });
}

/**
 * `image` [N, 3, height, width] in -1..1 to `latents` [N, 4, height / 8, width / 8]: the mean,
 * scaled as the denoiser wants it. Height and width are multiples of the downscale.
 */
export function buildVaeEncoder(
  params: Params,
  config: VaeConfig,
  data: DataFile,
  precision: Precision,
  flavour: Flavour,
): Graph {
  const g = new Graph('vae_encoder', data, precision, computeType(precision, flavour));
  const net: Net = { g, flavour };
  const p = params.at('encoder');
  const { channels, layersPerBlock, groups, latentChannels } = config;
  const image = cast(net, g.input('image', ['images', 3, 'height', 'width']), 'compute');
  let inner = channels[0]!;
  let x = within(net, 'conv_in', () => conv(net, toImages(net, image), p.at('conv_in'), inner, 3));
  channels.forEach((out, level) => {
    const block = p.at('down_blocks').at(level);
    within(net, `down_blocks.${level}`, () => {
      for (let i = 0; i < layersPerBlock; i++) {
        const sizes = { inner, out, groups, eps };
        x = within(net, `resnets.${i}`, () => resnet(net, x, block.at('resnets').at(i), sizes));
        inner = out;
      }
      if (level === channels.length - 1) return;
      const options = { stride: 2, pads: [0, 0, 1, 1] };
      x = within(net, 'downsamplers.0', () =>
        conv(net, x, block.at('downsamplers.0.conv'), out, out, 3, options),
      );
    });
  });
  x = middle(net, x, p.at('mid_block'), inner, groups);
  x = within(net, 'conv_norm_out', () =>
    groupNormSilu(net, x, p.at('conv_norm_out'), inner, groups, eps),
  );
  // conv_out, then the means' half of the 1x1 quant_conv, then the scale: one convolution
  const doubled = 2 * latentChannels;
  const kernel = p.get('conv_out.weight', [doubled, inner, 3, 3]);
  const bias = p.get('conv_out.bias', [doubled]);
  const quant = params.get('quant_conv.weight', [doubled, doubled, 1, 1]);
  const quantBias = params.get('quant_conv.bias', [doubled]);
  const means = W.derive([latentChannels, inner, 3, 3], [quant, kernel], (q, k) => {
    const size = inner * 9;
    const out = new Float32Array(latentChannels * size);
    for (let row = 0; row < latentChannels; row++) {
      for (let i = 0; i < size; i++) {
        let sum = 0;
        for (let c = 0; c < doubled; c++) sum += q[row * doubled + c]! * k[c * size + i]!;
        out[row * size + i] = sum * latentScale;
      }
    }
    return out;
  });
  const square = W.reshape(quant, [doubled, doubled]);
  const shift = W.sliceRows(W.apply(square, bias, quantBias), 0, latentChannels);
  const latents = within(net, 'conv_out', () =>
    convWith(net, x, 'encoder.means', means, W.scale(shift, latentScale)),
  );
  g.output('latents', fromImages(net, cast(net, latents, 'float32')), [
    'images',
    latentChannels,
    'latent_height',
    'latent_width',
  ]);
  return g;
}

/**
 * `latents` [N, 4, h, w] as the denoiser makes them to `image` [N, 3, 8 h, 8 w], about -1..1 and
 * not clamped.
 */
export function buildVaeDecoder(
  params: Params,
  config: VaeConfig,
  data: DataFile,
  precision: Precision,
  flavour: Flavour,
  int8 = false,
): Graph {
  const g = new Graph('vae_decoder', data, precision, computeType(precision, flavour));
  const net: Net = { g, flavour, int8 };
  const p = params.at('decoder');
  const { channels, layersPerBlock, groups, latentChannels } = config;
  const levels = [...channels].reverse();
  const latents = g.input('latents', ['images', latentChannels, 'latent_height', 'latent_width']);
  let x = within(net, 'post_quant_conv', () => {
    const post = params.at('post_quant_conv');
    const weight = W.scale(linearWeight(post, latentChannels, latentChannels), 1 / latentScale);
    const kernel = W.reshape(weight, [latentChannels, latentChannels, 1, 1]);
    const bias = post.get('bias', [latentChannels]);
    return convWith(
      exactly(net),
      toImages(net, cast(net, latents, 'compute')),
      'post_quant_conv',
      kernel,
      bias,
    );
  });
  let inner = levels[0]!;
  x = within(net, 'conv_in', () => conv(exactly(net), x, p.at('conv_in'), inner, latentChannels));
  x = middle(net, x, p.at('mid_block'), inner, groups);
  levels.forEach((out, level) => {
    const block = p.at('up_blocks').at(level);
    within(net, `up_blocks.${level}`, () => {
      for (let i = 0; i <= layersPerBlock; i++) {
        const sizes = { inner, out, groups, eps };
        x = within(net, `resnets.${i}`, () => resnet(net, x, block.at('resnets').at(i), sizes));
        inner = out;
      }
      if (level === levels.length - 1) return;
      x = within(net, 'upsamplers.0', () => upsample(net, x, block.at('upsamplers').at(0), out));
    });
  });
  x = within(net, 'conv_norm_out', () =>
    groupNormSilu(net, x, p.at('conv_norm_out'), inner, groups, eps),
  );
  const image = within(net, 'conv_out', () => conv(exactly(net), x, p.at('conv_out'), 3, inner));
  g.output('image', fromImages(net, cast(net, image, 'float32')), ['images', 3, 'height', 'width']);
  return g;
}
