import { spawn } from 'node:child_process';
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { projectRoot } from '../../src/paths.js';
import { freePort } from '../../src/queue/private-redis.js';
import { temporaryFolder } from '../helpers/app.js';
import { startRedis } from '../helpers/redis.js';

interface Found {
  readonly name: string;
  readonly level: 'ok' | 'warn' | 'fail';
  readonly message: string;
  readonly fix?: string;
}

interface Examined {
  readonly code: number | null;
  readonly ok: boolean;
  readonly checks: readonly Found[];
}

/** What the doctor says of this machine with other settings, or of another folder. */
async function examine(
  settings: Record<string, string>,
  { root = projectRoot, seconds = 10 } = {},
): Promise<Examined> {
  const script = join(root, 'scripts', 'doctor.mjs');
  const child = spawn(process.execPath, [script, '--json', '--seconds', String(seconds)], {
    env: { ...process.env, PORT: '0', ...settings },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, ...(JSON.parse(text) as Omit<Examined, 'code'>) };
}

const of = ({ checks }: Examined, name: string) => checks.filter((check) => check.name === name);
const failures = ({ checks }: Examined) => checks.filter(({ level }) => level === 'fail');

/** Something that listens and never says a word. */
async function mute(t: Test): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

t.test('a machine that is set up is well, and stays as it is', async (t) => {
  const folder = await temporaryFolder(t);
  const { server } = await startRedis(t);
  const examined = await examine({
    DATA_DIR: join(folder, 'data'),
    ...{ REDIS_HOST: '127.0.0.1', REDIS_PORT: String(server.port), REDIS_DB: '0' },
  });
  t.same(failures(examined), []);
  t.match(examined, { code: 0, ok: true });
  t.match(of(examined, 'Redis'), [{ level: 'ok' }], 'nothing to say of a Redis like ours');
  t.match(of(examined, 'weights'), [{ level: 'ok', message: /^small: every file has the hash/ }]);
  t.match(of(examined, 'engine'), [{ level: 'ok' }]);
  t.same(await readdir(folder), [], 'no data folder was made');
});

t.test('each thing that is wrong is told, with what to do', async (t) => {
  const taken = String(await mute(t));
  const examined = await examine({
    ...{ PORT: taken, REDIS_HOST: '127.0.0.1', REDIS_PORT: String(await freePort()) },
    ...{ MODEL: 'absent', DATA_DIR: join(projectRoot, 'package.json', 'data') },
    ...{ DATABASE_URL: `postgres://a:hush@127.0.0.1:${await freePort()}/d` },
    ...{ WORKER_DEVICES: 'cuda:0', REDIS_PASWORD: 'hush' },
  });
  t.match(examined, { code: 1, ok: false });
  t.match(of(examined, 'port'), [{ level: 'fail', message: taken, fix: 'set PORT' }]);
  t.match(of(examined, 'Redis'), [{ level: 'fail', message: 'ECONNREFUSED', fix: /REDIS_HOST/ }]);
  t.match(of(examined, 'weights'), [{ level: 'fail', message: /MODEL_MISSING/ }]);
  t.match(of(examined, 'data folder'), [{ level: 'fail', message: /package.json is no folder/ }]);
  t.match(of(examined, 'database'), [{ level: 'fail', message: /DATABASE_UNAVAILABLE/ }]);
  t.match(of(examined, 'GPUs'), [{ level: 'fail', fix: /docs\/gpus.md/ }]);
  t.match(of(examined, 'settings'), [
    { level: 'ok' },
    { level: 'warn', message: /REDIS_PASSWORD/ },
  ]);
  t.notMatch(JSON.stringify(examined), 'hush');
});

t.test('wrong settings are told together', async (t) => {
  const examined = await examine({ PORT: 'abc', TASK_STRATEGY: 'random' });
  t.equal(examined.code, 1);
  t.match(failures(examined), [
    { name: 'settings', message: /CONFIG_INVALID: 2 settings are wrong.*PORT.*TASK_STRATEGY/ },
  ]);
});

t.test('what does not answer is not waited for', async (t) => {
  const port = String(await mute(t));
  const settings = { REDIS_HOST: '127.0.0.1', REDIS_PORT: port, WORKER_DEVICES: 'none' };
  const examined = await examine(settings, { seconds: 1 });
  t.match(of(examined, 'Redis'), [{ level: 'fail', message: 'no answer within 1 s' }]);
  t.match(of(examined, 'engine'), [{ level: 'ok' }], 'the others are looked at all the same');
});

t.test('a fresh clone, without programs', async (t) => {
  const root = join(await temporaryFolder(t), 'clone');
  await mkdir(join(root, 'bin'), { recursive: true });
  await cp(join(projectRoot, 'scripts'), join(root, 'scripts'), { recursive: true });
  for (const file of ['package.json', 'package-lock.json']) {
    await cp(join(projectRoot, file), join(root, file));
  }
  // A program that never ends, among none that is needed.
  await writeFile(
    join(root, 'bin', 'ffprobe'),
    `#!${process.execPath}\nsetInterval(() => {}, 1e6);`,
    { mode: 0o755 },
  );
  const examined = await examine({ PATH: join(root, 'bin') }, { root, seconds: 1 });
  t.equal(examined.code, 1);
  const failed = failures(examined).map(({ name }) => name);
  t.same(failed, ['npm packages', 'compiler', 'ffmpeg', 'ffprobe', 'TypeScript']);
  t.match(of(examined, 'ffmpeg'), [{ message: 'it is not found', fix: 'ffmpeg' }]);
  t.match(of(examined, 'ffprobe'), [{ message: 'it does not run' }]);
  t.match(of(examined, 'redis-server'), [{ level: 'warn' }]);
});
