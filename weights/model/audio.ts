import { Graph, type Precision } from '../graph/builder.js';
import type { DataFile } from '../graph/data-file.js';
import * as W from '../graph/weight.js';
import type { WhisperConfig } from './config.js';
import { convWith } from './images.js';
import { attend, cast, computeType, gelu, layerNorm, layerOf, linear, matmul } from './layers.js';
import { residualNorm, selfAttend, splitLast, within } from './layers.js';
import type { Flavour, Net } from './layers.js';
import type { Params } from './source.js';

/** The attention's layers, [in, out]; the scale moved into the query. The key has no bias. */
function attentionLayers(attn: Params, { width, heads }: WhisperConfig) {
  const square = [width, width];
  const scale = (width / heads) ** -0.5;
  const query = attn.at('query');
  return {
    query: W.scale(query.get('weight', square), scale),
    queryBias: W.scale(query.get('bias', [width]), scale),
    key: attn.get('key.weight', square),
    keyBias: W.filled([width], 0),
    value: attn.get('value.weight', square),
    valueBias: attn.get('value.bias', [width]),
  };
}

/**
 * A layer of the encoder. With `kept`, an int64 count, only that many first positions go on: they
 * listen to all of `x`, but nothing else is computed.
 */
function block(net: Net, x: string, p: Params, config: WhisperConfig, kept?: string): string {
  const { g, flavour } = net;
  const { width, heads } = config;
  const attn = p.at('attn');
  const name = attn.prefix;
  const shape = { heads, width };
  const one = g.ints([1]);
  const first = within(net, 'attn_ln', () => layerNorm(net, x, p.at('attn_ln'), width));
  const keep = (y: string) =>
    kept === undefined
      ? y
      : g.node('Slice', [y, g.ints([0]), kept, g.ints([flavour === 'cpu' ? 0 : 1])], {}, 'kept');
  const { tokens, normal } = within(net, 'attn', () => {
    const l = attentionLayers(attn, config);
    let mixed: string;
    if (kept === undefined) {
      const weight = W.transpose(W.concatRows([l.query, l.key, l.value]));
      const bias = W.concatRows([l.queryBias, l.keyBias, l.valueBias]);
      mixed = selfAttend(net, matmul(net, first, `${name}qkv`, weight, bias), one, shape);
    } else {
      const weight = W.transpose(W.concatRows([l.key, l.value]));
      const bias = W.concatRows([l.keyBias, l.valueBias]);
      const q = matmul(net, keep(first), `${name}query`, W.transpose(l.query), l.queryBias);
      const kv = matmul(net, first, `${name}kv`, weight, bias);
      if (flavour === 'cpu') {
        mixed = g.own('CrossAttention', [q, kv, one], { heads, offset: 0 }, 'attention');
      } else {
        const [k, v] = splitLast(net, kv, [width, width], ['k', 'v']);
        mixed = attend(net, q, k!, v!, shape);
      }
    }
    const out = layerOf(attn.at('out'), width, width);
    return residualNorm(net, keep(x), mixed, out, p.at('mlp_ln'), width);
  });
  return within(net, 'mlp', () => {
    const hidden = gelu(net, linear(net, normal, p.at('mlp.0'), 4 * width, width));
    const out = within(net, '2', () => linear(net, hidden, p.at('mlp.2'), width, 4 * width));
    return g.node('Add', [tokens, out], {}, 'residual');
  });
}

/**
 * Whisper's encoder. `mel` [80, T], a block of at most 3000 frames, which the graph itself pads
 * with zeros to the 3000 that the encoder hears, to `features` [T / 2, layers + 1, width]: the
 * states after the convolutions and after every layer, without the last norm, of the positions
 * that are not padding alone. T is at least 2. `p` stands at `encoder.`
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
  const mel = g.input('mel', [melBins, 'frames']);
  const count = g.node('Shape', [mel], { start: 1 }, 'frames_given');
  const kept = g.node('Div', [count, g.ints([2])], {}, 'positions_kept');
  const missing = g.node('Sub', [g.ints([2 * positions]), count], {}, 'frames_missing');
  const pads = g.node('Concat', [g.ints([0, 0, 0]), missing], { axis: 0 }, 'pads');
  const padded = g.node('Pad', [mel, pads], {}, 'padded');
  const conv1d = (x: string, name: string, inner: number, stride: number) =>
    within(net, name, () => {
      const weight = p.get(`${name}.weight`, [width, inner, 3]);
      const bias = p.get(`${name}.bias`, [width]);
      return gelu(net, convWith(net, x, p.prefix + name, weight, bias, { stride }));
    });
  const shaped = g.node('Reshape', [padded, g.ints([1, melBins, 2 * positions])], {}, 'batch');
  const first = conv1d(cast(net, shaped, 'compute'), 'conv1', melBins, 1);
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
    const last = i === layers - 1 ? kept : undefined;
    x = within(net, `blocks.${i}`, () => block(net, x, p.at('blocks').at(i), config, last));
    states.push(x);
  }
  const stack = states.map((state, i) => {
    const image = g.node('Reshape', [state, g.ints([-1, 1, width])], {}, `state.${i}`);
    const cut = [image, g.ints([0]), kept, g.ints([0])];
    return i < layers ? g.node('Slice', cut, {}, `state.${i}.kept`) : image;
  });
  const stacked = g.node('Concat', stack, { axis: 1 }, 'states');
  g.output('features', cast(net, stacked, 'float32'), ['positions', layers + 1, width]);
  return g;
}
