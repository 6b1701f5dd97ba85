// Builds the native addon with cmake-js where CMake is installed, otherwise with node-gyp; an
// argument "cmake" or "gyp" names the builder. Nothing happens when the last build is up to date.
//   --cuda               with CUDA, by cmake-js and nvcc, into a folder of its own. Without arguments
//                        that build is kept up to date once it is there.
//   --architectures 90   for these GPUs only, as CMAKE_CUDA_ARCHITECTURES has it
//   --sanitize address   with AddressSanitizer, or "thread" with ThreadSanitizer, into a folder of
//                        its own; see scripts/sanitize.mjs
//   --quick              without optimisation, to see whether it builds
//   --out FOLDER         build there
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { filesUnder, onPath } from './files.mjs';
import { headersFolder } from './onnxruntime-headers.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
// node-gyp wants Node's own headers: those beside the running node, else it downloads them.
const nodePrefix = dirname(dirname(process.execPath));
const nodeHeaders = existsSync(join(nodePrefix, 'include', 'node', 'node_api.h'))
  ? [`--nodedir=${nodePrefix}`]
  : [];
const jobs = String(Math.min(availableParallelism(), 16));

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    cuda: { type: 'boolean' },
    architectures: { type: 'string' },
    sanitize: { type: 'string' },
    quick: { type: 'boolean' },
    out: { type: 'string' },
  },
});

const optimise = options.quick ? '0' : '3';
const cmake = (folder, definitions = []) => ({
  addon: join(folder, 'Release', 'echomimic.node'),
  // Configured every time: a build folder may remember other headers.
  commands: ['configure', 'build'].map((command) => [
    'cmake-js/bin/cmake-js',
    command,
    ...['--out', folder, '--config', 'Release', '--parallel', jobs],
    // Each is said every time, because CMake remembers.
    ...[`ECHOMIMIC_OPTIMISE=${optimise}`, ...definitions].map((definition) => `--CD${definition}`),
  ]),
});

const builders = {
  cmake: cmake(options.out ?? join(root, 'build', 'cmake')),
  cuda: cmake(options.out ?? join(root, 'build', 'cuda'), [
    'ECHOMIMIC_CUDA=ON',
    // Empty: all that nvcc knows.
    `CMAKE_CUDA_ARCHITECTURES=${(options.architectures ?? '').replaceAll(',', ';')}`,
  ]),
  sanitized: cmake(options.out ?? join(root, 'build', `sanitize-${options.sanitize}`), [
    `ECHOMIMIC_SANITIZE=${options.sanitize}`,
  ]),
  gyp: {
    addon: join(root, 'build', 'gyp', 'echomimic.node'),
    commands: [
      [
        'node-gyp/bin/node-gyp.js',
        'configure',
        '--loglevel=warn',
        ...nodeHeaders,
        '--',
        `-Doptimise=${optimise}`,
      ],
      ['node-gyp/bin/node-gyp.js', 'build', '--loglevel=warn', `--jobs=${jobs}`],
    ],
  },
};

function chooseBuilder([wanted]) {
  if (wanted !== undefined && wanted !== 'cmake' && wanted !== 'gyp') {
    throw new Error(`unknown builder "${wanted}": cmake or gyp`);
  }
  if (options.cuda) {
    if (wanted === 'gyp') throw new Error('only cmake builds with CUDA');
    return 'cuda';
  }
  if (options.sanitize !== undefined) {
    if (!['address', 'thread'].includes(options.sanitize)) {
      throw new Error(`unknown sanitizer "${options.sanitize}": address or thread`);
    }
    return 'sanitized';
  }
  if (wanted !== undefined) return wanted;
  if (existsSync(builders.cuda.addon)) return 'cuda'; // native/load.ts would load a stale one
  return onPath('cmake') ? 'cmake' : 'gyp';
}

/** Everything that the binary depends on, as one digest. */
function fingerprint(name, headers) {
  const hash = createHash('sha256');
  const sources = filesUnder(join(root, 'native'))
    .map((path) => relative(root, path))
    .filter((path) => /\.(cc|cu|h|inl|txt)$/.test(path))
    .filter((path) => name === 'cuda' || !path.startsWith(join('native', 'cuda', '/')));
  const twins = name === 'cuda' ? [join('test', 'native', 'twins.cc')] : [];
  const files = [...sources, ...twins, 'CMakeLists.txt', 'binding.gyp', 'package-lock.json'];
  for (const path of files.sort()) hash.update(path).update(readFileSync(join(root, path)));
  hash.update(readFileSync(join(headers, 'onnxruntime_c_api.h')));
  const { platform, arch, env } = process;
  const flags = [optimise, env.CC, env.CXX, env.CFLAGS, env.CXXFLAGS, env.ONNXRUNTIME_ROOT];
  if (name === 'sanitized') flags.push(options.sanitize);
  if (name === 'cuda') flags.push(env.CUDACXX, env.CUDA_PATH, options.architectures);
  hash.update(JSON.stringify([name, platform, arch, flags]));
  return hash.digest('hex');
}

const name = chooseBuilder(positionals);
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
