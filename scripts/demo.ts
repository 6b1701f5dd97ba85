import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import closeWithGrace from 'close-with-grace';
import { crashSignals } from '../src/alive.js';
import { EchoMimicClient } from '../src/client/index.js';
import { CodedError, codeOf } from '../src/errors.js';
import { createLog } from '../src/log.js';
import { projectRoot } from '../src/paths.js';
import { freePort } from '../src/queue/private-redis.js';
import { connectRedis } from '../src/queue/redis.js';
import type { TaskUpdate } from '../src/queue/update.js';
import { progressBar } from './progress-bar.js';
import { type Stack, startStack } from './stack.js';
import { download, upload } from './temp-files.js';

const samples = join(projectRoot, 'weights', 'bundled', 'samples');

/** `npm run demo`: the whole service, started, used once as a client would, and stopped. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      image: { type: 'string', default: join(samples, 'portrait.png') },
      audio: { type: 'string', default: join(samples, 'speech.wav') },
      out: { type: 'string', default: join(projectRoot, 'out', 'demo.mp4') },
      seed: { type: 'string', default: '1' },
    },
  });
  for (const path of [values.image, values.audio]) {
    if (!existsSync(path)) throw new CodedError('BAD_REQUEST', `there is no file ${path}`);
  }
  const folder = await mkdtemp(join(tmpdir(), 'echomimic-demo-'));
  const log = createLog('warn');
  let stack: Stack | undefined;
  let starting: Promise<Stack> | undefined;
  const clean = async () => {
    stack ??= await starting?.catch(() => undefined);
    await stack?.stop();
    await rm(folder, { recursive: true, force: true });
  };
  const grace = closeWithGrace({ delay: 60_000, skip: crashSignals }, clean);
  try {
    const port = await freePort();
    starting = startStack({
      log,
      settings: {
        DATA_DIR: folder,
        HOST: '127.0.0.1',
        PORT: String(port),
        BASE_URL: `http://127.0.0.1:${port}`,
        API_TOKEN: undefined,
        LOG_LEVEL: 'warn',
        ...{ REDIS_HOST: undefined, REDIS_PORT: undefined },
        ...{ REDIS_DB: undefined, REDIS_PASSWORD: undefined },
        SHUTDOWN_SECONDS: '1',
      },
    });
    stack = await starting;
    console.log(`serving at ${stack.config.baseUrl}, Redis at port ${stack.config.redis.port}`);
    await stack.workersReady;
    await makeOne(stack, values.image, values.audio, resolve(values.out), Number(values.seed));
  } finally {
    grace.uninstall();
    await clean();
  }
}

async function makeOne(
  stack: Stack,
  image: string,
  audio: string,
  out: string,
  seed: number,
): Promise<void> {
  const { config } = stack;
  const started = performance.now();
  const http = new EchoMimicClient({ baseUrl: config.baseUrl });
  const imageId = await upload(http, image);
  const audioId = await upload(http, audio);
  console.log(`uploaded ${basename(image)} and ${basename(audio)}`);

  const log = createLog('warn');
  const client = connectRedis(config, log);
  const subscriber = connectRedis(config, log);
  const bar = progressBar();
  try {
    const taskId = randomUUID();
    const result = new Promise<TaskUpdate>((done) => {
      subscriber.on('message', (_channel: string, text: string) => {
        const update = JSON.parse(text) as TaskUpdate;
        if (update.task_id !== taskId) return;
        bar.show(update.percentage, `${update.status}: ${update.message}`);
        if (update.status === 'completed' || update.status === 'failed') done(update);
      });
    });
    await subscriber.subscribe(config.progressChannel);
    const task = {
      task_id: taskId,
      session_id: 'demo',
      ref_image_id: imageId,
      audio_id: audioId,
      seed,
    };
    await client.rpush(config.queueName.replaceAll('{gpu_id}', '0'), JSON.stringify(task));
    const last = await result;
    bar.end();
    if (last.status === 'failed' || last.video_file_id === undefined) {
      throw new CodedError(codeOf(last), last.error ?? last.message);
    }
    await download(http, last.video_file_id, out);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`made in ${seconds} s: ${relative(process.cwd(), out) || out}`);
  } finally {
    bar.end();
    client.disconnect();
    subscriber.disconnect();
  }
}

try {
  await main();
} catch (error) {
  console.error(`${codeOf(error)}: ${(error as Error).message}`);
  process.exitCode = 1;
}
