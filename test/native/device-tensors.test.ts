import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { projectRoot } from '../../src/paths.js';
import { temporaryFolder } from '../helpers/folder.js';

t.test('graphs are recorded once for each size, and never used at other addresses', async (t) => {
  const program = join(await temporaryFolder(t), 'device-tensors');
  const sources = ['test/native/device-tensors.cc', 'native/engine/device_tensors.cc'];
  const built = spawnSync(
    process.env['CXX'] ?? 'c++',
    ['-std=c++20', '-Wall', '-Wextra', '-o', program, ...sources, 'native/cuda/host_device.cc'],
    { cwd: projectRoot, encoding: 'utf8' },
  );
  t.equal(built.status, 0, built.error?.message ?? (built.stderr || 'it compiles'));
  const { status, stdout } = spawnSync(program, { encoding: 'utf8' });
  t.equal(status, 0, stdout);
});
