import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { projectRoot } from '../../src/paths.js';
import { importModel } from '../../weights/import.js';
import { closeFaceDetector } from '../../worker/media/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { testModel } from '../native/clip.js';
import { type Check, type Context, type Figure, isAccepted, runChecks } from './check.js';
import { clipExact, clipHalf, exactTolerance } from './checks/accuracy.js';
import { readTwins } from './checks/build.js';
import { allChecks } from './checks/index.js';
import { cancelling } from './checks/life.js';
import { compareEncoders, nvenc } from './checks/nvenc.js';
import { differences, psnr } from './difference.js';
import { markdown, reportOf, writeReports } from './report.js';

t.setTimeout(240_000);

const hasGpu = ['/dev/nvidiactl', '/dev/dxg'].some((path) => existsSync(path));

const check = (name: string, figures: Figure[], needs: string[] = []): Check => ({
  ...{ name, what: `what ${name} shows`, needs },
  run: async () => ({ figures }),
});
const nothing = { say: () => {} } as unknown as Context;

t.test('checks run in order, each after what it needs', async (t) => {
  const ran: string[] = [];
  const watch = (one: Check): Check => ({
    ...one,
    run: (context) => {
      ran.push(one.name);
      return one.run(context);
    },
  });
  const results = await runChecks(
    [
      check('good', [{ what: 'error', value: 1, most: 1 }]),
      check('bad', [{ what: 'error', value: 2, most: 1 }], ['good']),
      check('after bad', [{ what: 'x', value: 'y' }], ['bad']),
      check('after that', [{ what: 'x', value: 'y' }], ['after bad']),
      check('empty', []),
      { ...check('throws', []), run: () => Promise.reject(new Error('no such thing')) },
      { ...check('absent', []), run: async () => ({ figures: [], doesNotApply: 'none here' }) },
      check('no number', [{ what: 'error', value: Number.NaN, most: 1 }]),
    ].map(watch),
    nothing,
  );
  t.strictSame(
    results.map(({ verdict }) => verdict),
    ['passed', 'failed', 'not run', 'not run', 'failed', 'failed', 'does not apply', 'failed'],
  );
  t.strictSame(ran, ['good', 'bad', 'empty', 'throws', 'absent', 'no number']);
  t.match(results[5], { reason: 'no such thing' });
  t.notOk(isAccepted(results));
  t.ok(isAccepted([results[0]!, results[6]!]));
  t.notOk(isAccepted([results[0]!, results[2]!]), 'what was not run is not accepted');
  t.notOk(isAccepted([results[6]!]), 'neither is a machine on which nothing applies');
});

t.test('every need stands before the check that has it', async (t) => {
  const before = new Set<string>();
  for (const { name, needs = [] } of allChecks) {
    for (const need of needs) t.ok(before.has(need), `${name} needs ${need}`);
    t.notOk(before.has(name), name);
    before.add(name);
  }
  const documented = await readFile(join(projectRoot, 'docs', 'gpu-acceptance.md'), 'utf8');
  for (const { name } of allChecks) t.ok(documented.includes(`| \`${name}\``), `${name} in docs`);
});

t.test('differences between clips', async (t) => {
  const latents = Float32Array.of(3, 4);
  const frames = Uint8Array.of(10, 20, 30, 40);
  t.equal(psnr(frames, frames), Infinity);
  const shifted = frames.map((x) => x + 1);
  t.equal(psnr(frames, shifted).toFixed(2), '48.13');
  t.ok(Number.isNaN(psnr(frames, frames.subarray(1))), 'other lengths have none');
  const good = ({ value, least = -Infinity, most = Infinity }: Figure) =>
    Number(value) >= least && Number(value) <= most;
  const same = differences({ latents, frames }, { latents, frames }, exactTolerance);
  t.ok(same.every(good));
  const other = { latents: Float32Array.of(3, 4.5), frames: shifted };
  const found = differences(other, { latents, frames }, exactTolerance);
  t.strictSame(
    found.map(({ value }) => (typeof value === 'number' ? Number(value.toFixed(3)) : value)),
    [0.1, 1, 1, 48.131],
  );
  t.strictSame(found.map(good), [false, false, true, false]);
});

t.test('what twins prints', async (t) => {
  const output =
    'codes: 31, 0 differ\nAddWindow: 51200 numbers, 0 differ\nToRgb: 9 numbers, 2 differ\n';
  t.strictSame(readTwins(output), [
    { what: 'codes, differ', value: 0, most: 0 },
    { what: 'AddWindow, 51200 numbers, differ', value: 0, most: 0 },
    { what: 'ToRgb, 9 numbers, differ', value: 2, most: 0 },
  ]);
});

t.test('the report', async (t) => {
  const folder = await temporaryFolder(t);
  const results = await runChecks(
    [
      check('a|b', [{ what: 'error', value: 2e-5, unit: 'levels', most: 1e-4 }]),
      check('c', [{ what: 'lost', value: Number.NaN, least: 1 }]),
    ],
    nothing,
  );
  const text = await writeReports(join(folder, 'new'), reportOf({ device: 'cuda:0' }, results));
  t.match(text, /^# Acceptance: FAILED\n/);
  t.match(text, /1 passed, 1 failed, 0 not run/);
  t.match(text, /\| a\\\|b \| passed \|.*error: 2\.0e-5 levels \(at most 1\.0e-4\)/);
  t.match(text, /\| c \| \*\*FAILED\*\* \|.*lost: NaN \(at least 1\) \*\*NOT GOOD\*\*/);
  t.equal(await readFile(join(folder, 'new', 'report.md'), 'utf8'), text);
  const kept = JSON.parse(await readFile(join(folder, 'new', 'report.json'), 'utf8')) as {
    accepted: boolean;
    results: { figures: { value: unknown }[] }[];
  };
  t.equal(kept.accepted, false);
  t.equal(kept.results[1]!.figures[0]!.value, 'NaN');
  t.match(markdown(reportOf({}, results.slice(0, 1))), /^# Acceptance: PASSED\n/);
});

t.test('the checks of an engine, with the CPU in the place of the GPU', async (t) => {
  const folder = await temporaryFolder(t);
  const checkpoint = join(projectRoot, 'weights', 'bundled');
  const half = join(folder, 'half');
  await importModel({ folder: checkpoint, name: 'half', out: half, precision: 'fp16' });
  const context: Context = {
    ...{ device: 'cpu', exact: 'cpu', half: 'cpu', golden: [], folder, seconds: 0.5, size: 64 },
    models: { exact: testModel, half },
    say: () => {},
  };
  const alone = (one: Check): Check => ({ ...one, needs: [] });
  const results = await runChecks([clipExact, clipHalf, cancelling, nvenc].map(alone), context);
  await closeFaceDetector();
  t.strictSame(
    results.map(({ name, verdict, reason }) => [name, verdict, reason?.split(':')[0]]),
    [
      ['clip-float32', 'passed', undefined],
      ['clip-float16', 'passed', undefined],
      ['cancel', 'passed', undefined],
      ['nvenc', 'does not apply', 'VIDEO_ENCODER=nvenc'],
    ],
    markdown(reportOf({}, results)),
  );
  const value = (check: number, what: RegExp) =>
    results[check]!.figures.find((figure) => what.test(figure.what))?.value;
  t.equal(value(0, /plain: latents/), 0, 'the same engine makes the same clip');
  t.ok(Number(value(1, /guided: latents/)) > 1e-5, 'float16 is seen');
  const wrong = { ...context, half: 'cuda' } as const;
  const [refused] = await runChecks([alone(clipHalf)], wrong);
  t.match(refused, { verdict: 'failed', reason: /^ENGINE_/ });

  const figures = await compareEncoders(context, { name: 'x264' }, { side: 160, frames: 12 });
  t.match(figures[0]!.value, /^h264,High,yuv420p,tv,bt709,12$/);
  const quality = figures.find(({ what }) => what === 'PSNR')!;
  t.ok(Number(quality.value) > 30, `${quality.value} dB`);
});

t.test('without a GPU it fails at once and says so', { skip: hasGpu }, async (t) => {
  const run = spawnSync('npm', ['run', '--silent', 'test:gpu'], {
    cwd: projectRoot,
    encoding: 'utf8',
  });
  t.equal(run.status, 1);
  t.match(run.stderr, /THERE IS NO NVIDIA GPU HERE, so nothing was tested and nothing passed/);
  t.equal(run.stdout, '');
});
