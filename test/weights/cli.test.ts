import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { watch } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { smallSize, writeCheckpoint } from '../../bench/synthetic/checkpoint.js';
import { projectRoot } from '../../src/paths.js';
import { runCommand } from '../../weights/commands.js';

const cli = join(projectRoot, 'dist', 'weights', 'cli.js');
const root = t.testdir();
const whole = join(root, 'checkpoint');
await writeCheckpoint(whole, smallSize);

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What the command prints and its exit status, in this process. */
async function weights(...args: string[]): Promise<Ran> {
  let stdout = '';
  let stderr = '';
  const status = await runCommand(args, {
    signal: new AbortController().signal,
    print: (line) => (stdout += `${line}\n`),
    complain: (line) => (stderr += `${line}\n`),
  });
  return { status, stdout, stderr };
}

/** Runs the importer from a shell line that sets limits first; `"$@"` stands for the command. */
const limited = (line: string, ...args: string[]): Ran =>
  spawnSync('/bin/sh', ['-c', line, 'sh', process.execPath, cli, ...args], { encoding: 'utf8' });

void t.test('import, list and verify', async (t) => {
  const models = join(root, 'models');
  await mkdir(models);
  t.match((await weights('list', '--root', models)).stdout, /No models in .*import FOLDER/s);
  const made = await weights('import', whole, '--out', join(models, 'one'), '--precision', 'fp16');
  t.equal(made.status, 0, made.stderr);
  t.match(made.stdout, /one: checkpoint, fp16, \d.*MB, .* M parameters, 64x64 at 24 fps, 6 steps/);
  await mkdir(join(models, 'broken'));
  await writeFile(join(models, 'broken', 'manifest.json'), '{}');
  const { stdout } = await weights('list', '--root', models);
  t.match(stdout, /^MODEL +PRECISION +ON DISK +PARAMETERS +DEFAULTS\nbroken .*\none +fp16 /);
  const good = await weights('verify', 'one', '--root', models);
  t.equal(good.status, 0);
  t.match(good.stdout, /one: \d+ files as imported/);
  const all = await weights('verify', '--root', models);
  t.equal(all.status, 1);
  t.match(all.stderr, /^MODEL_INVALID: .*broken/);
});

void t.test('mistakes on the command line print the usage and exit with 2', async (t) => {
  const cases = [[], ['fly'], ['import'], ['import', 'a', 'b'], ['import', 'a', '--wings']];
  for (const args of [...cases, ['import', 'a', '--precision', 'int4']]) {
    const { status, stderr } = await weights(...args);
    t.equal(status, 2, args.join(' '));
    t.match(stderr, /Usage: npm run weights/);
  }
  t.match(await weights('--help'), { status: 0, stdout: /Usage/ });
});

void t.test('a failed import says what, exits with 1 and leaves nothing', async (t) => {
  const models = join(root, 'failed');
  await mkdir(models);
  const out = join(models, 'x');
  const missing = limited('exec "$@"', 'import', join(root, 'nowhere'), '--out', out);
  t.equal(missing.status, 1);
  t.match(missing.stderr, /^CHECKPOINT_FILE_MISSING: .*nowhere: no such folder\n$/);
  t.same(await readdir(models), []);
});

void t.test('a disk that fills up while writing', async (t) => {
  const models = join(root, 'full');
  await mkdir(models);
  const out = join(models, 'x');
  // a limit on the size of files makes writes fail as a full disk does, on any file system
  // (tap's hooks in NODE_OPTIONS would turn the signal that comes with it into an exit)
  const line = `unset NODE_OPTIONS; trap '' XFSZ; ulimit -f 200; exec "$@"`;
  const { status, stderr } = limited(line, 'import', whole, '--out', out);
  t.equal(status, 1);
  t.match(
    stderr,
    /^MODEL_WRITE_FAILED: .*x: the disk is full \(EFBIG\); nothing was left behind\n$/,
  );
  t.same(await readdir(models), []);
});

const canMount = spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'none', root]).status === 0;

void t.test('a disk that is full', { skip: !canMount && 'needs to mount a tmpfs' }, async (t) => {
  const mounted = join(root, 'mounted');
  await mkdir(mounted);
  const inside = (options: string) =>
    spawnSync(
      'unshare',
      [
        ...['-rm', '/bin/sh', '-c'],
        `mount -t tmpfs -o ${options} none "$0" && "$@"; s=$?; ls -A "$0"; exit $s`,
        ...[mounted, process.execPath, cli, 'import', whole, '--out', join(mounted, 'x')],
      ],
      { encoding: 'utf8' },
    );
  const small = inside('size=1m');
  t.equal(small.status, 1);
  t.match(small.stderr, /^MODEL_WRITE_FAILED: .* has \d+ MB free, the model needs \d+ MB\n$/);
  t.equal(small.stdout, '');
  const crowded = inside('size=64m,nr_inodes=12');
  t.equal(crowded.status, 1);
  t.match(crowded.stderr, /^MODEL_WRITE_FAILED: .*the disk is full \(ENOSPC\)/);
  t.equal(crowded.stdout, '');
});

/** Starts an import and interrupts it as soon as it begins to write; its exit code. */
async function interrupted(models: string): Promise<number> {
  const child = spawn(process.execPath, [cli, 'import', whole, '--out', join(models, 'x')]);
  const watcher = watch(models, () => child.kill('SIGINT'));
  const [code] = (await once(child, 'exit')) as [number];
  watcher.close();
  return code;
}

void t.test('an interrupted import leaves nothing', async (t) => {
  // a machine that stalls between the two may see the import end first
  for (let attempt = 0; attempt < 5; attempt++) {
    const models = join(root, `interrupted${attempt}`);
    await mkdir(models);
    const code = await interrupted(models);
    if (code === 0) continue;
    t.equal(code, 130);
    t.same(await readdir(models), []);
    return;
  }
  t.fail('no import could be interrupted');
});
