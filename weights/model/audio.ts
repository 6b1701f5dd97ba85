import { Graph, type Precision } from '../graph/builder.js';
import type { DataFile } from '../graph/data-file.js';
import * as W from '../graph/weight.js';
import type { Weight } from '../graph/weight.js';
import type { WhisperConfig } from './config.js';
import { cast, computeType, convWith, gelu, layerNorm, layerOf, linear, matmul } from './layers.js';
import { residualNorm, selfAttend, within } from './layers.js';
import type { Flavour, Net } from './layers.js';
import type { Params } from './source.js';

/**
 * The query, key (which has no bias) and value layers side by side, the scale moved into the query.
 */
function qkvLayer(attn: Params, { width, heads }: WhisperConfig): { weight: Weight; bias: Weight } {
  const square = [width, width];
  const scale = (width / heads) ** -0.5;
  const query = attn.at('query');
  const weights = [
    W.scale(query.get('weight', square), scale),
    attn.get('key.weight', square),
    attn.get('value.weight', square),
  ];
  const biases = [
    W.scale(query.get('bias', [width]), scale),
    W.filled([width], 0),
    attn.get('value.bias', [width]),
  ];
  return { weight: W.transpose(W.concatRows(weights)), bias: W.concatRows(biases) };
}

function block(net: Net, x: string, p: Params, config: WhisperConfig): string {
  const { g } = net;
  const { width, heads } = config;
  const attn = p.at('attn');
  const first = within(net, 'attn_ln', () => layerNorm(net, x, p.at('attn_ln'), width));
  const { tokens, normal } = within(net, 'attn', () => {
    const { weight, bias } = qkvLayer(attn, config);
    const qkv = matmul(net, first, `${attn.prefix}qkv`, weight, bias);
    const mixed = selfAttend(net, qkv, g.ints([1]), { heads, width });
    const out = layerOf(attn.at('out'), width, width);
    return residualNorm(net, x, mixed, out, p.at('mlp_ln'), width);
  });
  return within(net, 'mlp', () => {
    const hidden = gelu(net, linear(net, normal, p.at('mlp.0'), 4 * width, width));
    const out = within(net, '2', () => linear(net, hidden, p.at('mlp.2'), width, 4 * width));
    return g.node('Add', [tokens, out], {}, 'residual');
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
  const g = new Graph('audio', data, precision, computeType(precision, flavour));
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
  const rows = g.node('Transpose', [second], { perm: [0, 2, 1] }, 'rows');
  const tokens = flavour === 'cpu' ? g.node('Squeeze', [rows, g.ints([0])], {}, 'tokens') : rows;
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
  const stack = states.map((state, i) =>
    g.node('Reshape', [state, g.ints([positions, 1, width])], {}, `state.${i}`),
  );
  const stacked = g.node('Concat', stack, { axis: 1 }, 'states');
  g.output('features', cast(net, stacked, 'float32'), [positions, layers + 1, width]);
  return g;
}
