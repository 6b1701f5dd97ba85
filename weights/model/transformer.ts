import * as W from '../graph/weight.js';
import type { Weight } from '../graph/weight.js';
import { addTokens } from './images.js';
import { foldNorm, geglu, gegluLayer, groupNormTokens, layerOf } from './layers.js';
import { matmul } from './layers.js';
import { linearWeight, residualNorm, within, type Layer, type Net, type Shared } from './layers.js';
import type { Params } from './source.js';

export const transformerEps = 1e-6;
/** How much louder than one the release hears. */
export const audioGain = 3;

/** Names of an attention's bank tensors. */
export const bankNames = (attention: string): Shared => ({
  keys: `bank.${attention}.keys`,
  values: `bank.${attention}.values`,
});

/**
 * The start of a transformer: GroupNorm and proj_in, images to tokens and their first
 * layer norm. `arrange` brings the tokens into another order than that of images.
 */
export function enter(
  net: Net,
  x: string,
  p: Params,
  first: Params,
  width: number,
  groups: number,
  arrange = (y: string) => y,
): { tokens: string; normal: string; images: string } {
  const images = within(net, 'norm', () => groupNormTokens(net, x, width, groups, transformerEps));
  return within(net, 'proj_in', () => {
    const layer = p.at('proj_in');
    const { weight, bias } = foldNorm(
      p.at('norm'),
      width,
      linearWeight(layer, width, width),
      layer.get('bias', [width]),
    );
    const folded = { name: `${p.prefix}proj_in`, weight, bias };
    return { ...residualNorm(net, undefined, arrange(images), folded, first, width), images };
  });
}

/**
 * The end of a transformer: its feed-forward on `normal` (the normed `tokens`), proj_out and the
 * residual to the image `x`. The bias of the feed-forward's last layer goes through proj_out when
 * the model is imported. `arrange` brings tokens into the order of images where they are not.
 */
export function leave(
  net: Net,
  tokens: string,
  normal: string,
  x: string,
  p: Params,
  ff: Params,
  width: number,
  arrange = (y: string) => y,
): string {
  const { g } = net;
  const last = ff.at('net.2');
  const lastBias = last.get('bias', [width]);
  const sum = within(net, 'ff', () => {
    const name = last.prefix.slice(0, -1);
    const weight = W.transpose(last.get('weight', [width, 4 * width]));
    if (net.int8) {
      const first = gegluLayer(ff.at('net.0.proj'), width);
      const layers = [
        g.weight(`${first.name}.weight`, first.weight),
        g.weight(`${first.name}.bias`, first.bias),
        g.weight(`${name}.weight`, weight),
      ];
      return g.own('Int8FeedForward', [normal, ...layers, tokens], {}, 'residual');
    }
    const hidden = geglu(net, normal, ff.at('net.0.proj'), width);
    if (net.flavour === 'cpu') {
      return g.node('Gemm', [hidden, g.weight(`${name}.weight`, weight), tokens], {}, 'residual');
    }
    return g.node('Add', [tokens, matmul(net, hidden, name, weight)], {}, 'residual');
  });
  return within(net, 'proj_out', () => {
    const layer = p.at('proj_out');
    const weight = linearWeight(layer, width, width);
    const bias = W.apply(weight, lastBias, layer.get('bias', [width]));
    const out = { name: `${p.prefix}proj_out`, weight: W.transpose(weight), bias };
    return addTokens(net, sum, out, x, arrange);
  });
}

/** Query, key and value layers side by side, the attention's scale moved into the query. */
export function qkvWeight(attn: Params, width: number, heads: number): Weight {
  const square = [width, width];
  return W.transpose(
    W.concatRows([
      W.scale(attn.get('to_q.weight', square), (width / heads) ** -0.5),
      attn.get('to_k.weight', square),
      attn.get('to_v.weight', square),
    ]),
  );
}

/** The output layer of an attention, with a gain moved in. */
export const outLayer = (attn: Params, width: number, gain = 1): Layer =>
  layerOf(attn.at('to_out.0'), width, width, gain);
