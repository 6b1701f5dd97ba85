import { readdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { AddonPlan } from '../../native/addon.js';
import { Engine, parts } from '../../native/index.js';
import { openModel } from '../../native/model.js';
import { temporaryFolder } from '../helpers/folder.js';
import { smallClip, testModel } from './clip.js';

const { config } = await openModel(testModel);
const picture = (side: number) => ({
  image: { width: side, height: side, data: new Uint8Array(3 * side * side).fill(90) },
  faceMask: { width: side, height: side, data: new Uint8Array(side * side).fill(255) },
});
/** So large that the denoiser needs more than what runs once per clip. */
const side = 192;
const clip = smallClip({ ...picture(side), steps: 1, frames: 8, contextFrames: 8 });
const lanes = await Engine.load({ model: testModel, threads: 2 });
t.teardown(() => lanes.dispose());

async function make(engine: Engine): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  await engine.render(clip, { onFrames: ({ data }) => void chunks.push(data) });
  return Buffer.concat(chunks);
}

/** An engine that plans as on a GPU with so much memory; the host does the work. */
const withMemory = (
  memoryBytes: number,
  outOfMemory: number[] = [],
  { model = testModel, usual = { width: side, height: side, contextFrames: 8 } } = {},
): Promise<Engine> =>
  Engine.load({
    model,
    threads: 2,
    usual,
    hostDevice: {
      ...{ standardGraphs: false, windows: 1, images: 1 },
      ...{ memoryBytes, outOfMemory, lostAt: 0 },
    },
  });

const request = { width: side, height: side, frames: 8, windows: 1, clipFrames: 8, guided: false };

/** The plans for a clip, from the fastest to the smallest. */
function plans(of = request): AddonPlan[] {
  const found: AddonPlan[] = [];
  for (let freeBytes = 2 ** 36; ; freeBytes = found.at(-1)!.bytes - 1) {
    try {
      found.push(parts.plan(config, { ...of, freeBytes })!);
    } catch {
      return found;
    }
  }
}

t.test('whatever the plan, the frames are the same', async (t) => {
  const frames = await make(lanes);
  const sizes = plans().map(({ bytes }) => bytes);
  t.ok(sizes.length >= 3, sizes.join());
  const said = new Set<string>();
  for (const bytes of [sizes[0]!, sizes.at(-1)!]) {
    const engine = await withMemory(bytes);
    t.same(await make(engine), frames);
    if (bytes === sizes.at(-1))
      t.same(await make(engine), frames, 'what was freed is loaded again');
    const { plan } = engine.info();
    t.match(plan, /^192x192, windows of 8 frames: /);
    said.add(plan!);
    await engine.dispose();
  }
  t.equal(said.size, 2, [...said].join('\n'));
  t.match([...said].join('\n'), 'networks that run once are loaded for each clip');
});

t.test('what cannot fit is refused when the engine is loaded', async (t) => {
  await t.rejects(withMemory(2 ** 30), {
    code: 'ENGINE_OUT_OF_MEMORY',
    message:
      /^192x192 with windows of 8 frames needs 1\.\d GiB of the GPU, which has 1\.0 GiB free/,
  });
});

t.test('out of memory in spite of the plan: the next smaller one', async (t) => {
  const frames = await make(lanes);
  const engine = await withMemory(2 ** 32, [30]);
  t.same(await make(engine), frames);
  t.match(engine.info().plan, /after the GPU had no memory for 1\.\d GiB$/);
  await engine.dispose();
});

t.test('calls that give their memory back may be larger than those that found none', async (t) => {
  const sides = { width: 128, height: 128 };
  const tight = plans({ ...request, ...sides, frames: 4, windows: 3, clipFrames: 9 });
  const { bytes } = tight.find(({ windows, images, shrink }) => windows + images === 2 && !shrink)!;
  // the second of three windows finds no memory: it and the third are then one call of three
  const engine = await withMemory(bytes, [43], { usual: { ...sides, contextFrames: 4 } });
  const three = { ...picture(128), steps: 1, frames: 9, contextFrames: 4, contextOverlap: 1 };
  const done: number[] = [];
  await engine.render(smallClip(three), {
    onFrames: () => {},
    onProgress: ({ stage, window }) => void (stage === 'denoise' && done.push(window)),
  });
  t.same(done, [1, 3]);
  t.match(engine.info().plan, /3 windows per call.*memory is given back/);
  await engine.dispose();
});

t.test('a clip that ends for lack of memory leaves none of it taken', async (t) => {
  const model = await temporaryFolder(t);
  for (const file of await readdir(testModel)) {
    await symlink(join(testModel, file), join(model, file));
  }
  const { bytes } = plans().at(-1)!;
  const engine = await withMemory(bytes, [1], { model });
  await t.rejects(make(engine), { code: 'ENGINE_OUT_OF_MEMORY' });
  await rm(join(model, 'denoiser.cpu.onnx'));
  await t.rejects(
    make(engine),
    { code: 'ENGINE_MODEL_INVALID', message: /denoiser\.cpu\.onnx/ },
    'its networks are opened anew',
  );
  await engine.dispose();
});

t.test('what is tried, and what may be used in its place', async (t) => {
  const order = (options: Parameters<typeof parts.attempts>[0]) =>
    parts.attempts(options).map(({ provider, leave }) => `${provider} ${leave}`);
  t.same(order({}), ['tensorrt missing', 'cuda never']);
  t.same(order({ fallback: ['cuda'] }), ['tensorrt failing', 'cuda never']);
  t.same(order({ fallback: ['cpu'] }), ['tensorrt missing', 'cuda failing', 'cpu never']);
  t.same(order({ provider: 'tensorrt' }), ['tensorrt never']);
  t.same(order({ provider: 'tensorrt', fallback: ['cuda'] }), ['tensorrt failing', 'cuda never']);
  t.same(order({ provider: 'tensorrt', fallback: ['cpu'] }), ['tensorrt failing', 'cpu never']);
  t.same(order({ provider: 'tensorrt', fallback: ['cpu', 'cuda'] }), [
    'tensorrt failing',
    'cuda failing',
    'cpu never',
  ]);
  t.same(order({ provider: 'cuda', fallback: ['cuda'] }), ['cuda never']);
  t.same(order({ provider: 'cuda', fallback: ['cpu'] }), ['cuda failing', 'cpu never']);
});

t.test('another device only with permission, and never silently', async (t) => {
  for (const options of [
    { provider: 'cuda' },
    { provider: 'tensorrt' },
    { device: 'cuda:9' },
    { device: 'cuda:9', provider: 'cuda' },
    { device: 'cpu', provider: 'cuda' },
  ] as const) {
    await t.rejects(Engine.load({ model: testModel, ...options }), {
      code: 'ENGINE_DEVICE_UNAVAILABLE',
    });
    await t.rejects(Engine.load({ model: testModel, ...options, fallback: ['cuda'] }), {
      code: 'ENGINE_DEVICE_UNAVAILABLE',
    });
  }
  const engine = await Engine.load({ model: testModel, device: 'cuda:9', fallback: ['cpu'] });
  t.match(engine.info(), {
    provider: 'cpu',
    device: { id: 'cpu' },
    passedOver: [/"cuda:9" is not one of cpu/],
  });
  await engine.dispose();
});
