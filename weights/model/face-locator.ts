import { Graph, type Precision } from '../graph/builder.js';
import type { DataFile } from '../graph/data-file.js';
import { conv, fromImages } from './images.js';
import { cast, computeType, silu, within } from './layers.js';
import type { Flavour, Net } from './layers.js';
import type { Params } from './source.js';

/**
 * `mask` [height, width] in 0..1 to `face` [channels, height / 8, width / 8], which the denoiser
 * adds to its first features. Channel counts and depth are those of the file; `out` is the
 * denoiser's first channel count.
 */
export function buildFaceLocator(
  p: Params,
  out: number,
  data: DataFile,
  precision: Precision,
  flavour: Flavour,
): Graph {
  const g = new Graph('face_locator', data, precision, computeType(precision, flavour));
  const net: Net = { g, flavour };
  const mask = g.input('mask', ['height', 'width']);
  const axes = flavour === 'cpu' ? [0, 3] : [0, 1];
  const image = g.node('Unsqueeze', [mask, g.ints(axes)], {}, 'image');
  let channels = p.infer('conv_in.weight', [-1, 1, 3, 3]).dims[0]!;
  let x = within(net, 'conv_in', () =>
    silu(net, conv(net, cast(net, image, 'compute'), p.at('conv_in'), channels, 1)),
  );
  const blocks = p.count((i) => `blocks.${i}.weight`);
  for (let i = 0; i < blocks; i++) {
    const next = p.infer(`blocks.${i}.weight`, [-1, channels, 3, 3]).dims[0]!;
    x = within(net, `blocks.${i}`, () =>
      silu(net, conv(net, x, p.at('blocks').at(i), next, channels, 3, { stride: 1 + (i % 2) })),
    );
    channels = next;
  }
  x = within(net, 'conv_out', () => conv(net, x, p.at('conv_out'), out, channels));
  const face = g.node('Squeeze', [fromImages(net, x), g.ints([0])], {}, 'unbatched');
  g.output('face', cast(net, face, 'float32'), [out, 'latent_height', 'latent_width']);
  return g;
}
