import type { Weight } from '../graph/weight.js';
import { matmul, type Layer, type Net } from './layers.js';
import type { Params } from './source.js';

/** `x` [N, C, h, w] as the images of the flavour, and back. */
export const toImages = (net: Net, x: string): string =>
  net.flavour === 'cpu' ? net.g.node('Transpose', [x], { perm: [0, 2, 3, 1] }, 'images') : x;
export const fromImages = (net: Net, x: string): string =>
  net.flavour === 'cpu' ? net.g.node('Transpose', [x], { perm: [0, 3, 1, 2] }, 'planes') : x;

/** Height and width of images. */
export const sidesOf = (net: Net, x: string): string =>
  net.g.node('Shape', [x], net.flavour === 'cpu' ? { start: 1, end: 3 } : { start: 2 }, 'size');

/** Joins images channel by channel. */
export const joinChannels = (net: Net, images: readonly string[], name: string): string =>
  net.g.node('Concat', images, { axis: net.flavour === 'cpu' ? 3 : 1 }, name);

export interface ConvOptions {
  readonly stride?: number;
  /** Top, left, bottom, right. */
  readonly pads?: readonly number[];
  /** Added to the result. */
  readonly skip?: string;
}

/** The operator that convolves the images of CPU graphs. */
export const convolution = (net: Net): string => (net.int8 ? 'Int8Conv' : 'Conv');

export function convWith(
  net: Net,
  x: string,
  name: string,
  weight: Weight,
  bias: Weight | undefined,
  options: ConvOptions = {},
): string {
  const { g } = net;
  const kernel = weight.dims.slice(2);
  const { stride = 1, skip } = options;
  const same = kernel.map((k) => (k - 1) / 2);
  const pads = options.pads ?? [...same, ...same];
  const inputs = [x, g.weight(`${name}.weight`, weight)];
  if (bias) inputs.push(g.weight(`${name}.bias`, bias));
  if (net.flavour === 'cpu' && kernel.length === 2) {
    const [first, second, third = ''] = inputs;
    const all = skip === undefined ? inputs : [first!, second!, third, skip];
    return g.own(convolution(net), all, { stride, pads, double: 0 }, 'conv');
  }
  const y = g.node(
    'Conv',
    inputs,
    {
      kernel_shape: kernel,
      strides: kernel.map(() => stride),
      pads,
    },
    'conv',
  );
  return skip === undefined ? y : g.node('Add', [y, skip], {}, 'residual');
}

/** A square convolution of the checkpoint, padded to keep the size unless told otherwise. */
export function conv(
  net: Net,
  x: string,
  p: Params,
  out: number,
  inner: number,
  kernel = 3,
  options: ConvOptions = {},
): string {
  const weight = p.get('weight', [out, inner, kernel, kernel]);
  return convWith(net, x, p.prefix.slice(0, -1), weight, p.get('bias', [out]), options);
}

/**
 * `layer(tokens)` as an image, added to the image `x`. `arrange` brings tokens into the order of
 * images where they are not.
 */
export function addTokens(
  net: Net,
  tokens: string,
  layer: Layer,
  x: string,
  arrange = (y: string) => y,
): string {
  const { g } = net;
  if (net.flavour === 'cpu') {
    const weights = [
      g.weight(`${layer.name}.weight`, layer.weight),
      g.weight(layer.biasName ?? `${layer.name}.bias`, layer.bias),
    ];
    if (net.int8) return g.own('Int8Linear', [tokens, ...weights, x], {}, 'residual');
    const how = { stride: 1, pads: [0, 0, 0, 0], double: 0 };
    return g.own('Conv', [tokens, ...weights, x], how, 'residual');
  }
  const y = arrange(matmul(net, tokens, layer.name, layer.weight, layer.bias, layer.biasName));
  const back = g.node('Transpose', [y], { perm: [0, 2, 1] }, 'channels');
  const image = g.node('Reshape', [back, g.node('Shape', [x], {}, 'shape')], {}, 'image');
  return g.node('Add', [image, x], {}, 'residual');
}
