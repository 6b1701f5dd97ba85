import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { smallSize, writeCheckpoint } from '../../bench/synthetic/checkpoint.js';
import { Engine } from '../../native/index.js';
import { Graph } from '../../weights/graph/builder.js';
import { DataFile } from '../../weights/graph/data-file.js';
import { weightOf } from '../../weights/graph/weight.js';
import { writeModel } from '../../weights/graph/writer.js';
import { importModel } from '../../weights/import.js';
import { temporaryFolder } from '../helpers/folder.js';

/** Numbers that repeat from run to run, -1 to 1. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

type Kind = 'same' | 'one' | 'half' | 'half low' | 'doubled' | 'cut' | 'linear' | 'norm';
const kinds: readonly Kind[] = [
  ...(['same', 'one', 'half', 'half low', 'doubled', 'cut', 'linear', 'norm'] as const),
];

interface Case {
  readonly kind: Kind;
  readonly inner: number;
  readonly outer: number;
  readonly height: number;
  readonly width: number;
  readonly bias: boolean;
  readonly skip: boolean;
}

function randomCases(count: number, next: () => number): Case[] {
  const whole = (from: number, to: number) =>
    from + Math.floor(((next() + 1) / 2) * (to - from + 1));
  return Array.from({ length: count }, (_, i) => ({
    kind: kinds[i % kinds.length]!,
    inner: whole(1, 70),
    outer: whole(1, 70),
    height: whole(2, 24),
    width: whole(2, 24),
    bias: next() > 0,
    skip: next() > 0,
  }));
}

/**
 * The sides of a case, from `source` [N, channels, rows, columns] on: ours, ONNX's own, and, of
 * convolutions, ours in 8 bits.
 */
function sides(g: Graph, source: string, one: Case, i: number, next: () => number): string[] {
  const values = (dims: number[]) =>
    weightOf(
      dims,
      Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => next() / 2),
    );
  const corner = g.ints([one.height, one.width]);
  const cut = g.node('Slice', [source, g.ints([0, 0]), corner, g.ints([2, 3])]);
  const mix = g.weight(`${i}.mix`, values([one.inner, 3, 1, 1]));
  const planes = g.node('Conv', [cut, mix], { kernel_shape: [1, 1] });
  const images = g.node('Transpose', [planes], { perm: [0, 2, 3, 1] });
  const back = (x: string) => g.node('Transpose', [x], { perm: [0, 3, 1, 2] });

  if (one.kind === 'norm') {
    const groups = one.inner % 3 === 0 ? 3 : one.inner;
    const [gain, bias, shift] = ['gain', 'bias', 'shift'].map((name) =>
      g.weight(`${i}.${name}`, values([one.inner, 1, 1])),
    ) as [string, string, string];
    const attributes = { groups, epsilon: { float: 1e-5 }, silu: one.bias ? 1 : 0, tokens: 0 };
    const ours = g.own('GroupNorm', [images, gain, bias, shift], attributes);
    const shifted = g.node('Add', [planes, shift]);
    const parts = g.node('Reshape', [shifted, g.ints([0, groups, -1])]);
    const [unit, none] = [1, 0].map((x) =>
      g.weight(`${i}.all${x}`, weightOf([groups], new Float32Array(groups).fill(x))),
    ) as [string, string];
    const normal = g.node('InstanceNormalization', [parts, unit, none], {
      epsilon: { float: 1e-5 },
    });
    const shaped = g.node('Reshape', [normal, g.node('Shape', [planes])]);
    const scaled = g.node('Add', [g.node('Mul', [shaped, gain]), bias]);
    const plain = one.bias ? g.node('Mul', [scaled, g.node('Sigmoid', [scaled])]) : scaled;
    return [back(ours), plain];
  }

  const linear = one.kind === 'linear';
  const kernel = one.kind === 'one' || linear ? 1 : 3;
  const weight = values([one.outer, one.inner, kernel, kernel]);
  const name = g.weight(`${i}.weight`, weight);
  const bias = one.bias ? g.weight(`${i}.bias`, values([one.outer])) : '';
  const stride = one.kind.startsWith('half') ? 2 : 1;
  const same = (kernel - 1) / 2;
  const pads = one.kind === 'half low' ? [0, 0, 1, 1] : [same, same, same, same];
  let from = planes;
  let size = '';
  if (one.kind === 'doubled' || one.kind === 'cut') {
    const how = {
      mode: 'nearest',
      coordinate_transformation_mode: 'asymmetric',
      nearest_mode: 'floor',
    };
    from = g.node('Resize', [planes, '', g.floats([1, 1, 2, 2])], how);
    if (one.kind === 'cut') {
      size = g.ints([2 * one.height - 1, 2 * one.width - (i % 2)]);
      from = g.node('Slice', [from, g.ints([0, 0]), size, g.ints([2, 3])]);
    }
  }
  const plain = g.node('Conv', bias === '' ? [from, name] : [from, name, bias], {
    kernel_shape: [kernel, kernel],
    strides: [stride, stride],
    pads,
  });
  const skip = one.skip ? g.node('Mul', [plain, g.scalar(0.5)]) : '';
  const skipped = one.skip ? g.node('Transpose', [skip], { perm: [0, 2, 3, 1] }) : '';
  const double = one.kind === 'doubled' || one.kind === 'cut' ? 1 : 0;
  let inputs = [images, name, bias, skipped, size];
  if (linear) {
    const rows = g.node('Reshape', [images, g.ints([-1, one.inner])]);
    const flat = {
      dims: [one.inner, one.outer],
      read: async () => {
        const w = await weight.read();
        return w.map((_, at) => w[(at % one.outer) * one.inner + Math.floor(at / one.outer)]!);
      },
    };
    inputs = [rows, g.weight(`${i}.linear`, flat), bias, skipped];
  }
  const image = (y: string) => {
    if (!linear || one.skip) return back(y);
    const shape = g.node('Concat', [g.node('Shape', [images], { end: 3 }), g.ints([-1])], {
      axis: 0,
    });
    return back(g.node('Reshape', [y, shape]));
  };
  const ours = g.own('Conv', inputs, { stride, pads, double });
  const rough = linear
    ? g.own('Int8Linear', inputs)
    : g.own('Int8Conv', inputs, { stride, pads, double });
  return [image(ours), one.skip ? g.node('Add', [plain, skip]) : plain, image(rough)];
}

t.test('convolutions and norms are those of ONNX, over random shapes', async (t) => {
  const folder = await temporaryFolder(t);
  await writeCheckpoint(join(folder, 'checkpoint'), smallSize);
  const model = join(folder, 'model');
  const { manifest } = await importModel({ folder: join(folder, 'checkpoint'), out: model });

  const next = numbers(Number(process.env['SEED'] ?? 20));
  const cases = [
    ...randomCases(64, next),
    // more than a block of tiles, and more weights than Winograd's larger scheme takes
    { kind: 'same', inner: 33, outer: 17, height: 24, width: 24, bias: true, skip: true } as const,
    { kind: 'same', inner: 640, outer: 576, height: 9, width: 9, bias: true, skip: true } as const,
    { kind: 'norm', inner: 192, outer: 1, height: 24, width: 23, bias: true, skip: false } as const,
  ];
  const data = new DataFile('cases.data');
  const g = new Graph('cases', data);
  const image = g.input('image', ['images', 3, 'height', 'width']);
  const pairs = cases.map((one, i) =>
    g.scope(String(i), () =>
      sides(g, image, one, i, next).map((x) => g.node('Reshape', [x, g.ints([-1])])),
    ),
  );
  g.output('latents', g.node('Concat', pairs.flat(), { axis: 0 }), ['all']);
  // takes the place of the encoder
  const path = 'vae_encoder.cpu.onnx';
  await rm(join(model, path));
  const [written] = await writeModel(model, [{ path, model: g.build() }], [data]);
  const files = manifest.files.map((file) => (file.path === path ? written! : file));
  await writeFile(join(model, 'manifest.json'), JSON.stringify({ ...manifest, files }));

  const images = 3;
  const side = 24;
  const pixels = Float32Array.from({ length: images * 3 * side * side }, next);
  const run = async (threads: number) => {
    const engine = await Engine.load({ model, threads });
    t.teardown(() => engine.dispose());
    const { latents } = await engine.run('vaeEncoder', {
      image: { shape: [images, 3, side, side], data: pixels },
    });
    return latents!.data;
  };
  const found = await run(1);
  let at = 0;
  for (const one of cases) {
    const [h, w] = [one.height, one.width];
    const size = {
      same: [h, w],
      one: [h, w],
      linear: [h, w],
      norm: [h, w],
      half: [Math.ceil(h / 2), Math.ceil(w / 2)],
      'half low': [Math.floor((h - 2) / 2) + 1, Math.floor((w - 2) / 2) + 1],
      doubled: [2 * h, 2 * w],
      cut: [2 * h - 1, 2 * w - (cases.indexOf(one) % 2)],
    }[one.kind] as [number, number];
    const count = images * (one.kind === 'norm' ? one.inner : one.outer) * size[0] * size[1];
    const [ours, plain] = [
      found.subarray(at, at + count),
      found.subarray(at + count, at + 2 * count),
    ];
    at += 2 * count;
    const largest = plain.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const worst = ours.reduce((most, x, i) => Math.max(most, Math.abs(x - plain[i]!)), 0);
    t.ok(worst <= 2e-5 * largest, `${JSON.stringify(one)}: ${worst} of ${largest}`);
    if (one.kind === 'norm') continue;
    const rough = found.subarray(at, at + count);
    at += count;
    const off = rough.reduce((most, x, i) => Math.max(most, Math.abs(x - plain[i]!)), 0);
    t.ok(off <= 0.02 * largest, `in 8 bits, ${JSON.stringify(one)}: ${off} of ${largest}`);
  }
  t.equal(at, found.length);
  t.ok(Buffer.from((await run(2)).buffer).equals(Buffer.from(found.buffer)), 'with any threads');
});
