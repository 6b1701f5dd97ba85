import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from 'onnx-buf';
import t from 'tap';
import { relativeError } from '../../scripts/golden/relative-error.js';
import { Graph } from '../../weights/graph/builder.js';
import { DataFile } from '../../weights/graph/data-file.js';
import * as W from '../../weights/graph/weight.js';
import { writeModel } from '../../weights/graph/writer.js';
import { attend, partsOf, type Net } from '../../weights/model/layers.js';
import { noise, Runner } from './ort.js';

const values = async (weight: W.Weight) => [...(await weight.read())];

await t.test('derived weights', async (t) => {
  const matrix = W.weightOf([2, 3], [1, 2, 3, 4, 5, 6]);
  t.same(await values(W.transpose(matrix)), [1, 4, 2, 5, 3, 6]);
  t.same(W.transpose(matrix).dims, [3, 2]);
  t.same(await values(W.scale(matrix, 2)), [2, 4, 6, 8, 10, 12]);
  t.same(await values(W.concatRows([matrix, matrix])), [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]);
  t.same(await values(W.sliceRows(matrix, 1, 2)), [4, 5, 6]);
  t.same(await values(W.scaleColumns(matrix, W.weightOf([3], [1, 0, -1]))), [1, 0, -3, 4, 0, -6]);
  const vector = W.weightOf([3], [1, 1, 2]);
  t.same(await values(W.apply(matrix, vector)), [9, 21]);
  t.same(await values(W.apply(matrix, vector, W.weightOf([2], [1, -1]))), [10, 20]);
  t.throws(() => W.reshape(matrix, [4]));
  t.throws(() => W.weightOf([4], [1]));
  const large = noise([70, 45]);
  const back = await W.transpose(W.transpose(W.weightOf(large.dims, large.data))).read();
  t.same(back, large.data);
});

await t.test('a graph with external data runs, in both precisions', async (t) => {
  const weight = noise([8, 4], 3);
  const bias = noise([4], 4);
  const x = noise([5, 8], 5);
  const wanted = new Float32Array(20);
  for (let r = 0; r < 5; r++) {
    for (let c = 0; c < 4; c++) {
      let sum = bias.data[c]!;
      for (let k = 0; k < 8; k++) sum += x.data[r * 8 + k]! * weight.data[k * 4 + c]!;
      wanted[r * 4 + c] = sum;
    }
  }
  for (const precision of ['fp32', 'fp16'] as const) {
    const folder = t.testdir({ model: {} });
    const data = new DataFile('linear.data');
    const g = new Graph('linear', data, precision);
    const input = g.input('x', ['rows', 8]);
    const cast = (y: string, to: number) =>
      precision === 'fp16' ? g.node('Cast', [y], { to }) : y;
    const y = g.scope('layer', () => {
      const w = g.weight('layer.weight', W.weightOf([8, 4], weight.data));
      const product = g.node('MatMul', [cast(input, 10), w]);
      return g.node('Add', [product, g.weight('layer.bias', W.weightOf([4], bias.data))]);
    });
    g.output('y', cast(y, 1), ['rows', 4]);
    const written = await writeModel(
      folder,
      [{ path: 'linear.onnx', model: g.build('a linear layer') }],
      [data],
    );
    t.same(
      written.map(({ path }) => path),
      ['linear.onnx', 'linear.data'],
    );
    const runner = await Runner.open(folder, 'linear.onnx');
    const found = await runner.run({ x });
    t.same(found['y']!.dims, [5, 4]);
    t.ok(relativeError(found['y']!.data, wanted) < (precision === 'fp32' ? 1e-6 : 2e-3));
    const model = fromBinary(ModelProtoSchema, await readFile(join(folder, 'linear.onnx')));
    const names = model.graph!.node.map(({ name }) => name);
    t.ok(names.includes('layer/matmul'), 'nodes carry the scope they stand in');
    t.equal(new Set(names).size, names.length, 'names are unique');
  }
});

await t.test('a tensor that two graphs name is stored once', async (t) => {
  const folder = t.testdir({});
  const data = new DataFile('shared.data');
  const weight = W.weightOf([300, 100], noise([300, 100]).data);
  const graphs = ['one', 'two'].map((name) => {
    const g = new Graph(name, data);
    const x = g.input('x', [1, 300]);
    g.output('y', g.node('MatMul', [x, g.weight('w', weight)]), [1, 100]);
    return { path: `${name}.onnx`, model: g.build() };
  });
  const small = new Graph('three', data);
  small.output('y', small.weight('tiny', W.weightOf([1], [7])), [1]);
  graphs.push({ path: 'three.onnx', model: small.build() });
  const written = await writeModel(folder, graphs, [data]);
  t.equal(written.at(-1)!.bytes, 120000 + 4, 'one copy');
  const x = noise([1, 300], 2);
  const [one, two] = await Promise.all(
    ['one.onnx', 'two.onnx'].map(async (file) => (await Runner.open(folder, file)).run({ x })),
  );
  t.same(one!['y']!.data, two!['y']!.data);
  t.throws(
    () => new Graph('four', data).weight('w', W.weightOf([1], [1])),
    /two different tensors/,
  );
  await t.rejects(writeModel(folder, graphs, [data]), { code: 'EEXIST' });
});

await t.test('attention in parts gives the same bits', async (t) => {
  const folder = t.testdir();
  const g = new Graph('attention', new DataFile('none.data'));
  const dims = ['images', 'rows', 24];
  const [q, k, v] = [g.input('q', dims), g.input('k', dims), g.input('v', dims)];
  const net: Net = { g, flavour: 'standard' };
  for (const parts of [1, 2, 4]) {
    const y = g.scope(`${parts}`, () => attend(net, q, k, v, { heads: 4, width: 24, parts }));
    g.output(`y${parts}`, y, dims);
  }
  await writeModel(folder, [{ path: 'attention.onnx', model: g.build() }], []);
  const runner = await Runner.open(folder, 'attention.onnx');
  const feeds = { q: noise([3, 7, 24], 1), k: noise([3, 7, 24], 2), v: noise([3, 7, 24], 3) };
  const { y1, y2, y4 } = await runner.run(feeds);
  t.same(y1!.dims, [3, 7, 24]);
  t.same(y2!.data, y1!.data);
  t.same(y4!.data, y1!.data);
});

await t.test('attention has as many parts as its scores ask for', async (t) => {
  t.equal(partsOf(8, 12, 1024, 2048), 1);
  t.equal(partsOf(8, 12, 4096, 4096), 4);
  t.equal(partsOf(8, 12, 4096, 8192), 8);
  t.equal(partsOf(6, 12, 4096, 8192), 6, 'whole heads only');
  t.equal(partsOf(8, 12, 16384, 32768), 8, 'never less than a head');
});
