// Runs the compiled tests, each file in a process of its own: npm test [-- PART_OF_A_PATH ...]
import { spawn } from 'node:child_process';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { filesUnder } from './files.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const timeoutSeconds = 480;
const wanted = process.argv.slice(2);
// tap's own command puts module loaders into every Node process below a test, to find what covers
// what: a start then takes twice the time. `env` keeps them out; t.spawn puts one in as well.
const withoutLoaders = ['env', `NODE_OPTIONS=${process.env.NODE_OPTIONS ?? ''}`];

const files = filesUnder(join(root, 'dist', 'test'))
  .map((file) => relative(root, file))
  .filter((file) => file.endsWith('.test.js'))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  // The rooms whose tests take longest come last in the alphabet; the end should be short ones.
  .sort()
  .reverse();

if (files.length === 0) {
  console.error(`no test file has ${wanted.map((part) => `"${part}"`).join(' or ')} in its path`);
  process.exit(2);
}

if (process.stdout.isTTY) {
  const tap = join(root, 'node_modules', '.bin', 'tap');
  const reporter = spawn(tap, ['-'], { cwd: root, stdio: ['pipe', 'inherit', 'inherit'] });
  t.pipe(reporter.stdin);
}

// Many tests wait for processes and deadlines, so more of them run than there are cores.
t.jobs = 3;
t.setTimeout(0);
const [command, ...before] = [...withoutLoaders, process.execPath, '--enable-source-maps'];
for (const file of files) {
  void t.spawn(command, [...before, file], {
    name: file,
    cwd: root,
    // A .env beside the code is for the server, not for its tests.
    env: { ...process.env, ENV_FILE: 'none', TAP_TIMEOUT: String(timeoutSeconds) },
    timeout: timeoutSeconds * 1000,
    buffered: true,
    at: null,
    stack: '',
  });
}
t.end();
