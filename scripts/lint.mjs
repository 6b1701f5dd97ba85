// Everything that `npm run lint` asks, side by side; the output of what found something is shown.
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const rooms = ['src', 'worker', 'native', 'weights', 'scripts', 'bench', 'test', 'web'];
const tool = (name, ...args) => [join(root, 'node_modules', '.bin', name), ...args];
const checks = {
  eslint: tool('eslint', '.'),
  prettier: tool('prettier', '--check', '.'),
  'the types of web/': tool('tsc', '-p', 'web'),
  rooms: tool('depcruise', '--config', '.dependency-cruiser.cjs', ...rooms),
  layout: [process.execPath, join('scripts', 'check-layout.mjs')],
};

await Promise.all(
  Object.entries(checks).map(async ([name, [command, ...args]]) => {
    const child = spawn(command, args, { cwd: root });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (output += text));
    }
    const status = await new Promise((resolve, reject) =>
      child.once('close', resolve).once('error', reject),
    );
    if (status === 0) return console.log(`lint: ${name}: well`);
    process.exitCode = 1;
    console.error(`lint: ${name}: failed\n${output}`);
  }),
);
