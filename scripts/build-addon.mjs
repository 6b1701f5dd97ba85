// Builds the native addon with cmake-js where CMake is installed, otherwise with node-gyp; an
// argument "cmake" or "gyp" names the builder. Nothing happens when the last build is up to date.
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { filesUnder, onPath } from './files.mjs';
import { headersFolder } from './onnxruntime-headers.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
// node-gyp wants Node's own headers: those beside the running node, else it downloads them.
const nodePrefix = dirname(dirname(process.execPath));
const nodeHeaders = existsSync(join(nodePrefix, 'include', 'node', 'node_api.h'))
  ? [`--nodedir=${nodePrefix}`]
  : [];
const jobs = String(Math.min(availableParallelism(), 16));

const builders = {
  cmake: {
    addon: join(root, 'build', 'cmake', 'Release', 'echomimic.node'),
    // Configured every time: a build folder may remember other headers.
    commands: ['configure', 'build'].map((command) => [
      'cmake-js/bin/cmake-js',
      command,
      '--out',
      join('build', 'cmake'),
      '--config',
      'Release',
      '--parallel',
      jobs,
    ]),
  },
  gyp: {
    addon: join(root, 'build', 'gyp', 'echomimic.node'),
    commands: [
      ['node-gyp/bin/node-gyp.js', 'configure', '--loglevel=warn', ...nodeHeaders],
      ['node-gyp/bin/node-gyp.js', 'build', '--loglevel=warn', `--jobs=${jobs}`],
    ],
  },
};

function chooseBuilder(wanted) {
  if (wanted !== undefined && !(wanted in builders)) {
    throw new Error(`unknown builder "${wanted}": cmake or gyp`);
  }
  return wanted ?? (onPath('cmake') ? 'cmake' : 'gyp');
}

/** Everything that the binary depends on, as one digest. */
function fingerprint(name, headers) {
  const hash = createHash('sha256');
  const sources = filesUnder(join(root, 'native'))
    .map((path) => relative(root, path))
    .filter((path) => /\.(cc|h|inl|txt)$/.test(path));
  const files = [...sources, 'CMakeLists.txt', 'binding.gyp', 'package-lock.json'];
  for (const path of files.sort()) hash.update(path).update(readFileSync(join(root, path)));
  hash.update(readFileSync(join(headers, 'onnxruntime_c_api.h')));
  const { platform, arch, env } = process;
  const flags = [env.CC, env.CXX, env.CFLAGS, env.CXXFLAGS, env.ONNXRUNTIME_ROOT];
  hash.update(JSON.stringify([name, platform, arch, flags]));
  return hash.digest('hex');
}

const name = chooseBuilder(process.argv[2]);
const { addon, commands } = builders[name];
// The stamp stands beside the addon, and tells native/load.ts which library fits the headers.
const stamp = `${addon}.json`;
const digest = fingerprint(name, headersFolder());

function upToDate() {
  if (!existsSync(addon) || !existsSync(stamp)) return false;
  try {
    return JSON.parse(readFileSync(stamp, 'utf8')).digest === digest;
  } catch {
    return false; // half-written
  }
}

if (!upToDate()) {
  for (const [script, ...args] of commands) {
    const done = spawnSync(process.execPath, [join(root, 'node_modules', script), ...args], {
      cwd: root,
      stdio: ['ignore', 2, 2],
    });
    if (done.status !== 0) {
      console.error(`build-addon: ${script} ${args.join(' ')} failed; its output stands above`);
      process.exit(1);
    }
  }
  const { ONNXRUNTIME_ROOT: runtimeRoot } = process.env;
  writeFileSync(
    stamp,
    JSON.stringify({
      digest,
      builder: name,
      runtimeRoot: runtimeRoot ? resolve(runtimeRoot) : null,
    }),
  );
}
