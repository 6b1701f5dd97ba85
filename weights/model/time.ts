import * as W from '../graph/weight.js';
import type { UNetConfig } from './config.js';
import { cast, matmul, silu, within, type Net } from './layers.js';
import type { Params } from './source.js';

/** The sinusoids of a timestep: `timestep` [1] float32 to [1, channels]. */
function sinusoids(net: Net, timestep: string, config: UNetConfig): string {
  const { g } = net;
  const half = config.channels[0]! / 2;
  const rates = Array.from({ length: half }, (_, i) =>
    Math.exp((-Math.log(10000) * i) / (half - config.freqShift)),
  );
  const table = g.weight32('time_proj.rates', W.weightOf([1, half], rates));
  const angles = g.node('Mul', [timestep, table], {}, 'angles');
  const sin = g.node('Sin', [angles], {}, 'sin');
  const cos = g.node('Cos', [angles], {}, 'cos');
  const pair = config.flipSinToCos ? [cos, sin] : [sin, cos];
  return g.node('Concat', pair, { axis: 1 }, 'sinusoids');
}

/**
 * The time embedding of every resnet, made at once because a call has one timestep: for each name
 * in `resnets` (its path in the checkpoint) a [1, channels, 1, 1] tensor.
 */
export function timeEmbeddings(
  net: Net,
  timestep: string,
  p: Params,
  config: UNetConfig,
  resnets: readonly { readonly name: string; readonly channels: number }[],
): Map<string, string> {
  const { g } = net;
  const inner = config.channels[0]!;
  const width = 4 * inner;
  return within(net, 'time_embedding', () => {
    let x = cast(net, sinusoids(net, timestep, config), 'compute');
    for (const [name, from] of [
      ['linear_1', inner],
      ['linear_2', width],
    ] as const) {
      const layer = p.at('time_embedding').at(name);
      x = within(net, name, () => {
        const weight = W.transpose(layer.get('weight', [width, from]));
        const key = layer.prefix.slice(0, -1);
        return silu(net, matmul(net, x, key, weight, layer.get('bias', [width])));
      });
    }
    const layers = resnets.map(({ name, channels }) => {
      const layer = p.at(name).at('time_emb_proj');
      return {
        weight: layer.get('weight', [channels, width]),
        bias: layer.get('bias', [channels]),
      };
    });
    const all = matmul(
      net,
      x,
      'time_emb_proj',
      W.transpose(W.concatRows(layers.map((layer) => layer.weight))),
      W.concatRows(layers.map((layer) => layer.bias)),
    );
    const column = g.node('Reshape', [all, g.ints([1, -1, 1, 1])], {}, 'column');
    const parts = g.nodes(
      'Split',
      [column, g.ints(resnets.map(({ channels }) => channels))],
      resnets.map(({ name }) => name),
      { axis: 1 },
    );
    return new Map(resnets.map(({ name }, i) => [name, parts[i]!]));
  });
}
