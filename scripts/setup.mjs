// Brings a fresh clone to the point where every command works. Plain JavaScript without
// dependencies, because nothing is installed yet when it runs. Each step is skipped when done.
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { filesUnder, isNodeNewEnough, neededNode, onPath, programs } from './files.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const cache = join(root, '.cache');
const webOutput = join(root, 'dist', 'web') + sep;
const bundledModel = 'small';
const forTests = process.argv.includes('--tests');

function stop(message) {
  console.error(`setup: ${message}`);
  process.exit(1);
}

function run(what, command, args, options = {}) {
  console.error(`setup: ${what}`);
  const done = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], ...options });
  if (done.status !== 0) {
    stop(`"${command} ${args.join(' ')}" failed; its output stands above`);
  }
}

/** Runs `action` only when the content of `files` differs from the last time it succeeded. */
function whenChanged(name, files, output, action) {
  const hash = createHash('sha256');
  for (const file of files.sort()) hash.update(file).update('\0').update(readFileSync(file));
  const digest = hash.digest('hex');
  const stamp = join(cache, `${name}.stamp`);
  if (existsSync(output) && existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return;
  action();
  mkdirSync(cache, { recursive: true });
  writeFileSync(stamp, digest);
}

function checkSystem() {
  if (process.platform === 'win32') {
    stop(
      'Windows itself is not supported: run this inside WSL 2, https://learn.microsoft.com/windows/wsl',
    );
  }
  if (!isNodeNewEnough()) {
    stop(`${neededNode} is needed, this is ${process.version}; see https://nodejs.org`);
  }
}

/** What the tests alone need: a second database, and programs that speak and listen. */
const testPrograms = [
  { anyOf: ['initdb'], apt: ['postgresql'], brew: ['postgresql'] },
  { anyOf: ['espeak-ng'], apt: ['espeak-ng'], brew: ['espeak-ng'] },
  { anyOf: ['flite'], apt: ['flite'], brew: ['flite'] },
  {
    anyOf: ['pocketsphinx_continuous'],
    apt: ['pocketsphinx', 'pocketsphinx-en-us'],
    brew: ['cmu-pocketsphinx'],
  },
  {
    anyOf: ['chromium', 'chromium-browser', 'google-chrome'],
    apt: ['chromium'],
    brew: ['chromium'],
  },
  { anyOf: ['a font with Chinese'], apt: ['fonts-wqy-microhei'], brew: [] },
];

/** Where Debian's packages put fonts that know Chinese; other systems have one of their own. */
const chineseFonts = [
  '/usr/share/fonts/truetype/wqy/wqy-microhei.ttc',
  '/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc',
];

/** Debian keeps the programs of a database server out of the PATH. */
const isInstalled = (name) =>
  onPath(name) ||
  (name === 'a font with Chinese' &&
    (process.platform === 'darwin' || chineseFonts.some((font) => existsSync(font)))) ||
  (name === 'initdb' &&
    existsSync('/usr/lib/postgresql') &&
    readdirSync('/usr/lib/postgresql').length > 0);

function installPrograms() {
  const wantedPrograms = forTests ? [...programs, ...testPrograms] : programs;
  const missing = wantedPrograms.filter(({ anyOf }) => !anyOf.some(isInstalled));
  if (missing.length === 0) return;
  const names = missing.map(({ anyOf }) => anyOf[0]).join(', ');
  const packages = (manager) => [...new Set(missing.flatMap((program) => program[manager]))];
  if (process.platform === 'darwin') {
    const wanted = packages('brew').join(' ');
    stop(
      `missing: ${names}. Install with: ${wanted ? `brew install ${wanted}` : 'xcode-select --install'}`,
    );
  }
  if (!onPath('apt-get'))
    stop(`missing: ${names}. Install them with your package manager, then run this again`);
  const wanted = packages('apt');
  if (process.getuid?.() !== 0) {
    stop(
      `missing: ${names}. Install with: sudo apt-get install -y --no-install-recommends ${wanted.join(' ')}`,
    );
  }
  const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  run('reading the package lists', 'apt-get', ['update', '-q'], options);
  run(
    `installing ${wanted.join(' ')}`,
    'apt-get',
    ['install', '-y', '-q', '--no-install-recommends', ...wanted],
    options,
  );
}

function installDependencies() {
  whenChanged(
    'npm',
    [join(root, 'package-lock.json')],
    join(root, 'node_modules', 'typescript'),
    () =>
      run('installing npm packages', 'npm', ['ci', '--loglevel=error'], {
        env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' },
      }),
  );
}

function compileTypeScript() {
  const dist = join(root, 'dist');
  if (existsSync(dist)) {
    // A deleted or moved source must not live on as a test or module of its own.
    for (const file of filesUnder(dist)) {
      if (file.startsWith(webOutput)) continue;
      const source = join(root, file.slice(dist.length + 1)).replace(/\.js(\.map)?$/, '.ts');
      if (/\.js(\.map)?$/.test(file) && !existsSync(source)) rmSync(file);
    }
  }
  run('compiling TypeScript', process.execPath, [
    join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
    '-p',
    '.',
  ]);
}

function bundlePackages() {
  const script = join(root, 'scripts', 'bundle-packages.mjs');
  const output = join(root, 'dist', 'node_modules', 'typebox', 'package.json');
  whenChanged('packages', [script, join(root, 'package-lock.json')], output, () =>
    run('bundling the packages of many modules', process.execPath, [script]),
  );
}

function buildWeb() {
  const sources = [
    ...filesUnder(join(root, 'web')),
    ...(existsSync(join(root, 'src', 'client')) ? filesUnder(join(root, 'src', 'client')) : []),
    join(root, 'package-lock.json'),
  ];
  whenChanged('web', sources, join(webOutput, 'index.html'), () =>
    run('building the web client', process.execPath, [
      ...[join(root, 'node_modules', 'vite', 'bin', 'vite.js'), 'build', 'web'],
      ...['--logLevel', 'warn'],
    ]),
  );
}

function buildAddon() {
  run('building the native engine', process.execPath, [join(root, 'scripts', 'build-addon.mjs')]);
}

function importBundledModel() {
  const weights = join(root, 'weights');
  const sources = [
    ...['checkpoint', 'graph', 'model'].flatMap((room) => filesUnder(join(weights, room))),
    ...readdirSync(weights)
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(weights, name)),
    ...filesUnder(join(weights, 'bundled')).filter((file) => !/\.(png|wav|md)$/.test(file)),
  ];
  whenChanged('model', sources, join(root, 'weights', bundledModel, 'manifest.json'), () =>
    run('importing the bundled weights', process.execPath, [
      join(root, 'dist', 'weights', 'cli.js'),
      'import',
      join(root, 'weights', 'bundled'),
      '--name',
      bundledModel,
    ]),
  );
}

checkSystem();
installPrograms();
installDependencies();
compileTypeScript();
bundlePackages();
buildWeb();
buildAddon();
importBundledModel();
