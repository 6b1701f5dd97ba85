import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { readReport } from '../../bench/report/schema.js';
import { EngineProcess } from '../../bench/engine/process.js';
import { projectRoot } from '../../src/paths.js';
import { testModel } from '../native/clip.js';
import { temporaryFolder } from '../helpers/folder.js';

const run = promisify(execFile);
const bench = (...args: string[]) =>
  run(process.execPath, [join(projectRoot, 'dist', 'bench', 'main.js'), ...args], {
    cwd: projectRoot,
  });

const tiny = ['--model', testModel, '--seconds', '0.5', '--runs', '1', '--warm-up', '0'];
const small = [...tiny, '--steps', '1', '--size', '64', '--devices', 'cpu', '--threads', '1'];

t.test('engines alone and together, against a roof', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'new', 'report.json');
  const peaks = ['--roofline', '--peak-gflops', '100', '--peak-gbps', '10'];
  const { stdout } = await bench(...small, '--engines', '2', ...peaks, '--out', path);
  t.match(stdout, /alone engine cpu +0\.500 +12 /);
  t.match(stdout, /cpu denoiser /);
  const report = await readReport(path);
  t.strictSame(
    report.rows.map(({ scope, device, engine, frames }) => [scope, device, engine, frames]),
    [
      ['alone', 'cpu', null, 12],
      ['together', 'cpu', 0, 12],
      ['together', 'cpu', 1, 12],
      ['together', null, null, 24],
    ],
  );
  const [alone] = report.rows;
  t.equal(alone!.threads, 1);
  t.equal(alone!.windows, 1);
  t.ok(alone!.peakHostBytes! > 10e6);
  const { audio, reference, denoise, decode } = alone!.stages!;
  const parts = [audio, reference, denoise, decode].reduce((sum, { p50 }) => sum + p50, 0);
  t.ok(parts <= alone!.wallMs.p50, 'on one thread, stages do not outlast the run');
  t.ok(alone!.firstFrameMs!.p50 <= alone!.wallMs.p50);
  t.equal(report.settings.width, 64);
  t.strictSame(
    report.roofline!.networks.map(({ network, callMs }) => [network, callMs !== null]),
    ['mel', 'audio', 'faceLocator', 'vaeEncoder', 'reference', 'denoiser', 'vaeDecoder'].map(
      (name) => [name, true],
    ),
  );
  const compared = await bench('compare', path, path);
  t.match(compared.stdout, /alone engine cpu 0\.500 s: whole.*no difference can be claimed/);
});

t.test('whole videos', async (t) => {
  const path = join(await temporaryFolder(t), 'report.json');
  await bench(...small, '--encode', '--out', path);
  const { rows } = await readReport(path);
  t.strictSame(
    rows.map(({ mode, frames }) => [mode, frames]),
    [
      ['engine', 12],
      ['video', 12],
    ],
  );
  const { prepareMs, renderMs, finishMs } = rows[1]!.video!;
  const whole = prepareMs.p50 + renderMs.p50 + finishMs.p50;
  t.ok(whole > 0 && whole <= rows[1]!.wallMs.p50, 'parts of the whole');
});

t.test('counts alone need no weights', async (t) => {
  const { stdout } = await bench('roofline', '--full-size', '--size', '256');
  t.match(stdout, /full size \(fp16\), 24 frames of 256x256, 6 steps/);
  t.match(stdout, /denoiser +18 /);
});

t.test('what it does not understand it refuses', async (t) => {
  const refused = async (args: string[], message: RegExp) => {
    const error = await bench(...args).then(
      () => ({ code: 0, stderr: '' }),
      (reason: { code: number; stderr: string }) => reason,
    );
    t.equal(error.code, 1, args.join(' '));
    t.match(error.stderr, message);
  };
  await refused(['nothing'], /no measurement "nothing"/);
  await refused(['--runs', 'many'], /--runs must be a number from 1/);
  await refused(['--devices', 'cpu,cpu'], /--engines N/);
  await refused(['--devices', 'cuda:7'], /ENGINE_DEVICE_UNAVAILABLE.*"cuda:7" is not one of cpu/);
  await refused(['compare', 'one.json'], /two files/);
});

t.test('errors of an engine cross its process', async (t) => {
  const engine = new EngineProcess();
  t.teardown(() => engine.stop());
  const folder = await temporaryFolder(t);
  await t.rejects(engine.load({ model: folder }), { code: 'ENGINE_MODEL_INVALID' });
  await engine.stop();
  await t.rejects(engine.load({ model: testModel }), { code: 'ENGINE_FAILED', message: /ended/ });
});
