import { spawnSync } from 'node:child_process';
import { cp, mkdir, readFile, readdir, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import t from 'tap';
import {
  configsOf,
  shapesOf,
  smallSize,
  tensorsOf,
  writeCheckpoint,
  type FileName,
} from '../../bench/synthetic/checkpoint.js';
import {
  writeSafetensors,
  writeTorchArchive,
  type TensorSpec,
} from '../../bench/synthetic/torch-archive.js';
import { importModel, type ImportOptions } from '../../weights/import.js';
import { loadManifest, verifyModel } from '../../weights/manifest.js';
import { refuses, tensor } from './helpers.js';

const root = t.testdir();
const whole = join(root, 'pretrained_weights');
await writeCheckpoint(whole, smallSize);
const shapes = shapesOf(smallSize);

const base = 'sd-image-variations-diffusers/unet';
const files: Record<Exclude<FileName, 'vae' | 'whisper'>, string> = {
  denoising: 'denoising_unet_acc.pth',
  motion: 'motion_module_acc.pth',
  reference: 'reference_unet.pth',
  face: 'face_locator.pth',
};

let copies = 0;
/** A copy of the checkpoint to damage, and an empty folder for models. */
async function copyOf(): Promise<{ folder: string; models: string; out: string }> {
  const folder = join(root, `copy${++copies}`);
  await cp(whole, folder, { recursive: true });
  const models = join(root, `models${copies}`);
  await mkdir(models);
  return { folder, models, out: join(models, 'x') };
}

/** Rewrites one file of a checkpoint with other tensors. */
function rewrite(
  folder: string,
  name: keyof typeof files,
  change: (tensors: TensorSpec[]) => TensorSpec[],
): Promise<void> {
  const specs = change(tensorsOf(shapes[name], 'float32'));
  return writeTorchArchive(join(folder, files[name]), specs);
}

const config = async (folder: string, path: string, change: object): Promise<void> => {
  const file = join(folder, path, 'config.json');
  const json = JSON.parse(await readFile(file, 'utf8')) as object;
  await writeFile(file, JSON.stringify({ ...json, ...change }));
};

void t.test('a checkpoint becomes a model folder whose manifest tells its sizes', async (t) => {
  const out = join(root, 'models', 'one');
  const seen: number[] = [];
  const onProgress = (written: number, total: number) => seen.push(written / total);
  const { manifest, folder } = await importModel({ folder: whole, out, onProgress });
  t.equal(folder, out);
  t.same(await loadManifest(out), manifest);
  t.match(manifest, {
    format: 2,
    name: 'pretrained_weights',
    precision: 'fp32',
    accelerated: true,
    audio: { width: 16, layers: 1, blockFrames: 3000, positionsPerSecond: 50 },
    latent: { channels: 4, downscale: 8 },
    unet: { channels0: 32, blockOutChannels: [32, 32], layersPerBlock: 1, heads: 4, normGroups: 8 },
    motion: { heads: 4, maxFrames: 16 },
    defaults: { steps: 6, cfg: 1, width: 64, height: 64, fps: 24 },
  });
  t.match(manifest.defaults, { contextFrames: 12, contextOverlap: 3 });
  const parameters = Object.entries(shapes)
    .flatMap(([, map]) => [...map])
    .filter(([key]) => !/^decoder\.token|ln_post/.test(key))
    .reduce((sum, [, shape]) => sum + shape.reduce((a, b) => a * b, 1), 0);
  t.equal(manifest.parameters, parameters);
  t.same(
    (await readdir(out)).sort(),
    [...manifest.files.map((file) => file.path), 'manifest.json'].sort(),
  );
  t.ok(manifest.sources.some(({ path }) => path === 'audio_processor/whisper_tiny.pt'));
  t.ok(seen.every((value, i) => value >= (seen[i - 1] ?? 0)) && seen.at(-1)! <= 1);
  await verifyModel(out);
  const again = await importModel({ folder: whole, out });
  t.same(again.manifest, manifest, 'importing again replaces it with the same');
  t.same(await readdir(join(root, 'models')), ['one'], 'and leaves nothing beside it');
});

void t.test('half precision, half the bytes; plain weights, other defaults', async (t) => {
  const { models, out } = await copyOf();
  const folder = join(models, '..', 'plain');
  await writeCheckpoint(folder, smallSize, {
    accelerated: false,
    dtype: 'float16',
    vaeFormat: 'bin',
  });
  const { manifest } = await importModel({ folder, out, precision: 'fp16', name: 'p' });
  t.match(manifest, { name: 'p', precision: 'fp16', accelerated: false });
  t.match(manifest.defaults, { steps: 30, cfg: 2.5 });
  const bytes = (list: { path: string; bytes: number }[], path: string) =>
    list.find((file) => file.path === path)!.bytes;
  const full = await loadManifest(join(root, 'models', 'one'));
  t.ok(bytes(manifest.files, 'denoiser.data') < 0.6 * bytes(full.files, 'denoiser.data'));
  for (const name of ['denoising_unet.pth', 'motion_module.pth']) {
    await cp(join(folder, name), join(whole, name));
  }
  t.equal((await importModel({ folder: whole, out })).manifest.accelerated, true);
  t.equal((await importModel({ folder: whole, out, plain: true })).manifest.accelerated, false);
  for (const name of ['denoising_unet.pth', 'motion_module.pth']) await rm(join(whole, name));
});

void t.test('echomimic.json may give other defaults and the motion heads', async (t) => {
  const { folder, out } = await copyOf();
  const extras = join(folder, 'echomimic.json');
  await writeFile(extras, JSON.stringify({ defaults: { steps: 10, fps: 25 }, motionHeads: 2 }));
  const { manifest } = await importModel({ folder, out });
  t.match(manifest, { defaults: { steps: 10, fps: 25, cfg: 1 }, motion: { heads: 2 } });
  await writeFile(extras, JSON.stringify({ defaults: { steps: 0 } }));
  await refuses(t, importModel({ folder, out }), 'CHECKPOINT_FORMAT_INVALID', extras, 'steps');
  await writeFile(extras, JSON.stringify({ surprise: 1 }));
  await refuses(t, importModel({ folder, out }), 'CHECKPOINT_FORMAT_INVALID', extras);
});

void t.test('the base weights fill only keys that the others lack', async (t) => {
  const { folder, out } = await copyOf();
  const key = 'conv_in.weight';
  const without = (list: TensorSpec[]) => list.filter((spec) => spec.key !== key);
  const reference = await importModel({ folder, out });
  await rewrite(folder, 'denoising', without);
  const path = join(folder, files.denoising);
  const other = join(folder, base, 'diffusion_pytorch_model.bin');
  await refuses(t, importModel({ folder, out }), 'CHECKPOINT_KEY_MISSING', path, `key ${key}`);
  const original = tensorsOf(shapes.denoising, 'float32').find((spec) => spec.key === key)!;
  const unrelated = tensor('conv_in.bias', [32], new Array<number>(32).fill(99));
  await writeTorchArchive(other, [original, unrelated, tensor('text.only', [1], [0])]);
  const filled = await importModel({ folder, out });
  t.same(filled.manifest.files, reference.manifest.files);
  await writeTorchArchive(other, [tensor(key, [1], [0])]);
  await refuses(t, importModel({ folder, out }), 'CHECKPOINT_SHAPE_MISMATCH', other, `key ${key}`);
});

void t.test('attention layers of the VAE may have their older names', async (t) => {
  const { folder, out } = await copyOf();
  const { manifest } = await importModel({ folder, out });
  const older: [RegExp, string][] = [
    [/\.to_q\./, '.query.'],
    [/\.to_k\./, '.key.'],
    [/\.to_v\./, '.value.'],
    [/\.to_out\.0\./, '.proj_attn.'],
  ];
  const rename = (key: string) => older.reduce((name, [from, to]) => name.replace(from, to), key);
  const specs = tensorsOf(shapes.vae, 'float32').map((spec) => ({
    ...spec,
    key: rename(spec.key),
  }));
  t.ok(specs.some(({ key }) => key.includes('.proj_attn.')));
  await writeSafetensors(join(folder, 'sd-vae-ft-mse/diffusion_pytorch_model.safetensors'), specs);
  const again = await importModel({ folder, out });
  const data = (list: { path: string; sha256: string }[]) =>
    list.filter(({ path }) => path.endsWith('.data'));
  t.same(data(again.manifest.files), data(manifest.files));
});

void t.test('every kind of bad checkpoint has one clear error and leaves nothing', async (t) => {
  const { models, out } = await copyOf();
  const refused = async (
    change: (folder: string) => Promise<unknown>,
    code: Parameters<typeof refuses>[2],
    ...parts: string[]
  ) => {
    const { folder } = await copyOf();
    await change(folder);
    const places = parts.map((part) => part.replace('FOLDER', folder));
    await refuses(t, importModel({ folder, out }), code, ...places);
    await rm(folder, { recursive: true });
  };
  for (const name of [...Object.values(files), `${base}/config.json`]) {
    await refused((f) => rm(join(f, name)), 'CHECKPOINT_FILE_MISSING', basename(name));
  }
  const denoising = `FOLDER/${files.denoising}`;
  await refused(
    (f) => truncate(join(f, files.denoising), 5000),
    'CHECKPOINT_FORMAT_INVALID',
    `${denoising}: truncated`,
  );
  await refused(
    (f) => writeFile(join(f, files.motion), 'GIF89a'),
    'CHECKPOINT_FORMAT_INVALID',
    `FOLDER/${files.motion}: wrong magic`,
  );
  await refused(
    (f) => writeFile(join(f, base, 'config.json'), '{"block_out_channels": [32,'),
    'CHECKPOINT_FORMAT_INVALID',
    `FOLDER/${base}/config.json: not JSON`,
  );
  await refused(
    (f) => rewrite(f, 'denoising', (list) => [...list, tensor('up_blocks.9.x', [1], [0])]),
    'CHECKPOINT_KEY_UNKNOWN',
    `${denoising}: key up_blocks.9.x`,
  );
  await refused(
    (f) => rewrite(f, 'motion', (list) => list.slice(1)),
    'CHECKPOINT_KEY_MISSING',
    `FOLDER/${files.motion}: key ${[...shapes.motion.keys()][0]!}`,
  );
  await refused(
    (f) =>
      rewrite(f, 'reference', (list) => [
        tensor(list[0]!.key, [2, 2], [1, 2, 3, 4]),
        ...list.slice(1),
      ]),
    'CHECKPOINT_SHAPE_MISMATCH',
    `FOLDER/${files.reference}: key ${[...shapes.reference.keys()][0]!}`,
    '[2, 2]',
  );
  await refused(
    (f) => config(f, base, { block_out_channels: [32, 64] }),
    'CHECKPOINT_SHAPE_MISMATCH',
    'FOLDER',
    'key ',
  );
  await refused(
    (f) => config(f, base, { norm_num_groups: 7 }),
    'CHECKPOINT_FORMAT_INVALID',
    'norm_num_groups',
  );
  await refused(
    (f) => config(f, 'sd-vae-ft-mse', { latent_channels: 8 }),
    'CHECKPOINT_SHAPE_MISMATCH',
    'latent channels',
  );
  const whisper = 'audio_processor/whisper_tiny.pt';
  await refused(
    (f) => writeTorchArchive(join(f, whisper), tensorsOf(shapes.whisper, 'float16')),
    'CHECKPOINT_FORMAT_INVALID',
    `FOLDER/${whisper}: dims`,
  );
  const { dims } = configsOf({ ...smallSize, audioWidth: 32 });
  await refused(
    (f) =>
      writeTorchArchive(join(f, whisper), tensorsOf(shapes.whisper, 'float16'), {
        wrapper: 'model_state_dict',
        scalars: { dims },
      }),
    'CHECKPOINT_SHAPE_MISMATCH',
    `FOLDER/${whisper}: key encoder.`,
  );
  await refuses(t, importModel({ folder: join(root, 'nowhere'), out }), 'CHECKPOINT_FILE_MISSING');
  t.same(await readdir(models), [], 'no model folder and nothing half-written');
});

void t.test('nothing but a model or an empty folder is replaced', async (t) => {
  const { folder, models, out } = await copyOf();
  await mkdir(out);
  await writeFile(join(out, 'precious.txt'), 'x');
  await refuses(t, importModel({ folder, out }), 'MODEL_WRITE_FAILED', out, 'not replaced');
  t.same(await readdir(models), ['x']);
  await rm(join(out, 'precious.txt'));
  await importModel({ folder, out });
  await refuses(t, importModel({ folder, name: '../up' }), 'BAD_REQUEST', '../up');
  await refuses(t, importModel({ folder, name: 'checkpoint' }), 'MODEL_WRITE_FAILED');
  const file = join(models, 'file');
  await writeFile(file, 'x');
  const inside = join(file, 'x');
  await refuses(t, importModel({ folder, out: inside }), 'MODEL_WRITE_FAILED', file);
});

void t.test('what a killed import left is swept, an interrupted swap undone', async (t) => {
  const { folder, models, out } = await copyOf();
  await importModel({ folder, out });
  const dead = spawnSync(process.execPath, ['-e', '']).pid;
  await mkdir(join(models, `.x.importing-${dead}-abc`));
  await mkdir(join(models, `.y.importing-${dead}-abc`));
  await mkdir(join(models, `.x.importing-${process.pid}-abc`));
  await rename(out, join(models, `.x.replaced-${dead}-abc`));
  await importModel({ folder, out });
  t.same((await readdir(models)).sort(), [
    `.x.importing-${process.pid}-abc`,
    `.y.importing-${dead}-abc`,
    'x',
  ]);
});

void t.test('an import that is stopped leaves the old model as it was', async (t) => {
  const { folder, models, out } = await copyOf();
  const { manifest } = await importModel({ folder, out });
  const stop = new AbortController();
  const options: ImportOptions = {
    folder,
    out,
    precision: 'fp16',
    signal: stop.signal,
    onProgress: () => stop.abort(new Error('enough')),
  };
  await t.rejects(importModel(options), { message: 'enough' });
  t.same(await readdir(models), ['x']);
  t.same(await verifyModel(out), manifest);
});

void t.test('verify notices missing, short and changed files', async (t) => {
  const { folder, out } = await copyOf();
  const { manifest } = await importModel({ folder, out });
  const path = join(out, 'denoiser.data');
  const bytes = await readFile(path);
  bytes[1000]! ^= 1;
  await writeFile(path, bytes);
  await refuses(t, verifyModel(out), 'MODEL_INVALID', path, 'changed');
  await truncate(path, 100);
  await refuses(t, verifyModel(out), 'MODEL_INVALID', path, '100 bytes');
  await rm(path);
  await refuses(t, verifyModel(out), 'MODEL_INVALID', path, 'missing');
  const file = join(out, 'manifest.json');
  const cases: [object, string][] = [
    [{ ...manifest, format: 1 }, 'import the checkpoint again'],
    [{ ...manifest, format: 'x' }, 'format'],
    [{ ...manifest, files: [{ ...manifest.files[0]!, path: '../x' }] }, 'files'],
    [{ ...manifest, files: manifest.files.slice(1) }, manifest.files[0]!.path],
    [{ ...manifest, motion: { heads: 4, maxFrames: 2 } }, 'contextFrames'],
  ];
  for (const [value, what] of cases) {
    await writeFile(file, JSON.stringify(value));
    await refuses(t, loadManifest(out), 'MODEL_INVALID', file, what);
  }
  await writeFile(file, '{');
  await refuses(t, loadManifest(out), 'MODEL_INVALID', file, 'not JSON');
});
