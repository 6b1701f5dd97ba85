import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { TaskUpdate } from '../../src/queue/update.js';
import { startApp, temporaryFolder, upload } from '../helpers/app.js';
import { ffprobe } from '../helpers/media.js';
import { startRedis, until } from '../helpers/redis.js';
import { picture, tone } from '../helpers/samples.js';
import { stampOf, startSmallestClipWorker } from '../helpers/smallest-clip.js';
import { openTasks } from '../helpers/tasks.js';

const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');

void t.test('many tasks on several devices of one process', async (t) => {
  const redis = await startRedis(t);
  const { url, files } = await startApp(t);
  const settings = {
    ...{ REDIS_HOST: redis.server.host, REDIS_PORT: String(redis.server.port) },
    ...{ BASE_URL: url, LOG_LEVEL: 'silent', DATA_DIR: await temporaryFolder(t) },
  };
  const worker = await startSmallestClipWorker(t, settings, [2, 5, 80]);
  const { tasks } = await openTasks(t, redis);
  const send = async (data: Uint8Array<ArrayBuffer>) => (await upload(url, data)).body.file_id!;
  const download = async (id: string) =>
    new Uint8Array(await (await fetch(`${url}/api/tempfile/download/${id}`)).arrayBuffer());
  const results = new Map<string, TaskUpdate[]>();
  const submit = async (refImageId: string, audioId: string, sessionId = 'session') => {
    const submitted = await tasks.submit({ sessionId, refImageId, audioId });
    const told: TaskUpdate[] = [];
    results.set(submitted.taskId, told);
    tasks.watch(submitted.taskId, (update) => told.push(update));
    return submitted;
  };
  const last = (taskId: string) => results.get(taskId)?.at(-1);
  const ended = (taskId: string) =>
    until(() => /completed|failed/.test(last(taskId)?.status ?? ''), `the end of ${taskId}`);

  const image = await picture();
  const imageId = await send(image);
  await t.test('each answer is made of the files of its own task', async (t) => {
    const made = await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        const audio = tone(0.2, 16000, 200 + i * 10);
        const submitted = await submit(imageId, await send(audio), `session-${i}`);
        return { ...submitted, audio: sha256(audio), i };
      }),
    );
    t.same(new Set(made.map(({ gpuId }) => gpuId)), new Set([2, 5, 80]));
    for (const { taskId, audio, i } of made) {
      await ended(taskId);
      t.match(last(taskId), { status: 'completed' });
      const film = await download(last(taskId)?.video_file_id as string);
      const session_id = `session-${i}`;
      t.same(stampOf(film), { task_id: taskId, session_id, image: sha256(image), audio });
      if (i > 0) continue;
      const path = join(await temporaryFolder(t), 'film.mp4');
      writeFileSync(path, film);
      const { streams } = ffprobe(path);
      t.match(streams[0], { codec_name: 'h264', width: 64, height: 64, nb_frames: '4' });
    }
  });

  await t.test('a cancelled one ends at once and leaves no film', async (t) => {
    const before = await files();
    await worker.setDelay(60_000);
    const audioId = await send(tone(0.2));
    const { taskId, gpuId } = await submit(imageId, audioId);
    await until(() => last(taskId)?.status === 'inference', 'it works');
    t.equal(await tasks.cancel(taskId), 'stopping');
    await ended(taskId);
    t.match(last(taskId), { status: 'failed', code: 'TASK_CANCELLED' });
    await until(async () => (await redis.client.get(`gpu_status:${gpuId}`)) === 'idle', 'idle');
    t.same(new Set(await files()), new Set([...before, audioId]));
    await worker.setDelay(0);
  });

  await t.test('its end hands back; a task whose file is missing fails', async (t) => {
    const missing = await submit(imageId, imageId.replace(/^......../, '00000000'));
    await ended(missing.taskId);
    t.match(last(missing.taskId), { status: 'failed', code: 'TASK_FILE_NOT_FOUND' });
    await worker.setDelay(60_000);
    const { taskId, gpuId } = await submit(imageId, await send(tone(0.2)));
    await until(() => last(taskId)?.status === 'inference', 'it works');
    await worker.stop();
    t.equal(await redis.client.llen(`task_queue_gpu_${gpuId}`), 1);
    t.equal(await tasks.cancel(taskId), 'withdrawn');
    await ended(taskId);
    t.equal(await redis.client.exists(...[2, 5, 80].map((id) => `gpu_status:${id}`)), 0);
  });
});
