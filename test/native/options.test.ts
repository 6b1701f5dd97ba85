import { appendFile, cp, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Engine, devices } from '../../native/index.js';
import { smallClip, testModel } from './clip.js';

const engine = await Engine.load({ model: testModel });
t.teardown(() => engine.dispose());
const quiet = { onFrames: () => {} };

async function scratchModel(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'echomimic-model-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await cp(testModel, folder, { recursive: true });
  return folder;
}

t.test('absurd options are refused by name', async (t) => {
  const clip = smallClip();
  const absurd: [string, Record<string, unknown>][] = [
    ['fps', { fps: NaN }],
    ['fps', { fps: 0 }],
    ['fps', { fps: Infinity }],
    ['fps', { fps: '24' }],
    ['steps', { steps: 0 }],
    ['steps', { steps: 1001 }],
    ['steps', { steps: 2.5 }],
    ['steps', { steps: -3 }],
    ['cfg', { cfg: NaN }],
    ['cfg', { cfg: 1e9 }],
    ['seed', { seed: -1 }],
    ['seed', { seed: 2 ** 60 }],
    ['seed', { seed: 1n << 64n }],
    ['frames', { frames: 0 }],
    ['frames', { frames: 1e12 }],
    ['contextFrames', { contextFrames: 0 }],
    ['contextFrames', { contextFrames: 5000 }],
    ['contextOverlap', { contextOverlap: 8 }],
    ['contextOverlap', { contextOverlap: -1 }],
    ['audio', { audio: [0, 0, 0] }],
    ['audio', { audio: new Float32Array(0) }],
    ['audio', { audio: new Float32Array(319) }],
    ['audio', { audio: new Float32Array(16000).fill(NaN) }],
    ['noise', { noise: new Float32Array(5) }],
    ['image', { image: undefined }],
    ['image.width', { image: { ...clip.image, width: 65 } }],
    ['image.height', { image: { ...clip.image, height: 0 } }],
    ['image.width', { image: { ...clip.image, width: 1 << 20 } }],
    ['image.width', { image: { width: 65528, height: 65528, data: new Uint8Array(3) } }],
    ['image.data', { image: { ...clip.image, data: new Uint8Array(7) } }],
    ['image.data', { image: { ...clip.image, data: 'pixels' } }],
    ['faceMask', { faceMask: { width: 32, height: 32, data: new Uint8Array(32 * 32) } }],
    ['colour', { colour: 'red' }],
  ];
  for (const [field, change] of absurd) {
    const options = { ...clip, ...change };
    const error = (await engine.render(options, quiet).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )) as { code?: string; message?: string } | undefined;
    t.equal(error?.code, 'ENGINE_OPTION_INVALID', field);
    t.ok(error?.message?.startsWith(field), `${field}: ${error?.message}`);
  }
  t.ok((await engine.render(smallClip({ frames: 1 }), quiet)).frames === 1, 'still works');
});

t.test('absurd networks and inputs are refused', async (t) => {
  const data = new Float32Array(4);
  await t.rejects(engine.run('nothing', {}), { code: 'ENGINE_OPTION_INVALID' });
  await t.rejects(engine.run('mel', { pcm: { shape: [5], data } }), {
    code: 'ENGINE_OPTION_INVALID',
  });
  await t.rejects(engine.run('mel', { pcm: { shape: [-4], data } }), {
    code: 'ENGINE_OPTION_INVALID',
  });
  await t.rejects(engine.run('mel', { pcm: { shape: [2, 2], data } }), { code: 'ENGINE_FAILED' });
  await t.rejects(engine.run('mel', { other: { shape: [4], data } }), { code: 'ENGINE_FAILED' });
  await t.rejects(engine.audioTokens(new Float32Array(1), 24), { code: 'ENGINE_OPTION_INVALID' });
});

t.test('devices and providers that this machine lacks', async (t) => {
  const [cpu] = devices();
  t.match(cpu, { id: 'cpu', kind: 'cpu', cores: Number });
  const model = testModel;
  for (const options of [
    { provider: 'cuda' as const },
    { provider: 'tensorrt' as const },
    { device: 'cuda:7' },
  ]) {
    await t.rejects(Engine.load({ model, ...options }), { code: 'ENGINE_DEVICE_UNAVAILABLE' });
  }
  await t.rejects(Engine.load({ model, threads: 0 }), {
    code: 'ENGINE_OPTION_INVALID',
    message: /^threads/,
  });
  await t.rejects(Engine.load({ model, provider: 'tpu' as 'cpu' }), {
    code: 'ENGINE_OPTION_INVALID',
    message: /^provider/,
  });
});

t.test('a model that is missing, truncated or corrupt', async (t) => {
  await t.rejects(Engine.load({ model: join(testModel, 'nowhere') }), {
    code: 'ENGINE_MODEL_INVALID',
  });
  const folder = await scratchModel(t);
  const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as {
    networks: { denoiser: { file: string; cpuFile?: string } };
    files: { path: string; bytes: number }[];
  };
  const graph = manifest.networks.denoiser.cpuFile ?? manifest.networks.denoiser.file;
  const path = join(folder, graph);
  const original = await readFile(path);

  await truncate(path, original.length >> 1);
  await t.rejects(Engine.load({ model: folder }), {
    code: 'ENGINE_MODEL_INVALID',
    message: new RegExp(graph),
  });
  await rm(path);
  await t.rejects(Engine.load({ model: folder }), {
    code: 'ENGINE_MODEL_INVALID',
    message: new RegExp(graph),
  });
  await writeFile(path, Buffer.alloc(original.length, 'nonsense '));
  await t.rejects(Engine.load({ model: folder }), {
    code: 'ENGINE_MODEL_INVALID',
    message: new RegExp(graph),
  });
  await writeFile(path, original);
  await appendFile(join(folder, 'manifest.json'), '}');
  await t.rejects(Engine.load({ model: folder }), { code: 'ENGINE_MODEL_INVALID' });
});

t.test('a model folder that is deleted under a loaded engine', async (t) => {
  const folder = await scratchModel(t);
  const doomed = await Engine.load({ model: folder });
  await rm(folder, { recursive: true });
  t.equal((await doomed.render(smallClip({ frames: 2 }), quiet)).frames, 2);
  // The unconditional network may not be there yet; then its absence is a coded error.
  const guided = await doomed.render(smallClip({ frames: 2, cfg: 2 }), quiet).then(
    () => 'rendered',
    (error: { code?: string }) => error.code,
  );
  t.ok(['rendered', 'ENGINE_MODEL_INVALID'].includes(guided ?? ''), String(guided));
  t.equal((await doomed.render(smallClip({ frames: 2 }), quiet)).frames, 2);
  await doomed.dispose();
});
