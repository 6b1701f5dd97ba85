// `npm run doctor`: looks at this machine and its settings, says what is wrong and how to mend it,
// and changes nothing. Plain JavaScript without dependencies for what may be wrong before anything
// is installed; the rest (scripts/doctor/main.ts) runs as soon as it is compiled.
//   --json         one JSON object: {"ok": boolean, "checks": [{name, level, message, fix?}]}
//   --seconds 10   how long each check may take
import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { enginePackages, isNodeNewEnough, neededNode, onPath, programs } from './files.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const json = process.argv.includes('--json');
const given = Number(process.argv[process.argv.indexOf('--seconds') + 1]);
const seconds = process.argv.includes('--seconds') && given > 0 ? given : 10;
const compiled = join(root, 'dist', 'scripts', 'doctor', 'main.js');
const isInstalled = existsSync(join(root, 'node_modules', 'fastify'));
const isCompiled = isInstalled && existsSync(compiled);
const isBuilt = ['cuda/Release', 'cmake/Release', 'gyp'].some((folder) =>
  existsSync(join(root, 'build', folder, 'echomimic.node')),
);

// Who reads only the first lines has seen enough.
process.stdout.on('error', () => process.exit(1));

const checks = [];
function report(name, level, message, fix) {
  checks.push({ name, level, message, ...(fix === undefined ? {} : { fix }) });
  if (!json) print(checks[checks.length - 1]);
}

function print({ name, level, message, fix }) {
  console.log(`${level.padEnd(5)} ${name.padEnd(16)} ${message}`);
  if (fix !== undefined) console.log(`${' '.repeat(23)}→ ${fix}`);
}

/** How to install one of the programs that set-up asks for. */
function installing(name) {
  const { apt, brew } = programs.find(({ anyOf }) => anyOf.includes(name));
  if (process.platform === 'darwin') {
    return brew.length === 0 ? 'xcode-select --install' : `brew install ${brew.join(' ')}`;
  }
  return onPath('apt-get')
    ? `sudo apt-get install -y --no-install-recommends ${apt.join(' ')}`
    : `install ${apt.join(' ')} with your package manager`;
}

/** What a program prints; undefined when it is missing, fails or does not end in time. */
function output(program, args) {
  const options = { timeout: seconds * 1000, killSignal: 'SIGKILL', maxBuffer: 2 ** 22 };
  return new Promise((resolve) => {
    execFile(program, args, options, (error, stdout) => resolve(error ? undefined : stdout));
  });
}

function checkNode() {
  const { version } = process;
  if (isNodeNewEnough()) return report('Node', 'ok', version);
  const fix = `install ${neededNode}: https://nodejs.org`;
  return report('Node', 'fail', `${version} does not do`, fix);
}

/** Whether what is installed is what the lock file names; optional packages may be missing. */
function checkPackages() {
  const fix = 'npm run setup';
  if (!isInstalled) return report('npm packages', 'fail', 'they are not installed', fix);
  const read = (...path) => JSON.parse(readFileSync(join(root, ...path), 'utf8')).packages;
  const isDropped = (path) =>
    process.env.WORKER_DEVICES === 'none' &&
    enginePackages.some((name) => path.startsWith(`node_modules/${name}`)) &&
    !existsSync(join(root, path));
  let differing;
  try {
    const installed = read('node_modules', '.package-lock.json');
    differing = Object.entries(read('package-lock.json')).filter(
      ([path, { version, dev, optional, devOptional, peer }]) =>
        path !== '' &&
        !dev &&
        !optional &&
        !devOptional &&
        !peer &&
        !isDropped(path) &&
        installed[path]?.version !== version,
    );
  } catch (error) {
    return report('npm packages', 'fail', `they cannot be read: ${error.message}`, fix);
  }
  if (differing.length === 0)
    return report('npm packages', 'ok', 'as package-lock.json names them');
  const names = differing.slice(0, 3).map(([path]) => path.replace(/^.*node_modules\//, ''));
  const more = differing.length > 3 ? ` and ${differing.length - 3} more` : '';
  const message = `${names.join(', ')}${more}: missing, or of another version than in package-lock.json`;
  return report('npm packages', 'fail', message, fix);
}

function checkCompiled() {
  if (isCompiled) return report('TypeScript', 'ok', 'compiled');
  const message = 'it is not compiled yet, so settings, services and the engine are not checked';
  return report('TypeScript', 'fail', message, 'npm run setup');
}

function checkWeb() {
  if (existsSync(join(root, 'dist', 'web', 'index.html')))
    return report('web client', 'ok', 'built');
  report('web client', 'warn', 'it is not built: the API serves no pages', 'npm run setup');
}

/** What the engine is built with; not missed where it is built already. */
function checkCompiler() {
  const needed = programs.filter(({ anyOf }) =>
    ['c++', 'cmake', 'make'].some((name) => anyOf.includes(name)),
  );
  const missing = needed.filter(({ anyOf }) => !anyOf.some(onPath)).map(({ anyOf }) => anyOf[0]);
  if (missing.length === 0) {
    const found = needed.map(({ anyOf }) => anyOf.find(onPath));
    return report('compiler', 'ok', found.join(', '));
  }
  const what = `${missing.join(', ')} not found`;
  if (isBuilt) return report('compiler', 'ok', `${what}, nor needed: the engine is built`);
  // A compiled server may do without an engine of its own; the checks of the engine know.
  const level = isCompiled ? 'warn' : 'fail';
  return report('compiler', level, what, [...new Set(missing.map(installing))].join('; '));
}

async function checkMedia() {
  const fix = installing('ffmpeg');
  for (const name of ['ffmpeg', 'ffprobe']) {
    const text = await output(name, ['-version']);
    const [, version] = /version (\S+)/.exec(text ?? '') ?? [];
    if (version !== undefined) report(name, 'ok', version);
    else if (!onPath(name)) report(name, 'fail', 'it is not found', fix);
    else report(name, 'fail', 'it does not run', `see what "${name} -version" says, or: ${fix}`);
  }
  const encoders = await output('ffmpeg', ['-hide_banner', '-encoders']);
  if (encoders === undefined) return;
  const has = (name) => new RegExp(`^ \\S+ ${name} `, 'm').test(encoders);
  const missing = ['libx264', 'aac'].filter((name) => !has(name));
  const nvenc = has('h264_nvenc') ? ', h264_nvenc' : '; h264_nvenc is not among them';
  if (missing.length === 0) report('encoders', 'ok', `libx264, aac${nvenc}`);
  else {
    const message = `this ffmpeg was built without ${missing.join(' and ')}`;
    report('encoders', 'fail', message, `install one that has them: ${fix}`);
  }
}

/** The rest, each result on a line of its own as it comes; whatever ends that process is told. */
async function checkService() {
  const child = spawn(process.execPath, [compiled, '--seconds', String(seconds)], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // Each check minds its own deadline; this is for one that holds up the whole process.
  const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 4000);
  let complaint = '';
  child.stderr.on('data', (chunk) => (complaint = `${complaint}${chunk}`.slice(-2000)));
  const exit = new Promise((resolve) => {
    child.once('close', (code, signal) => resolve(code === 0 ? undefined : (signal ?? code)));
  });
  let next = 'the rest';
  for await (const line of createInterface({ input: child.stdout })) {
    const { begins, name, level, message, fix } = JSON.parse(line);
    if (begins !== undefined) next = begins;
    else report(name, level, message, fix);
  }
  const how = await exit;
  clearTimeout(timer);
  if (how === undefined) return;
  const why = complaint.trim().split('\n').pop();
  const message = `looking at it ended with ${how}${why ? `: ${why}` : ''}`;
  report(next, 'fail', message, 'npm run setup; if it happens again, please report it');
}

checkNode();
checkPackages();
checkCompiler();
await checkMedia();
checkCompiled();
if (!isCompiled) {
  if (onPath('redis-server')) report('redis-server', 'ok', 'found');
  else {
    const message = 'not found; it is needed unless REDIS_HOST names a Redis';
    report('redis-server', 'warn', message, installing('redis-server'));
  }
} else {
  checkWeb();
  if (isNodeNewEnough()) await checkService();
}

const count = (level) => checks.filter((check) => check.level === level).length;
const failed = count('fail');
if (json) console.log(JSON.stringify({ ok: failed === 0, checks }, null, 2));
else console.log(`\n${count('ok')} ok, ${count('warn')} to look at, ${failed} wrong`);
process.exitCode = failed === 0 ? 0 : 1;
