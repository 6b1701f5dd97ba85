import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { gpus } from '../../native/index.js';
import { projectRoot } from '../../src/paths.js';
import { temporaryFolder } from '../helpers/folder.js';

const program = join(projectRoot, 'dist', 'scripts', 'engines.js');
const run = (data: string, ...args: string[]) =>
  spawnSync(process.execPath, [program, ...args], {
    encoding: 'utf8',
    env: { ...process.env, DATA_DIR: data },
  });

t.test('npm run engines', async (t) => {
  const data = await temporaryFolder(t);
  const { reason } = gpus();
  if (reason !== undefined) {
    const { status, stderr } = run(data);
    t.equal(status, 1);
    t.equal(
      stderr,
      `ENGINE_DEVICE_UNAVAILABLE: engines are built on the GPU that uses them, and there is none: ${reason}\n`,
    );
  }
  const named = run(data, '--devices', 'cuda:77');
  t.equal(named.status, 1);
  t.match(named.stderr, /^ENGINE_DEVICE_UNAVAILABLE: device: "cuda:77" is not one of cpu/);
  const odd = run(data, '--sizes', '512x500', '--devices', 'cuda:77');
  t.equal(odd.status, 1);
  t.match(odd.stderr, /^BAD_REQUEST: --sizes: "512x500" is not WIDTHxHEIGHT/);
  t.match(run(data, '--help').stdout, /--sizes 512x512,256x256/);
});
