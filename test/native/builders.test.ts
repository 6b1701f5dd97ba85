import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import t from 'tap';
import type { Addon } from '../../native/addon.js';
import { addonPaths, loadAddon } from '../../native/load.js';
import { projectRoot } from '../../src/paths.js';

/** What each builder needs beside a C++ compiler. */
const tools = { cmake: 'cmake', gyp: 'python3' } as const;
const onPath = (program: string) =>
  (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)));

/** The compiler knows when one is missing or too many. */
const contract: Record<keyof Addon, true> = {
  Engine: true,
  shutdown: true,
  errorCodes: true,
  loadRuntime: true,
  physicalCores: true,
  hasFastInt8: true,
  cuda: true,
  gpuMemory: true,
  inputShapes: true,
  providerOptions: true,
  requireProvider: true,
  classifyFailure: true,
  openEngine: true,
  plan: true,
  frameCount: true,
  schedule: true,
  windows: true,
  noise: true,
  philox: true,
};

t.test('both builders make an addon with the exports of its contract', async (t) => {
  const builders = (['cmake', 'gyp'] as const).filter((name) => onPath(tools[name]));
  t.ok(builders.length > 0, builders.join(' and '));
  for (const name of builders) {
    const script = join(projectRoot, 'scripts', 'build-addon.mjs');
    // The first is the one in use; of the other it is enough to see that it builds.
    const args = [script, name, ...(name === builders[0] ? [] : ['--quick'])];
    const built = spawnSync(process.execPath, args, { encoding: 'utf8' });
    t.equal(built.status, 0, `${name}: ${built.stderr.slice(-2000)}`);
    const { addon, runtimeLibrary } = loadAddon(addonPaths[name]);
    t.same(Object.keys(addon).sort(), Object.keys(contract).sort(), name);
    t.match(addon.loadRuntime(runtimeLibrary), /^1\.\d+\.\d+/);
    t.same(addon.cuda(), { built: false, gpus: [], reason: addon.cuda().reason });
    t.match(addon.cuda().reason, /without CUDA/);
    t.equal(addon.noise({ seed: 1n, frame: 0, count: 8 }).length, 8);
  }
});
