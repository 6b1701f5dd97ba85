import t from 'tap';
import { type NetworkCount, countGraph } from '../../bench/roofline/count.js';
import { graphOf } from '../../weights/cost/graph.js';
import { memoryOf } from '../../weights/cost/memory.js';
import { Graph, type Precision } from '../../weights/graph/builder.js';
import { DataFile } from '../../weights/graph/data-file.js';
import { filled } from '../../weights/graph/weight.js';
import { attend } from '../../weights/model/layers.js';

/** Counts a graph that `body` makes of its inputs. */
function count(
  inputs: Record<string, (number | string)[]>,
  body: (g: Graph) => string,
  dims: Record<string, number> = {},
  precision: Precision = 'fp32',
): NetworkCount {
  const g = new Graph('test', new DataFile('test.data'), precision);
  for (const [name, shape] of Object.entries(inputs)) g.input(name, shape, g.compute);
  g.output('y', body(g), ['any'], g.compute);
  return countGraph(graphOf(g.build()), dims);
}

t.test('a convolution', async (t) => {
  const conv = (g: Graph) =>
    g.node('Conv', ['x', g.weight('w', filled([4, 3, 3, 3], 1)), g.weight('b', filled([4], 1))], {
      kernel_shape: [3, 3],
      strides: [2, 2],
      pads: [1, 1, 1, 1],
    });
  const found = count({ x: ['n', 3, 'h', 'w'] }, conv, { n: 2, h: 8, w: 10 });
  t.strictSame(found.outputs.get('y'), [2, 4, 4, 5]);
  const outputs = 2 * 4 * 4 * 5;
  t.equal(found.matrixFlops, 2 * outputs * 3 * 3 * 3);
  t.equal(found.otherFlops, outputs, 'the bias');
  t.equal(found.weightBytes, 4 * (4 * 3 * 9 + 4));
  t.equal(found.activationBytes, 4 * (2 * 3 * 8 * 10 + outputs));
  t.equal(found.leastBytes, found.weightBytes + found.activationBytes, 'one operator has no more');
});

t.test('our own convolutions count what taps would take', (t) => {
  const how = { stride: 1, pads: [1, 1, 1, 1], double: 0 };
  const kernel = (g: Graph) => g.weight('w', filled([6, 8, 3, 3], 1));
  const bias = (g: Graph) => g.weight('b', filled([6], 1));
  const plain = count({ x: [2, 4, 5, 8] }, (g) => g.own('Conv', ['x', kernel(g), bias(g)], how));
  t.strictSame(plain.outputs.get('y'), [2, 4, 5, 6]);
  t.equal(plain.matrixFlops, 2 * 2 * 20 * 6 * 8 * 9);
  t.equal(plain.otherFlops, 2 * 20 * 6);
  const half = count({ x: [2, 4, 5, 8] }, (g) =>
    g.own('Conv', ['x', kernel(g)], { ...how, stride: 2, pads: [0, 0, 1, 1] }),
  );
  t.strictSame(half.outputs.get('y'), [2, 2, 2, 6]);
  const cut = count({ x: [2, 4, 5, 8], like: [1, 7, 10, 3] }, (g) => {
    const size = g.node('Shape', ['like'], { start: 1, end: 3 });
    return g.own('Conv', ['x', kernel(g), '', '', size], { ...how, double: 1 });
  });
  t.strictSame(cut.outputs.get('y'), [2, 7, 10, 6]);
  t.equal(cut.matrixFlops, 2 * 2 * 70 * 6 * 8 * 9);
  const tokens = count({ x: [40, 8], skip: [2, 4, 5, 6] }, (g) => {
    const weight = g.weight('w', filled([8, 6], 1));
    return g.own('Conv', ['x', weight, bias(g), 'skip'], { ...how, pads: [0, 0, 0, 0] });
  });
  t.strictSame(tokens.outputs.get('y'), [2, 4, 5, 6]);
  t.equal(tokens.matrixFlops, 2 * 40 * 6 * 8);
  t.equal(tokens.otherFlops, 2 * 40 * 6);
  t.end();
});

t.test('matrix products', async (t) => {
  const batched = count({ x: [2, 5, 7] }, (g) =>
    g.node('MatMul', ['x', g.weight('w', filled([7, 3], 1))]),
  );
  t.strictSame(batched.outputs.get('y'), [2, 5, 3]);
  t.equal(batched.matrixFlops, 2 * 2 * 5 * 7 * 3);
  t.equal(batched.otherFlops, 0);
  const gemm = count({ x: [5, 7] }, (g) =>
    g.node('Gemm', ['x', g.weight('w', filled([7, 3], 1)), g.weight('b', filled([3], 1))]),
  );
  t.equal(gemm.matrixFlops, 2 * 5 * 7 * 3);
  t.equal(gemm.otherFlops, 5 * 3);
});

t.test('half precision moves half the bytes', async (t) => {
  const body = (g: Graph) => g.node('MatMul', ['x', g.weight('w', filled([7, 3], 1))]);
  const [wide, half] = [count({ x: [5, 7] }, body), count({ x: [5, 7] }, body, {}, 'fp16')];
  t.equal(half.matrixFlops, wide.matrixFlops);
  t.equal(half.weightBytes, wide.weightBytes / 2);
  t.equal(half.activationBytes, wide.activationBytes / 2);
});

t.test('attention: one operator counts like its parts', async (t) => {
  const [images, tokens, heads, width] = [2, 6, 4, 16];
  const parts = count(
    { q: [images, tokens, width], k: [images, tokens, width], v: [images, tokens, width] },
    (g) => attend({ g, flavour: 'standard' }, 'q', 'k', 'v', { heads, width }),
  );
  // q k^T and the mixture, 2 operations per pair and channel each; softmax per pair and head
  const pairs = images * tokens * tokens;
  t.equal(parts.matrixFlops, 2 * 2 * pairs * width);
  t.equal(parts.otherFlops, 5 * pairs * heads);
  const fused = count({ x: [images * tokens, 3 * width] }, (g) =>
    g.own('SelfAttention', ['x', g.ints([images])], { heads }),
  );
  t.strictSame(fused.outputs.get('y'), [images * tokens, width]);
  t.equal(fused.matrixFlops, parts.matrixFlops);
  t.equal(fused.otherFlops, parts.otherFlops);
  t.equal(fused.activationBytes, 4 * images * tokens * 4 * width, 'the scores stay inside');
  const shared = 10;
  const more = count(
    { x: [images * tokens, 3 * width], k: [1, shared, width], v: [1, shared, width] },
    (g) => g.own('SelfAttention', ['x', g.ints([images]), 'k', 'v'], { heads }),
  );
  t.equal(more.matrixFlops, 4 * images * tokens * (tokens + shared) * width);
});

t.test('attention over audio and over frames', async (t) => {
  const cross = count({ q: [2 * 6, 16], kv: [2 * 5, 100] }, (g) =>
    g.own('CrossAttention', ['q', 'kv', g.ints([2])], { heads: 4, offset: 8 }),
  );
  t.equal(cross.matrixFlops, 4 * 2 * 6 * 5 * 16);
  t.equal(cross.otherFlops, 5 * 2 * 6 * 5 * 4);
  t.equal(cross.activationBytes, 4 * (12 * 16 + 10 * 32 + 12 * 16), 'its own columns alone');
  const frames = count({ x: [1 * 3 * 7, 48], table: [32, 48] }, (g) =>
    g.own('FrameAttention', ['x', 'table', g.ints([1, 3])], { heads: 4 }),
  );
  t.equal(frames.matrixFlops, 4 * 7 * 3 * 3 * 16);
  t.equal(frames.otherFlops, 5 * 7 * 3 * 3 * 4 + 21 * 48);
});

t.test('norms and activations', async (t) => {
  const size = 2 * 8 * 3 * 5;
  const column = [8, 1, 1];
  const instance = count({ x: [2, 8, 3, 5] }, (g) => {
    const grouped = g.node('Reshape', ['x', g.ints([0, 4, -1])]);
    const one = g.weight('one', filled([4], 1));
    return g.node('InstanceNormalization', [grouped, one, one], { epsilon: { float: 1e-5 } });
  });
  t.strictSame(instance.outputs.get('y'), [2, 4, 30]);
  t.equal(instance.otherFlops, 5 * size);
  const fused = count({ x: [2, 3, 5, 8], shift: [1, 8, 1, 1] }, (g) =>
    g.own(
      'GroupNorm',
      ['x', g.weight('g', filled(column, 1)), g.weight('b', filled(column, 1)), 'shift'],
      { groups: 4, silu: 1, tokens: 0, epsilon: { float: 1e-5 } },
    ),
  );
  // normalised, gain, bias, shift, and x sigmoid(x)
  t.equal(fused.otherFlops, (5 + 2 + 1 + 2) * size);
  const tokens = count({ x: [2, 3, 5, 8] }, (g) =>
    g.own('GroupNorm', ['x'], { groups: 4, silu: 0, tokens: 1, epsilon: { float: 1e-5 } }),
  );
  t.strictSame(tokens.outputs.get('y'), [2 * 15, 8]);
  t.equal(tokens.otherFlops, 5 * size);
  const layer = count({ x: [5, 8] }, (g) => {
    const gain = g.weight('g', filled([8], 1));
    return g.node('LayerNormalization', ['x', gain, gain], { axis: -1 });
  });
  t.equal(layer.otherFlops, 7 * 40);
  const geglu = count({ x: [5, 16] }, (g) => g.own('Geglu', ['x', g.weight('b', filled([16], 1))]));
  t.strictSame(geglu.outputs.get('y'), [5, 8]);
  t.equal(geglu.otherFlops, 16 * 5 + 5 * 40 + 40);
});

t.test('what follows from weights alone costs nothing', async (t) => {
  const found = count({ x: [4, 6] }, (g) => {
    const [a, b] = [g.weight('a', filled([4, 5], 1)), g.weight('b', filled([5, 6], 1))];
    return g.node('Add', ['x', g.node('MatMul', [a, b])]);
  });
  t.equal(found.matrixFlops, 0);
  t.equal(found.otherFlops, 24);
  t.equal(found.weightBytes, 4 * 24, 'the product is read, not its factors');
});

t.test('shapes follow from shapes', async (t) => {
  const found = count(
    { x: ['n', 4, 'h', 'w'] },
    (g) => {
      const scales = g.floats([1, 1, 2, 2]);
      const how = { mode: 'nearest', nearest_mode: 'floor' };
      const doubled = g.node('Resize', ['x', '', scales], how);
      const sides = g.node('Shape', ['x'], { start: 2 });
      const cut = g.node('Slice', [doubled, g.ints([0, 0]), sides, g.ints([2, 3])]);
      const flat = g.node('Reshape', [cut, g.ints([0, 4, -1])]);
      const rows = g.node('Transpose', [flat], { perm: [0, 2, 1] });
      const [left] = g.nodes('Split', [rows, g.ints([1, 3])], ['left', 'right'], { axis: -1 });
      return g.node('Concat', [left!, rows], { axis: 2 });
    },
    { n: 2, h: 3, w: 5 },
  );
  t.strictSame(found.outputs.get('y'), [2, 15, 5]);
  t.equal(found.matrixFlops + found.otherFlops, 0);
  const elements = { x: 120, doubled: 480, cut: 120, rows: 120, both: 120, left: 30, joined: 150 };
  const { x, doubled, cut, rows, both, left, joined } = elements;
  const moved = [x + doubled, 2 * cut, 2 * rows, 2 * both, left + rows + joined];
  t.equal(found.activationBytes, 4 * moved.reduce((sum, n) => sum + n, 0));
});

t.test('what it does not know it refuses', async (t) => {
  const refused = (body: (g: Graph) => string, message: RegExp) =>
    t.throws(() => count({ x: [1, 2, 4, 4] }, body), { code: 'MODEL_INVALID', message });
  refused((g) => g.node('Einsum', ['x'], { equation: 'abcd->a' }), /operator Einsum/);
  refused((g) => g.own('Unheard', ['x']), /operator echomimic:Unheard/);
  refused((g) => {
    const weight = g.weight('w', filled([2, 1, 3, 3], 1));
    return g.node('Conv', ['x', weight], { group: 2, kernel_shape: [3, 3] });
  }, /groups/);
  t.throws(() => count({ x: ['n'] }, (g) => g.node('Sigmoid', ['x'])), {
    message: /no size for n/,
  });
});

t.test('memory of a call: what lives at the same time', async (t) => {
  const g = new Graph('test', new DataFile('test.data'));
  g.input('x', ['n', 4]);
  const wide = g.node('Concat', ['x', 'x', 'x'], { axis: 1 }, 'wide');
  const row = g.node('Reshape', [wide, g.ints([1, -1])], {}, 'row');
  const active = g.node('Sigmoid', [row], {}, 'active');
  const [left] = g.nodes('Split', [active, g.ints([1, 119])], ['left', 'right'], { axis: 1 });
  g.output('y', g.node('Sin', [left!], {}, 'sin'), [1, 1]);
  const found = memoryOf(graphOf(g.build()), { n: 10 });
  const whole = 4 * 120;
  t.equal(found.inputs, 4 * 40);
  t.equal(found.largest, whole);
  // the view holds the rows until the sigmoid has read them; the split holds both its parts
  t.equal(found.peak, 2 * whole);
  t.equal(found.node, 'active');
});
