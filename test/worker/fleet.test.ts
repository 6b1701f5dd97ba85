import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { TaskUpdate } from '../../src/queue/update.js';
import { temporaryFolder } from '../helpers/app.js';
import { ffprobe, isMarked } from '../helpers/media.js';
import { until } from '../helpers/redis.js';
import { picture, tone } from '../helpers/samples.js';
import { Service, isGone, ownSettings } from '../helpers/stack.js';
import { tasksOf } from '../helpers/tasks.js';

const devices = 8;
const total = 500;
/** Tasks that wait or run at any time: half a dozen per device. */
const atOnce = 48;
/** Whose worker is killed, and after how many results. */
const victim = 3;
const killAfter = 200;

t.setTimeout(300_000);

void t.test('a machine of eight devices does 500 tasks once each', async (t) => {
  const service = await Service.start(t, {
    ...(await ownSettings(t)),
    ...{ WORKER_DEVICES: `sim:${devices}`, SIM_FRAME_MS: '40', VISIBLE_MARK: 'zh' },
  });
  await service.stack.workersReady;
  const { config, pids } = service.stack;
  const { tasks, subscriber } = await tasksOf(t, config);
  const images = await Promise.all([picture(64, 64), picture(80, 64)]);
  const uploads = await Promise.all(
    [...images, tone(0.1), tone(0.12, 16000, 330)].map((content) => service.upload(content)),
  );
  const [imageIds, audioIds] = [uploads.slice(0, 2), uploads.slice(2)];

  const deviceOf = new Map<string, number>();
  const open = new Set<string>();
  let completions = 0;
  let killing: Promise<void> | undefined;
  let lost: string | undefined;

  /** Kills the victim while it holds this task; not if it ends the task first. */
  const kill = async (taskId: string) => {
    const pid = pids.workers[victim] as number;
    process.kill(pid, 'SIGSTOP');
    const status = await service.client.hget(`task:${taskId}`, 'status');
    process.kill(pid, status === 'completed' ? 'SIGCONT' : 'SIGKILL');
    if (status !== 'completed') lost = taskId;
    else killing = undefined;
  };
  subscriber.on('message', (_channel, text: string) => {
    const { task_id, status } = JSON.parse(text) as TaskUpdate;
    if (status === 'completed' || status === 'failed') {
      open.delete(task_id);
      completions++;
    }
    const isVictims = status === 'inference' && deviceOf.get(task_id) === victim;
    if (isVictims && completions >= killAfter && lost === undefined) killing ??= kill(task_id);
  });

  for (let i = 0; i < total; i++) {
    await until(() => open.size < atOnce, 'the end of a task', 60_000);
    const before = open.size;
    const taskId = `task-${i}`;
    const [refImageId, audioId] = [imageIds[i % 2], audioIds[i % 2]] as [string, string];
    open.add(taskId);
    if (i % 10 === 0) {
      const gpu = (i / 10) % devices;
      deviceOf.set(taskId, gpu);
      const raw = { task_id: taskId, session_id: 's', ref_image_id: refImageId, audio_id: audioId };
      await service.client.rpush(`task_queue_gpu_${gpu}`, JSON.stringify(raw));
      continue;
    }
    const { gpuId, position } = await tasks.submit({
      ...{ taskId, sessionId: 's', refImageId, audioId },
    });
    deviceOf.set(taskId, gpuId);
    // Among n devices one has at most an n-th of all tasks; one device may be dead just now.
    const fair = Math.floor(before / (devices - 1));
    if (position > fair) t.ok(position <= fair, `task ${i}: place ${position} of ${before} tasks`);
  }
  const ended = () => service.heard.filter(({ status }) => status === 'completed').length;
  await until(() => open.size === 0 && ended() >= total, 'the end of every task', 120_000);

  await t.test('each is completed exactly once', async (t) => {
    t.type(lost, 'string', 'a worker was killed while it had a task');
    const videos = new Set<string>();
    let again = 0;
    for (let i = 0; i < total; i++) {
      const id = `task-${i}`;
      const told = service.of(id);
      const ends = told.filter(({ status }) => status === 'completed' || status === 'failed');
      const state = await service.client.hgetall(`task:${id}`);
      const [end] = ends;
      const isGood =
        ends.length === 1 &&
        end === told.at(-1) &&
        end?.status === 'completed' &&
        state['status'] === 'completed' &&
        state['video_file_id'] === end.video_file_id &&
        state['attempts'] === (id === lost ? '2' : '1');
      if (!isGood) t.same({ ends, state }, {}, `${id} ends once, well`);
      videos.add(end?.video_file_id ?? id);
      if (end?.attempt === 2) again++;
    }
    t.equal(completions, total);
    t.equal(videos.size, total);
    t.equal(again, 1, 'only the lost one was begun a second time');
    const { stored } = await service.files();
    t.same(new Set(stored), new Set([...uploads, ...videos]), 'no video of a task is there twice');
    await service.tidied();
  });

  await t.test('one at a time on each device, and evenly', async (t) => {
    const running = new Map<number, string>();
    const counts = new Array<number>(devices).fill(0);
    const waiting = new Array<number>(devices).fill(0);
    const missed = new Array<number>(devices).fill(0);
    let longest = 0;
    for (const { task_id, status, attempt } of service.heard) {
      const gpu = deviceOf.get(task_id) as number;
      const isPlain = Number(task_id.slice(5)) % 10 === 0;
      if (status === 'queued') waiting[gpu]!++;
      if (status === 'processing') {
        const other = running.get(gpu);
        if (other !== undefined && other !== lost) t.equal(other, undefined, `beside ${task_id}`);
        running.set(gpu, task_id);
        if (!isPlain && attempt === 1) waiting[gpu]!--;
        missed[gpu] = 0;
      }
      if (status === 'completed') {
        if (running.get(gpu) !== task_id) t.equal(running.get(gpu), task_id, 'it ran there');
        running.delete(gpu);
        counts[gpu]!++;
        for (let other = 0; other < devices; other++) {
          const isIdle = !running.has(other) && waiting[other]! > 0 && other !== victim;
          if (isIdle) longest = Math.max(longest, ++missed[other]!);
        }
      }
    }
    const survivors = counts.filter((_, gpu) => gpu !== victim);
    const mean = survivors.reduce((a, b) => a + b) / survivors.length;
    t.comment(`tasks per device ${counts.join(' ')}; at most ${longest} ended while one sat idle`);
    for (const count of survivors) {
      t.ok(count > 0.8 * mean && count < 1.2 * mean, `${count} of ${mean.toFixed(1)} on average`);
    }
    t.ok(longest < 3 * devices, 'nobody sits idle while tasks wait for it');
  });

  await t.test('the killed worker was replaced, and all are idle', async (t) => {
    const workers = await Promise.all(
      [...deviceOf].map(([id]) => service.client.hget(`task:${id}`, 'worker')),
    );
    t.equal(new Set(workers).size, devices + 1, 'eight, and the one in place of the killed');
    for (const worker of new Set(workers)) t.match(worker, /^simulated-/);
    t.ok(service.stack.pids.workers.every((pid) => pid !== undefined && !isGone(pid)));
    const statuses = () =>
      service.client.mget(Array.from({ length: devices }, (_, gpu) => `gpu_status:${gpu}`));
    await until(async () => (await statuses()).every((status) => status === 'idle'), 'all idle');
    t.same(await service.client.keys('task_lease:*'), []);
    // What recovery looked at twice may be remembered for a while.
    const lists = (await service.client.keys('task_queue_gpu_*')).filter(
      (name) => !name.endsWith(':suspects'),
    );
    t.same(lists, [], 'nothing waits, is taken or dead');
  });

  await t.test('videos say what they are; deleted, nothing is left', async (t) => {
    const folder = await temporaryFolder(t);
    for (const id of ['task-0', 'task-1', 'task-499']) {
      const path = join(folder, `${id}.mp4`);
      const video = (await service.end(id)).video_file_id as string;
      await writeFile(path, await service.download(video));
      const { streams, format } = ffprobe(path);
      t.match(streams, [{ codec_name: 'h264', width: 128, nb_frames: '3' }, { codec_name: 'aac' }]);
      t.match(format.tags['comment'], /^Simulated/);
      t.match(format.tags['xmp'], 'digitalsourcetype/algorithmicMedia');
      t.ok(isMarked(path, 128));
    }
    const { stored } = await service.files();
    await fetch(`${service.url}/api/tempfile/batch-delete`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ file_ids: stored }),
    });
    t.same((await service.files()).stored, []);
    await service.stack.stop();
    t.same(await readdir(join(config.dataFolder, 'work')), []);
  });
});
