import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { projectRoot } from '../../src/paths.js';
import { temporaryFolder } from '../helpers/folder.js';
import { picture, tone } from '../helpers/samples.js';
import { Service, ownSettings } from '../helpers/stack.js';

void t.test('every example makes its video', async (t) => {
  const folder = await temporaryFolder(t);
  const [image, audio] = [join(folder, 'portrait.png'), join(folder, 'speech.wav')];
  await writeFile(image, await picture(128, 128));
  await writeFile(audio, tone(0.3));
  const devices = { WORKER_DEVICES: 'sim:1', SIM_FRAME_MS: '1' };
  const service = await Service.start(t, { ...(await ownSettings(t)), ...devices });
  await service.stack.workersReady;

  const { redis } = service.stack.config;
  const env = {
    ...process.env,
    ...{ BASE_URL: service.url, REDIS_HOST: redis.host, REDIS_PORT: String(redis.port) },
  };
  const example = join(projectRoot, 'docs', 'examples', 'client');
  const compiled = join(projectRoot, 'dist', 'docs', 'examples', 'client.js');
  const run = (program: string, ...args: string[]) =>
    new Promise<{ code: number; text: string }>((resolve) =>
      execFile(program, args, { env, timeout: 120_000 }, (error, out, complaint) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? -1), text: out + complaint }),
      ),
    );
  const talks = /saved [^]*Clara listens\nGood morning\. \(http[^]*\nHow are you\? \(http/;
  for (const [name, shows, program, ...args] of [
    ['shell', /completed: [^]*saved /, 'sh', `${example}.sh`],
    ['JavaScript', talks, process.execPath, '--experimental-websocket', `${example}.mjs`],
    ['TypeScript', talks, process.execPath, compiled, '--url', service.url],
  ] as [string, RegExp, string, ...string[]][]) {
    const out = join(folder, `${name}.mp4`);
    const { code, text } = await run(program, ...args, image, audio, out);
    t.equal(code, 0, `${name}: ${text}`);
    t.match(text, shows, name);
    t.equal((await readFile(out)).toString('latin1', 4, 8), 'ftyp', `the video of ${name}`);
    t.not((await run(program, ...args, audio, image, out)).code, 0, `${name} says what is wrong`);
  }
});
