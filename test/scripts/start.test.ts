import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { projectRoot } from '../../src/paths.js';
import { freePort, isFree } from '../../src/queue/private-redis.js';
import { temporaryFolder } from '../helpers/app.js';
import { isMarked } from '../helpers/media.js';
import { startRedis, until } from '../helpers/redis.js';
import { picture, tone } from '../helpers/samples.js';
import { isGone, ownSettings } from '../helpers/stack.js';

t.setTimeout(240_000);

const script = (name: string) => join(projectRoot, 'dist', 'scripts', `${name}.js`);

interface Started {
  readonly child: ChildProcess;
  output(): string;
  ended: Promise<number | null>;
}

function start(name: string, args: string[], settings: Record<string, string>): Started {
  const child = spawn(process.execPath, [script(name), ...args], {
    env: { ...process.env, ...settings },
  });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return {
    child,
    output: () => text,
    ended: new Promise((resolve) => child.once('close', (code) => resolve(code))),
  };
}

void t.test('npm start', async (t) => {
  const folder = await temporaryFolder(t);
  const settings = await ownSettings(t);
  const image = join(folder, 'portrait "one".png');
  const audio = join(folder, 'speech.wav');
  await writeFile(image, await picture(128, 128));
  await writeFile(audio, tone(0.3));
  const ready = async () => {
    const started = start('start', [], { ...settings, LOG_LEVEL: 'info' });
    t.teardown(() => started.child.kill('SIGKILL'));
    await until(
      () => started.output().includes('Ready: push tasks on task_queue_gpu_0'),
      'Ready',
      120_000,
    );
    return started;
  };
  let server = await ready();
  t.match(server.output(), `EchoMimic Server: ${settings['BASE_URL']}`);
  const redisPort = /Redis: 127\.0\.0\.1:(\d+)/.exec(server.output())?.[1] as string;
  t.equal((await fetch(`${settings['BASE_URL']}/readyz`)).status, 200);

  await t.test('a second server on the same data is refused', async (t) => {
    const second = start('start', [], { ...settings, PORT: String(await freePort()) });
    t.equal(await second.ended, 1);
    t.match(second.output(), /DATA_FOLDER_IN_USE: process \d+ serves from/);
  });

  const python = spawnSync('python3', ['--version']).status === 0;
  await t.test('the Python example', { skip: python ? false : 'python3 is missing' }, async (t) => {
    const out = join(folder, 'python.mp4');
    const args = [
      ...[join(projectRoot, 'docs', 'examples', 'client.py'), '--image', image, '--audio', audio],
      ...['--out', out, '--base-url', settings['BASE_URL'] as string],
      ...['--redis-host', '127.0.0.1', '--redis-port', redisPort],
    ];
    const run = (more: string[]) =>
      new Promise<{ code: number | null; text: string }>((resolve) => {
        const client = spawn('python3', ['-u', ...args, ...more]);
        let text = '';
        client.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
        client.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
        client.once('close', (code) => resolve({ code, text }));
      });
    const good = await run(['--steps', '1', '--seed', '3', '--frames-num', '4']);
    t.equal(good.code, 0, good.text);
    t.match(good.text, /inference[^]*100\.0 % {2}completed/);
    t.equal((await readFile(out)).toString('latin1', 4, 8), 'ftyp');
    const bad = await run(['--steps', '0']);
    t.equal(bad.code, 1);
    t.match(bad.text, 'TASK_INVALID: steps must be an integer from 1 to 200, not 0');
  });

  await t.test('killed, it leaves nothing that runs on; then it starts again', async (t) => {
    const old = workers(server);
    server.child.kill('SIGKILL');
    await until(() => old.every(isGone), 'the end of the workers');
    const running = async (port: number) => !(await isFree(port));
    for (const port of [Number(redisPort), Number(settings['PORT'])]) {
      await until(async () => !(await running(port)), `the end of what listens on ${port}`);
    }
    server = await ready();
    t.same(
      workers(server).filter((pid) => old.includes(pid)),
      [],
      'with workers of its own',
    );
  });

  await t.test('Ctrl-C stops everything', async (t) => {
    const pids = workers(server);
    t.ok(pids.length > 0);
    server.child.kill('SIGINT');
    t.equal(await server.ended, 0, server.output().slice(-2000));
    for (const pid of pids) t.ok(isGone(pid));
    await t.rejects(fetch(`${settings['BASE_URL']}/livez`));
  });
});

/** Process ids of the workers that a server's log names. */
function workers(server: Started): number[] {
  const names = server.output().matchAll(/"worker":"[^"]*?-(\d+)-[0-9a-f]{8}"/g);
  return [...names].map((match) => Number(match[1]));
}

void t.test('npm start says what is wrong', async (t) => {
  const settings = await ownSettings(t);
  const broken = await temporaryFolder(t);
  await writeFile(join(broken, 'manifest.json'), '{}');
  const secured = await startRedis(t);
  await secured.client.config('SET', 'requirepass', 'secret');
  const named = { REDIS_PORT: String(secured.server.port), REDIS_HOST: '127.0.0.1' };
  const attempts: [Record<string, string>, string | RegExp][] = [
    [{ PORT: 'x', REDIS_PORT: '0' }, 'CONFIG_INVALID: 2 settings are wrong: PORT='],
    [{ MODEL: 'nothing' }, 'MODEL_MISSING: there is no model in'],
    [
      { REDIS_SERVER: 'no-such-program' },
      'REDIS_SERVER_MISSING: "no-such-program" is not installed',
    ],
    [{ ...named }, /REDIS_UNAVAILABLE: Redis at 127\.0\.0\.1:\d+: NOAUTH/],
    [{ ...named, REDIS_PASSWORD: 'hush' }, /REDIS_UNAVAILABLE: .*: WRONGPASS/],
  ];
  for (const [wrong, message] of attempts) {
    const run = start('start', [], { ...settings, ...wrong });
    t.equal(await run.ended, 1);
    t.match(run.output(), message);
    t.equal(run.output().trim().split('\n').length, 1, 'one line, no stack');
  }
  const late = start('start', [], { ...settings, MODEL: broken, PORT: '0', BASE_URL: '' });
  t.equal(await late.ended, 1, 'a model that turns out to be broken stops everything');
  t.match(
    late.output(),
    /^EchoMimic Server: http:\/\/127\.0\.0\.1:[1-9][^]*\nENGINE_MODEL_INVALID: /,
  );
});

void t.test('npm run demo', async (t) => {
  const folder = await temporaryFolder(t);
  const files = {
    image: join(folder, 'p.png'),
    audio: join(folder, 's.wav'),
    out: join(folder, 'o.mp4'),
  };
  await writeFile(files.image, await picture(128, 128));
  await writeFile(files.audio, tone(0.2));
  const args = Object.entries(files).flatMap(([name, path]) => [`--${name}`, path]);
  const demo = start('demo', args, {});
  t.equal(await demo.ended, 0, demo.output());
  t.match(demo.output(), /\[#+-*\] .* inference: step/);
  t.match(demo.output(), /100 % {2}completed: the video is ready\nmade in .*o\.mp4/);
  t.equal((await readFile(files.out)).toString('latin1', 4, 8), 'ftyp');

  const missing = start('demo', ['--image', join(folder, 'none.png'), ...args.slice(2)], {});
  t.equal(await missing.ended, 1);
  t.match(missing.output(), /BAD_REQUEST: there is no file .*none.png/);
});

void t.test('npm run render', async (t) => {
  const folder = await temporaryFolder(t);
  const image = join(folder, 'p.png');
  const audio = join(folder, 's.wav');
  const out = join(folder, 'deep', 'er', 'o.mp4');
  await writeFile(image, await picture(128, 128));
  await writeFile(audio, tone(0.3));
  const args = ['--image', image, '--audio', audio, '--out', out, '--steps', '1'];
  const more = ['--frames', '2', '--size', '64', '--seed', '1'];
  const good = start('render', [...args, ...more], { VISIBLE_MARK: 'zh' });
  t.equal(await good.ended, 0, good.output());
  t.match(good.output(), /o\.mp4: 0\.1 s, 2 frames of 64x64, seed 1, made in/);
  t.equal((await readFile(out)).toString('latin1', 4, 8), 'ftyp');
  t.ok(isMarked(out, 64), 'the mark is in it');

  for (const [more, code, message] of [
    [['--steps', 'x'], 1, 'BAD_REQUEST: --steps must be a number'],
    [['--size', '100'], 1, 'ENGINE_OPTION_INVALID: size: must be a multiple of 8'],
    [['--audio', image], 1, /^AUDIO_/m],
  ] as const) {
    const bad = start('render', [...args, ...more], {});
    t.equal(await bad.ended, code);
    t.match(bad.output(), message);
  }
  const bare = start('render', [], {});
  t.equal(await bare.ended, 2);
  t.match(bare.output(), 'npm run render -- --image');
});
