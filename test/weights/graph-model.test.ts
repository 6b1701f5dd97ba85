import { join } from 'node:path';
import t from 'tap';
import { smallSize, writeCheckpoint } from '../../bench/synthetic/checkpoint.js';
import { relativeError } from '../../scripts/golden/relative-error.js';
import { importModel } from '../../weights/import.js';
import type { Manifest } from '../../weights/manifest.js';
import { melFilters } from '../../weights/model/mel.js';
import { noise, Runner, type Values } from './ort.js';

const root = t.testdir();
const checkpoint = join(root, 'pretrained_weights');
// three levels and channels that go down again: every kind of skip and shortcut
const sizes = { ...smallSize, channels: [32, 64, 32], audioLayers: 2 };
await writeCheckpoint(checkpoint, sizes);

interface Model {
  readonly manifest: Manifest;
  open(name: keyof Manifest['networks']): Promise<Runner>;
}

async function model(precision: 'fp32' | 'fp16'): Promise<Model> {
  const out = join(root, precision);
  const { manifest } = await importModel({ folder: checkpoint, out, precision });
  return { manifest, open: (name) => Runner.open(out, manifest.networks[name].file) };
}

const full = await model('fp32');
const half = await model('fp16');

await t.test('log-mel agrees with a plain Fourier transform', async (t) => {
  const samples = 2000;
  const pcm = Float32Array.from({ length: samples }, (_, i) => 0.3 * Math.sin((i * i) / 9000));
  const frames = Math.floor(samples / 160);
  const filters = melFilters();
  const log = new Float64Array(80 * frames);
  const mirrored = (i: number) => pcm[i < 0 ? -i : i >= samples ? 2 * samples - 2 - i : i]!;
  for (let frame = 0; frame < frames; frame++) {
    const power = Array.from({ length: 201 }, (_, bin) => {
      let [re, im] = [0, 0];
      for (let n = 0; n < 400; n++) {
        const x = mirrored(frame * 160 + n - 200) * Math.sin((Math.PI * n) / 400) ** 2;
        re += x * Math.cos((2 * Math.PI * bin * n) / 400);
        im -= x * Math.sin((2 * Math.PI * bin * n) / 400);
      }
      return re * re + im * im;
    });
    for (let band = 0; band < 80; band++) {
      const sum = power.reduce((s, x, bin) => s + x * filters[band * 201 + bin]!, 0);
      log[band * frames + frame] = Math.log10(Math.max(sum, 1e-10));
    }
  }
  const floor = Math.max(...log) - 8;
  const wanted = log.map((x) => (Math.max(x, floor) + 4) / 4);
  for (const { open } of [full, half]) {
    const found = await (await open('mel')).run({ pcm: { dims: [samples], data: pcm } });
    t.same(found['log_mel']!.dims, [80, frames]);
    t.ok(relativeError(found['log_mel']!.data, wanted) < 1e-5);
  }
});

await t.test(
  'audio states: of the given frames only, the rest of a block heard as zeros',
  async (t) => {
    const audio = await full.open('audio');
    const short = noise([80, 301], 4);
    const padded: Values = { dims: [80, 3000], data: new Float32Array(80 * 3000) };
    for (let band = 0; band < 80; band++) {
      padded.data.set(short.data.subarray(band * 301, (band + 1) * 301), band * 3000);
    }
    const some = (await audio.run({ mel: short }))['features']!;
    const all = (await audio.run({ mel: padded }))['features']!;
    t.same(some.dims, [150, 3, sizes.audioWidth]);
    t.same(all.dims, [1500, 3, sizes.audioWidth]);
    t.ok(relativeError(some.data, all.data.subarray(0, some.data.length)) < 1e-5);
  },
);

const clip = { frames: 5, height: 8, width: 8 };

async function bankOf({ manifest, open }: Model, h: number, w: number) {
  const bank = await (await open('reference')).run({ latents: noise([1, 4, h, w], 8) });
  t.same(Object.keys(bank).sort(), [...manifest.bank].sort());
  return bank;
}

function feeds(bank: Record<string, Values>, batch: number, size = clip, seed = 20) {
  const { frames, height, width } = size;
  return {
    sample: noise([batch, frames, 4, height, width], seed),
    timestep: { dims: [1], data: Float32Array.of(500) },
    audio: noise([batch, frames, 10 * (sizes.audioLayers + 1), sizes.audioWidth], seed + 1),
    face: noise([sizes.channels[0]!, height, width], 7),
    ...bank,
  };
}

await t.test('denoiser', async (t) => {
  const denoiser = await full.open('denoiser');
  const bank = await bankOf(full, 8, 8);
  const both = feeds(bank, 2);
  const v = (await denoiser.run(both))['v']!;
  t.same(v.dims, [2, 5, 4, 8, 8]);
  t.ok(v.data.every(Number.isFinite));

  await t.test('is deterministic', async (t) => {
    t.same((await denoiser.run(both))['v']!.data, v.data);
  });
  await t.test('treats windows of a batch alike', async (t) => {
    const part = ({ dims, data }: Values, i: number): Values => {
      const step = data.length / dims[0]!;
      return { dims: [1, ...dims.slice(1)], data: data.slice(i * step, (i + 1) * step) };
    };
    for (const i of [0, 1]) {
      const one = { ...both, sample: part(both.sample, i), audio: part(both.audio, i) };
      const alone = (await denoiser.run(one))['v']!;
      t.ok(relativeError(alone.data, part(v, i).data) < 1e-5);
    }
  });
  await t.test('hears, sees the face and the reference, and knows the time', async (t) => {
    const silent = { ...both.audio, data: new Float32Array(both.audio.data.length) };
    const faceless = { ...both.face, data: new Float32Array(both.face.data.length) };
    const later = { dims: [1], data: Float32Array.of(20) };
    const other = await (await full.open('reference')).run({ latents: noise([1, 4, 8, 8], 9) });
    for (const change of [{ audio: silent }, { face: faceless }, { timestep: later }, other]) {
      const changed = (await denoiser.run({ ...both, ...change }))['v']!;
      t.ok(relativeError(changed.data, v.data) > 1e-4);
    }
  });
  await t.test('takes any number of frames and sides that do not halve', async (t) => {
    for (const size of [
      { frames: 1, height: 8, width: 8 },
      { frames: 16, height: 5, width: 7 },
      { frames: 3, height: 9, width: 12 },
    ]) {
      const own = await bankOf(full, size.height, size.width);
      const out = (await denoiser.run(feeds(own, 1, size)))['v']!;
      t.same(out.dims, [1, size.frames, 4, size.height, size.width]);
      t.ok(out.data.every(Number.isFinite));
    }
  });
  await t.test('in half precision is close', async (t) => {
    const found = await (await half.open('denoiser')).run(feeds(await bankOf(half, 8, 8), 2));
    t.ok(relativeError(found['v']!.data, v.data) < 2e-2);
  });
  await t.test('without conditions needs none', async (t) => {
    const plain = await full.open('denoiserUncond');
    t.same([...plain.inputs].sort(), ['sample', 'timestep']);
    const { sample, timestep } = both;
    const found = (await plain.run({ sample, timestep }))['v']!;
    t.same(found.dims, v.dims);
    t.ok(relativeError(found.data, v.data) > 1e-4);
  });
});

await t.test('face locator and VAE scale by eight, in both precisions', async (t) => {
  for (const { open } of [full, half]) {
    const mask = noise([24, 40]);
    const face = (await (await open('faceLocator')).run({ mask }))['face']!;
    t.same(face.dims, [sizes.channels[0], 3, 5]);
    const image = noise([2, 3, 24, 40]);
    const latents = (await (await open('vaeEncoder')).run({ image }))['latents']!;
    t.same(latents.dims, [2, 4, 3, 5]);
    const decoded = (await (await open('vaeDecoder')).run({ latents }))['image']!;
    t.same(decoded.dims, [2, 3, 24, 40]);
    t.ok(decoded.data.every(Number.isFinite));
  }
});
