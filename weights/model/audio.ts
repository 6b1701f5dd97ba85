import { Graph, type Precision } from '../graph/builder.js';
import type { DataFile } from '../graph/data-file.js';
import * as W from '../graph/weight.js';
import type { WhisperConfig } from './config.js';
import { attend, cast, convWith, gelu, layerNorm, linear, matmul, within } from './layers.js';
import type { Flavour, Net } from './layers.js';
import type { Params } from './source.js';

function block(net: Net, x: string, p: Params, { width, heads }: WhisperConfig): string {
  const { g } = net;
  const attended = within(net, 'attn', () => {
    const attn = p.at('attn');
    const n = within(net, 'attn_ln', () => layerNorm(net, x, p.at('attn_ln'), width));
    const scale = (width / heads) ** -0.5;
    const project = (name: string, factor: number, bias: boolean) =>
      within(net, name, () => {
        const layer = attn.at(name);
        const weight = W.scale(W.transpose(layer.get('weight', [width, width])), factor);
        const shift = bias ? W.scale(layer.get('bias', [width]), factor) : undefined;
        return matmul(net, n, layer.prefix.slice(0, -1), weight, shift);
      });
    const q = project('query', scale, true);
    const k = project('key', 1, false);
    const v = project('value', 1, true);
    const mixed = attend(net, q, k, v, { heads, width });
    return within(net, 'out', () => linear(net, mixed, attn.at('out'), width, width));
  });
  const y = g.node('Add', [x, attended], {}, 'attn_residual');
  return within(net, 'mlp', () => {
    const n = layerNorm(net, y, p.at('mlp_ln'), width);
    const hidden = gelu(net, linear(net, n, p.at('mlp.0'), 4 * width, width));
    const out = within(net, '2', () => linear(net, hidden, p.at('mlp.2'), width, 4 * width));
    return g.node('Add', [y, out], {}, 'residual');
  });
}

/**
 * Whisper's encoder. `mel` [80, 3000], one block padded with zeros, to `features`
 * [1500, layers + 1, width]: the states after the convolutions and after every layer, without the
 * last norm. `p` stands at `encoder.`
 */
export function buildAudio(
  p: Params,
  config: WhisperConfig,
  data: DataFile,
  precision: Precision,
  flavour: Flavour,
): Graph {
  const g = new Graph('audio', data, precision);
  const net: Net = { g, flavour };
  const { width, melBins, positions, layers } = config;
  const mel = g.input('mel', [melBins, 2 * positions]);
  const conv1d = (x: string, name: string, inner: number, stride: number) =>
    within(net, name, () => {
      const weight = p.get(`${name}.weight`, [width, inner, 3]);
      const bias = p.get(`${name}.bias`, [width]);
      return gelu(net, convWith(net, x, p.prefix + name, weight, bias, { stride }));
    });
  const batched = g.node('Unsqueeze', [mel, g.ints([0])], {}, 'batch');
  const first = conv1d(cast(net, batched, 'compute'), 'conv1', melBins, 1);
  const second = conv1d(first, 'conv2', width, 2);
  const tokens = g.node('Transpose', [second], { perm: [0, 2, 1] }, 'tokens');
  const table = p.get('positional_embedding', [positions, width]);
  let x = g.node(
    'Add',
    [tokens, g.weight(`${p.prefix}positional_embedding`, table)],
    {},
    'with_position',
  );
  const states = [x];
  for (let i = 0; i < layers; i++) {
    x = within(net, `blocks.${i}`, () => block(net, x, p.at('blocks').at(i), config));
    states.push(x);
  }
  const rows = states.map((state, i) =>
    g.node('Reshape', [state, g.ints([positions, 1, width])], {}, `state.${i}`),
  );
  const stacked = rows.length > 1 ? g.node('Concat', rows, { axis: 1 }, 'states') : rows[0]!;
  g.output('features', cast(net, stacked, 'float32'), [positions, layers + 1, width]);
  return g;
}
