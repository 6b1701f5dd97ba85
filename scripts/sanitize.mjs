// Runs the tests of the native engine with the addon built under AddressSanitizer, which also looks
// for leaks, and under ThreadSanitizer.
//   npm run sanitize [-- address | thread] [--cycles 1000]
// Ends with status 1 when a test fails or a sanitizer finds something. Needs GCC on Linux.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tests = join(root, 'dist', 'test', 'native');
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { cycles: { type: 'string', default: '1000' } },
});

/** Tests that build addons, run other programs, or measure memory, which sanitizers change. */
const skipped = /^(builders|cuda|cycles|device-tensors|driver|memory|twins)\.test\.js$/;
const sanitizers = {
  address: {
    library: 'libasan.so',
    skipped,
    options: (report) => ({
      ASAN_OPTIONS: `log_path=${report}:detect_leaks=1:exitcode=99`,
      // What these keep, they keep on purpose.
      LSAN_OPTIONS: 'suppressions=' + join(dirname(report), 'kept'),
    }),
  },
  thread: {
    library: 'libtsan.so',
    skipped: new RegExp(`${skipped.source}|^ops\\.`), // built without; see CMakeLists.txt
    options: (report) => ({
      TSAN_OPTIONS: `log_path=${report}:ignore_noninstrumented_modules=1:exitcode=99`,
    }),
  },
};

function run(name) {
  const { library, skipped: left, options } = sanitizers[name];
  const addon = join(root, 'build', `sanitize-${name}`, 'Release', 'echomimic.node');
  execFileSync(process.execPath, [join(root, 'scripts', 'build-addon.mjs'), '--sanitize', name], {
    stdio: ['ignore', 2, 2],
  });
  const preload = execFileSync('gcc', [`-print-file-name=${library}`], { encoding: 'utf8' }).trim();
  const folder = mkdtempSync(join(tmpdir(), 'sanitize-'));
  writeFileSync(join(folder, 'kept'), 'leak:libonnxruntime\nleak:node::\nleak:v8::\n');
  const env = {
    ...process.env,
    ...options(join(folder, 'report')),
    ADDON: addon,
    TAP_TIMEOUT: '1200',
    LD_PRELOAD: preload,
    NODE_OPTIONS: `--import=${pathToFileURL(join(tests, 'fixtures', 'addon.js'))}`,
  };
  const programs = readdirSync(tests)
    .filter((file) => file.endsWith('.test.js') && !left.test(file))
    .map((file) => [join(tests, file)]);
  programs.push([
    join(tests, 'fixtures', 'cycles.js'),
    join(root, 'weights', 'small'),
    values.cycles,
  ]);
  let failed = false;
  for (const program of programs) {
    // Without random addresses: ThreadSanitizer's own memory needs its place.
    const done = spawnSync('setarch', ['-R', process.execPath, ...program], {
      env,
      encoding: 'utf8',
    });
    console.log(`${name}: ${program[0].slice(tests.length + 1)}: status ${done.status}`);
    if (done.status === 0) continue;
    failed = true;
    console.log(done.stdout.slice(-20000), done.stderr.slice(-20000));
  }
  for (const file of readdirSync(folder).filter((file) => file.startsWith('report'))) {
    failed = true;
    console.log(readFileSync(join(folder, file), 'utf8'));
  }
  rmSync(folder, { recursive: true });
  return !failed;
}

const wanted = positionals.length > 0 ? positionals : Object.keys(sanitizers);
const results = wanted.map((name) => {
  if (!Object.hasOwn(sanitizers, name)) throw new Error(`"${name}": address or thread`);
  return run(name);
});
process.exitCode = results.every(Boolean) ? 0 : 1;
