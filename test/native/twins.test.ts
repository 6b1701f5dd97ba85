import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { projectRoot } from '../../src/paths.js';
import { temporaryFolder } from '../helpers/folder.js';

const operations = [
  'GatherFrames',
  'GatherTokens',
  'ApplyGuidance',
  'AddWindow',
  'StepFrames',
  'MakeNoise',
  'ToRgb',
];

t.test('what the kernels compute is what the CPU engine computes, to the last bit', async (t) => {
  const program = join(await temporaryFolder(t), 'twins');
  const engine = ['engine/latents', 'engine/noise', 'engine/windows', 'cuda/host_device'].map(
    (name) => `native/${name}.cc`,
  );
  const built = spawnSync(
    process.env['CXX'] ?? 'c++',
    [
      ...['-std=c++20', '-O2', '-Wall', '-Wextra', '-ffp-contract=off'],
      ...['-o', program, join('test', 'native', 'twins.cc'), ...engine],
    ],
    { cwd: projectRoot, encoding: 'utf8' },
  );
  t.equal(built.status, 0, built.error?.message ?? (built.stderr || 'it compiles'));
  for (const seed of ['1', String(Date.now())]) {
    const run = spawnSync(program, ['100', seed], { encoding: 'utf8' });
    t.equal(run.status, 0, `seed ${seed}${run.status === 0 ? '' : `: ${run.stdout}${run.stderr}`}`);
    for (const name of operations) {
      t.match(run.stdout, new RegExp(`^${name}: [1-9]\\d{4,} numbers, 0 differ$`, 'm'));
    }
    t.match(run.stdout, /^noise and libm: \d of 4000000 differ, 0 by more than the last bit$/m);
  }
});
