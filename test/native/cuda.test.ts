import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { Device, gpus } from '../../native/index.js';
import { addonPaths } from '../../native/load.js';
import { projectRoot } from '../../src/paths.js';
import { temporaryFolder } from '../helpers/folder.js';
import { testModel } from './clip.js';

const search = [
  ...(process.env['PATH'] ?? '').split(delimiter),
  ...['CUDA_PATH', 'CUDA_HOME'].map((name) => join(process.env[name] ?? '', 'bin')),
  '/usr/local/cuda/bin',
];
const onPath = (program: string) =>
  search.map((folder) => join(folder, program)).find((path) => existsSync(path));
const nvcc = onPath('nvcc');
const skip =
  nvcc === undefined || onPath('cmake') === undefined
    ? 'nvcc or cmake is not installed: nothing of CUDA was built or checked'
    : false;
const driver = existsSync('/proc/driver/nvidia/version');

/** A folder of its own, so that the test replaces no build that is in use. */
const out = join(projectRoot, 'build', 'cuda-check');

function run(program: string, args: readonly string[]) {
  return spawnSync(program, args, { cwd: projectRoot, encoding: 'utf8' });
}

/** What a program that failed has said, for the name of a check. */
function failure({ status, stdout, stderr }: ReturnType<typeof run>): string {
  return status === 0 ? 'it succeeds' : `${stdout}${stderr}`.slice(-3000);
}

interface Said {
  devices: Device[];
  gpus: ReturnType<typeof gpus>;
  refusal?: { code: string; message: string };
  clip: string[];
}

function ask(addon: string): Said {
  const program = join(dirname(fileURLToPath(import.meta.url)), 'fixtures', 'cuda.js');
  const child = run(process.execPath, [program, addon, testModel]);
  if (child.status !== 0) throw new Error(`${addon}: ${child.stderr}`);
  return JSON.parse(child.stdout) as Said;
}

t.test('the addon with CUDA', { skip }, async (t) => {
  const script = join('scripts', 'build-addon.mjs');
  const built = run(process.execPath, [script, '--cuda', '--out', out]);
  t.equal(built.status, 0, failure(built));

  await t.test('holds code for every GPU from Volta to Blackwell that nvcc knows', async (t) => {
    const known = [...run(nvcc!, ['--list-gpu-code']).stdout.matchAll(/sm_(\d+)/g)]
      .map(([, code]) => Number(code))
      .filter((code) => code >= 70 && code <= 120);
    const rules = readFileSync(join(out, 'build.ninja'), 'utf8');
    const compiled = new Set(
      [...rules.matchAll(/code=\[?(?:compute_\d+,)?sm_(\d+)/g)].map(([, code]) => Number(code)),
    );
    t.same([...compiled].sort(), known.sort());
    t.match(rules, `code=[compute_${Math.max(...known)}`, 'and PTX for those to come');
  });

  await t.test('loads with or without a driver and says what it sees', async (t) => {
    const said = ask(join(out, 'Release', 'echomimic.node'));
    t.equal(said.devices[0]?.kind, 'cpu');
    t.same(said.devices.slice(1), said.gpus.devices);
    t.equal(said.refusal?.code, 'ENGINE_DEVICE_UNAVAILABLE');
    if (driver) {
      for (const { name, memoryBytes, computeCapability } of said.gpus.devices) {
        t.ok(name.length > 0 && memoryBytes > 2 ** 30, `${name}, ${memoryBytes} bytes`);
        t.match(computeCapability, /^\d+\.\d$/);
      }
    } else {
      t.same(said.gpus, { devices: [], reason: 'no NVIDIA driver is installed' });
      t.match(said.refusal?.message, /"cuda:0" is not one of cpu; no GPU: no NVIDIA driver/);
    }
    const plain = run(process.execPath, [script, 'cmake']);
    t.equal(plain.status, 0, failure(plain));
    const { clip } = ask(addonPaths.cmake);
    t.same(said.clip, clip, 'on the CPU it renders what the other build renders');
  });

  await t.test('runs its kernels, or says why not', async (t) => {
    const twins = run(join(out, 'Release', 'twins'), []);
    t.match(twins.stdout, /^codes: \d+, 0 differ$/m);
    if (driver) {
      t.equal(twins.status, 0, failure(twins));
    } else {
      t.equal(twins.status, 2);
      t.match(twins.stderr, /^ENGINE_DEVICE_UNAVAILABLE: /);
    }
  });

  await t.test('its kernels fuse and approximate nothing', async (t) => {
    const ptx = join(await temporaryFolder(t), 'kernels.ptx');
    const flags = ['-std=c++17', '-O3', '-fmad=false', '-arch=compute_80', '-ptx', '-o', ptx];
    const compiled = run(nvcc!, [...flags, join('native', 'cuda', 'kernels.cu')]);
    t.equal(compiled.status, 0, failure(compiled));
    const text = readFileSync(ptx, 'utf8');
    const arithmetic = [
      ...text.matchAll(/^\s+((?:add|sub|mul|div|sqrt|fma|mad)\.[\w.]*f(?:32|64))/gm),
    ].map(([, name]) => name!);
    t.ok(arithmetic.length > 100, `${arithmetic.length} instructions`);
    // "rn" rounds once and to nearest, and forbids ptxas to fuse
    t.same(
      arithmetic.filter((name) => !/^(add|sub|mul|div|sqrt)\.rn\.f(32|64)$/.test(name)),
      [],
    );
    t.match(readFileSync(join(out, 'build.ninja'), 'utf8'), '-fmad=false');
  });
});
