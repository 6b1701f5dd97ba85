import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { picture, tone } from '../helpers/samples.js';
import { Service, isGone, ownSettings } from '../helpers/stack.js';
import { until } from '../helpers/until.js';

const devices = 2;
/** Tasks that wait or run at any time. */
const atOnce = 6;

t.setTimeout(240_000);

void t.test('a rolling restart under load loses nothing', async (t) => {
  const service = await Service.start(t, {
    ...(await ownSettings(t)),
    ...{ WORKER_DEVICES: `sim:${devices}`, SIM_FRAME_MS: '40', SHUTDOWN_SECONDS: '0.2' },
    // One attempt is all that a task has: what is handed back does not count.
    TASK_MAX_ATTEMPTS: '1',
  });
  const { stack, client } = service;
  await stack.workersReady;
  const [image, audio] = [await service.upload(await picture()), await service.upload(tone(0.5))];
  const ends = () => service.heard.filter(({ status }) => /completed|failed/.test(status));
  let total = 0;
  let isLoaded = true;
  const load = (async () => {
    while (isLoaded) {
      await until(() => !isLoaded || total - ends().length < atOnce, 'the end of a task', 60_000);
      const task = { task_id: `${total}`, session_id: 's', ref_image_id: image, audio_id: audio };
      await client.rpush(`task_queue_gpu_${total++ % devices}`, JSON.stringify(task));
    }
  })();
  const restart = async (which: () => number | undefined, device?: number) => {
    const before = which();
    const count = service.heard.length;
    const isAtWork = ({ status, task_id }: { status: string; task_id: string }) =>
      status === 'inference' && (device ?? Number(task_id) % devices) === Number(task_id) % devices;
    await until(() => service.heard.slice(count).some(isAtWork), 'work goes on', 60_000);
    process.kill(before as number, 'SIGTERM');
    await until(() => which() !== before && which() !== undefined, 'a new process', 60_000);
    t.ok(isGone(before));
  };
  await restart(() => stack.pids.api);
  for (let i = 0; i < devices; i++) {
    const started = Date.now();
    await restart(() => stack.pids.workers[i], i);
    t.comment(`worker ${i} restarted in ${Date.now() - started} ms`);
    await until(async () => (await client.exists(`gpu_status:${i}`)) === 1, 'it works', 60_000);
  }
  await restart(() => stack.pids.api);
  isLoaded = false;
  await load;
  await until(() => ends().length >= total, 'the end of every task', 60_000);

  const states = await Promise.all(
    Array.from({ length: total }, (_, id) => client.hgetall(`task:${id}`)),
  );
  const bad = states.filter(({ status }) => status !== 'completed');
  t.same(bad, [], `${total} tasks are completed`);
  const told = new Set(ends().map(({ task_id }) => task_id));
  t.equal(told.size, total);
  t.equal(ends().length, total, 'each of them once');
  const handedBack = states.filter(({ handed_back: count }) => count !== undefined).length;
  t.ok(handedBack > 0, `${handedBack} were handed back on the way`);
  t.same(await client.keys('*:dead'), []);
  const videos = new Set(states.map(({ video_file_id: id }) => id));
  const stored = async () => (await service.files()).stored;
  const kept = [image, audio, ...videos] as string[];
  await until(async () => (await stored()).length === kept.length, 'no other file is left');
  t.same(new Set(await stored()), new Set(kept));
  const folders = await readdir(join(stack.config.dataFolder, 'work'));
  t.equal(folders.length, devices, 'nor a folder of a worker that ended');
});
