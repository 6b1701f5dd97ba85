import { spawnSync } from 'node:child_process';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { psnr } from '../../bench/likeness.js';
import { Engine, type RenderOptions } from '../../native/index.js';
import { native } from '../../native/load.js';
import { openModel } from '../../native/model.js';
import { projectRoot } from '../../src/paths.js';
import type { Manifest } from '../../weights/manifest.js';
import { readGraph } from '../../weights/cost/graph.js';
import { temporaryFolder } from '../helpers/folder.js';
import { smallClip, speech, testModel } from './clip.js';

const fast = native().addon.hasFastInt8();

t.test('products in 8 bits are the same on every processor, and near the exact ones', async (t) => {
  const program = join(await temporaryFolder(t), 'int8');
  const built = spawnSync(
    process.env['CXX'] ?? 'c++',
    [
      ...['-std=c++20', '-O2', '-Wall', '-Wextra', '-o', program],
      ...[join('test', 'native', 'int8.cc'), join('native', 'ops', 'int8.cc')],
    ],
    { cwd: projectRoot, encoding: 'utf8' },
  );
  t.equal(built.status, 0, built.error?.message ?? (built.stderr || 'it compiles'));
  for (const seed of ['1', String(Date.now())]) {
    const run = spawnSync(program, ['200', seed], { encoding: 'utf8' });
    t.equal(run.status, 0, `seed ${seed}${run.status === 0 ? '' : `: ${run.stdout}${run.stderr}`}`);
    const name = fast ? 'vnni' : 'plain';
    t.match(run.stdout, new RegExp(`^${name} and plain: [1-9]\\d{4,} numbers, 0 differ$`, 'm'));
    t.match(run.stdout, /^rounding: 0 beyond what it explains$/m);
  }
});

const clip = smallClip({ contextFrames: 6, audio: speech(0.5) });
delete clip.contextOverlap;

async function frames(options: Parameters<typeof Engine.load>[0], request: RenderOptions = clip) {
  const engine = await Engine.load(options);
  const chunks: Uint8Array[] = [];
  await engine.render(request, { onFrames: ({ data }) => void chunks.push(Uint8Array.from(data)) });
  const info = engine.info();
  await engine.dispose();
  return { data: Buffer.concat(chunks), info };
}

t.test('approximate rendering is near the exact one, and off by default', async (t) => {
  const exact = await frames({ model: testModel, precision: 'exact', threads: 2 });
  const silent = await frames({ model: testModel, threads: 2 });
  t.match(silent.info, { precision: 'exact', int8: false });
  t.ok(silent.data.equals(exact.data), 'without the option, every bit is the same');
  const one = await frames({ model: testModel, precision: 'approximate', threads: 1 });
  t.match(one.info, { precision: 'approximate', int8: fast });
  t.not(one.data.equals(exact.data), true, 'it is another computation');
  const distance = psnr(one.data, exact.data);
  t.ok(distance > 40, `PSNR ${distance} dB`);
  const two = await frames({ model: testModel, precision: 'approximate', threads: 2 });
  t.ok(two.data.equals(one.data), 'the same with any number of threads');
  // what a task says counts
  const told = { ...clip, contextOverlap: 3 };
  const overlapping = await frames({ model: testModel, precision: 'approximate' }, told);
  t.notOk(overlapping.data.equals(one.data), 'a task may want its windows to overlap');
});

t.test('only graphs that are asked for compute in 8 bits', async (t) => {
  const int8 = async (asked: boolean) => {
    const { config } = await openModel(testModel, { int8: asked });
    const found: string[] = [];
    for (const { name, cpuPath } of config.networks) {
      const { nodes } = await readGraph(cpuPath);
      if (nodes.some(({ op }) => op.startsWith('echomimic:Int8'))) found.push(name);
    }
    return found;
  };
  // an engine asks for them only where the processor is made for them
  t.same(await int8(false), []);
  t.same(await int8(true), ['vaeDecoder', 'denoiser', 'denoiserUncond']);
});

t.test('a model that was imported without these graphs', async (t) => {
  const folder = join(await temporaryFolder(t), 'old');
  await cp(testModel, folder, { recursive: true });
  const path = join(folder, 'manifest.json');
  const manifest = JSON.parse(await readFile(path, 'utf8')) as Manifest;
  for (const network of Object.values(manifest.networks)) delete network.int8File;
  await writeFile(path, JSON.stringify(manifest));
  await t.rejects(openModel(folder, { int8: true }), {
    code: 'ENGINE_MODEL_INVALID',
    message: /import it again/,
  });
  t.equal((await openModel(folder)).manifest.name, manifest.name);
});
