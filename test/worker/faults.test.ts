import { join } from 'node:path';
import { readdir } from 'node:fs/promises';
import t from 'tap';
import { until } from '../helpers/redis.js';
import { picture, tone } from '../helpers/samples.js';
import { Service, isGone, ownSettings } from '../helpers/stack.js';

t.setTimeout(240_000);

void t.test('faults', async (t) => {
  const settings = { ...(await ownSettings(t)), SHUTDOWN_SECONDS: '0.1', TASK_MAX_ATTEMPTS: '2' };
  const service = await Service.start(t, settings);
  const { stack, client } = service;
  await stack.workersReady;
  const image = await service.upload(await picture(160, 160));
  const audio = await service.upload(tone(1));
  const push = (task_id: string, more: object = {}) =>
    service.push({
      ...{ task_id, session_id: 's', ref_image_id: image, audio_id: audio, steps: 2, cfg: 1 },
      ...more,
    });
  const hears = (taskId: string, status: string, attempt: number) =>
    until(
      () => service.of(taskId).some((u) => u.status === status && u.attempt === attempt),
      `${status} of ${taskId}, attempt ${attempt}`,
      60_000,
    );
  const ends = (taskId: string) =>
    service.of(taskId).filter(({ status }) => /completed|failed/.test(status));

  await t.test('a killed worker: the task is done by the next one, once', async (t) => {
    await push('killed');
    await push('behind it', { frames_num: 2 });
    await hears('killed', 'inference', 1);
    const pid = stack.pids.workers[0] as number;
    process.kill(pid, 'SIGKILL');
    const last = await service.end('killed');
    t.match(last, { status: 'completed', attempt: 2 });
    await service.end('behind it');
    t.equal(ends('killed').length, 1);
    const all = [...service.of('killed'), ...service.of('behind it')];
    t.same(
      all.filter(({ status }) => status === 'completed').map(({ task_id }) => task_id),
      ['killed', 'behind it'],
    );
    const second = service.of('killed').filter(({ attempt }) => attempt === 2);
    t.equal(second[0]?.status, 'processing', 'the second attempt begins anew');
    const folders = await readdir(join(stack.config.dataFolder, 'work'));
    t.same(
      folders,
      [`${stack.config.hostName}.${stack.pids.workers[0]}`],
      'the files of the dead are gone',
    );
  });

  await t.test('a killed API comes back; a task in flight waits for it', async (t) => {
    process.kill(stack.pids.api as number, 'SIGKILL');
    await push('without api', { frames_num: 2 });
    t.match(await service.end('without api'), { status: 'completed', attempt: 1 });
    t.ok((await service.download(image)).length > 0, 'what was stored is still there');
  });

  await t.test('a killed Redis comes back with the tasks; the one in flight goes on', async (t) => {
    await push('redis gone', { frames_num: 8 });
    await push('waiting', { frames_num: 2 });
    await hears('redis gone', 'downloading', 1);
    const before = stack.pids.redis;
    process.kill(before as number, 'SIGKILL');
    await until(() => stack.pids.redis !== before && stack.pids.redis !== undefined, 'Redis');
    // Messages may be missed while the line is cut: the state tells.
    const status = (id: string) => client.hget(`task:${id}`, 'status');
    await until(async () => (await status('waiting')) === 'completed', 'the waiting task', 60_000);
    t.match(await client.hgetall('task:redis gone'), { status: 'completed', attempts: '1' });
    t.ok(ends('redis gone').length <= 1);
  });

  await t.test('a worker frozen past its lease loses its task and finishes nothing', async (t) => {
    await push('frozen', { frames_num: 8 });
    await hears('frozen', 'inference', 1);
    const pid = stack.pids.workers[0] as number;
    process.kill(pid, 'SIGSTOP');
    await until(async () => (await client.llen('task_queue_gpu_0')) === 1, 'the recovery', 30_000);
    process.kill(pid, 'SIGCONT');
    t.match(await service.end('frozen'), { status: 'completed', attempt: 2 });
    t.equal(stack.pids.workers[0], pid, 'the same worker, which gave up the lost attempt');
    t.equal(ends('frozen').length, 1);
    await service.tidied();
  });

  await t.test('SIGTERM: the task is handed back and done by the next worker', async (t) => {
    await push('handed');
    await hears('handed', 'inference', 1);
    process.kill(stack.pids.workers[0] as number, 'SIGTERM');
    const last = await service.end('handed');
    t.match(last, { status: 'completed', attempt: 2 });
    t.equal(await client.hget('task:handed', 'handed_back'), '1');
    t.equal(ends('handed').length, 1);
  });

  await t.test('a task that kills its worker each time fails and is buried', async (t) => {
    await push('poison');
    await push('after poison', { frames_num: 2 });
    for (const attempt of [1, 2]) {
      await hears('poison', 'processing', attempt);
      process.kill(stack.pids.workers[0] as number, 'SIGKILL');
    }
    t.match(await service.end('poison'), { status: 'failed', code: 'TASK_ATTEMPTS_EXHAUSTED' });
    t.match(await service.end('after poison'), { status: 'completed' });
    t.equal(ends('poison').length, 1);
    t.equal(await client.llen('task_queue_gpu_0:dead'), 1);
  });

  await t.test('the end: everything stops, what waited is still there', async (t) => {
    await push('kept', { frames_num: 2 });
    await hears('kept', 'processing', 1);
    await push('kept too', { frames_num: 2 });
    const { api, redis, workers } = stack.pids;
    await stack.stop();
    for (const pid of [api, redis, ...workers]) t.ok(isGone(pid));
    const again = await Service.start(t, { ...settings, SHUTDOWN_SECONDS: '10' });
    const state = () => again.client.hget('task:kept too', 'status');
    await until(async () => (await state()) === 'completed', 'the kept task', 60_000);
    t.equal(await again.client.hget('task:kept', 'status'), 'completed');
    await again.tidied();
  });
});
