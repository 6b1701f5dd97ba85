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

const names = ['Engine', 'shutdown', 'errorCodes', 'loadRuntime', 'physicalCores', 'frameCount'];
const gpu = ['cuda'];
const parts = ['schedule', 'windows', 'noise', 'philox'];
const expected: (keyof Addon)[] = [...names, ...gpu, ...parts] as (keyof Addon)[];

t.test('both builders make an addon with the exports of its contract', async (t) => {
  const builders = (['cmake', 'gyp'] as const).filter((name) => onPath(tools[name]));
  t.ok(builders.length > 0, builders.join(' and '));
  for (const name of builders) {
    const script = join(projectRoot, 'scripts', 'build-addon.mjs');
    const built = spawnSync(process.execPath, [script, name], { encoding: 'utf8' });
    t.equal(built.status, 0, `${name}: ${built.stderr.slice(-2000)}`);
    const { addon, runtimeLibrary } = loadAddon(addonPaths[name]);
    t.same(Object.keys(addon).sort(), [...expected].sort(), name);
    t.match(addon.loadRuntime(runtimeLibrary), /^1\.\d+\.\d+/);
    t.same(addon.cuda(), { built: false, gpus: [], reason: addon.cuda().reason });
    t.match(addon.cuda().reason, /without CUDA/);
    t.equal(addon.noise({ seed: 1n, frame: 0, count: 8 }).length, 8);
  }
});
