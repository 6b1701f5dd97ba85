import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import t from 'tap';
import { gpus } from '../../native/index.js';
import { loadConfig } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { projectRoot } from '../../src/paths.js';
import type { DeviceInfo } from '../../src/queue/device.js';
import { Supervisor, visibleDevices } from '../../worker/supervisor.js';
import { temporaryFolder } from '../helpers/app.js';
import { until } from '../helpers/redis.js';
import { picture, tone } from '../helpers/samples.js';
import { Service, isGone, ownSettings } from '../helpers/stack.js';
import { tasksOf } from '../helpers/tasks.js';

t.setTimeout(120_000);

void t.test('workers alone serve an API that has none', async (t) => {
  const service = await Service.start(t, { ...(await ownSettings(t)), WORKER_DEVICES: 'none' });
  await service.stack.workersReady;
  t.same(service.stack.pids.workers, []);
  const { host, port } = service.stack.config.redis;
  const folder = await temporaryFolder(t);
  const start = (settings: Record<string, string>) => {
    const child = spawn(process.execPath, [join(projectRoot, 'dist', 'scripts', 'workers.js')], {
      env: {
        ...process.env,
        LOG_LEVEL: 'silent',
        DATA_DIR: folder,
        SIM_FRAME_MS: '1',
        ...settings,
      },
    });
    t.teardown(() => child.kill('SIGKILL'));
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
    }
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    return { child, output: () => text, ended };
  };
  const redis = { REDIS_HOST: host, REDIS_PORT: String(port) };
  const sim = { WORKER_DEVICES: 'sim:2', WORKER_FIRST_ID: '4' };

  const lonely = start({ ...redis, ...sim, BASE_URL: '' });
  t.equal(await lonely.ended, 1);
  t.match(lonely.output(), /^CONFIG_INVALID: workers alone need REDIS_HOST .* and BASE_URL/);

  const workers = start({ ...redis, ...sim, BASE_URL: service.url });
  await until(() => workers.output().includes('Ctrl-C stops'), 'ready', 60_000);
  t.equal(
    workers.output(),
    `Working for ${service.url}: push tasks on task_queue_gpu_4, task_queue_gpu_5` +
      ' (simulated devices: no model runs). Ctrl-C stops.\n',
  );
  t.same(await service.client.mget('gpu_status:0', 'gpu_status:4', 'gpu_status:5'), [
    ...[null, 'idle', 'idle'],
  ]);
  const image = await service.upload(await picture());
  const audio = await service.upload(tone(0.1));
  for (const gpu of [4, 5]) {
    const task = { task_id: `t${gpu}`, session_id: 's', ref_image_id: image, audio_id: audio };
    await service.client.rpush(`task_queue_gpu_${gpu}`, JSON.stringify(task));
    t.match(await service.end(`t${gpu}`), { status: 'completed' });
  }

  const second = start({ ...redis, ...sim, BASE_URL: service.url });
  t.equal(await second.ended, 1);
  t.match(second.output(), /^DATA_FOLDER_IN_USE/, 'never two workers for one device');

  workers.child.kill('SIGINT');
  t.equal(await workers.ended, 0, workers.output());
  t.same(await service.client.keys('gpu_status:*'), [], 'they are gone, and seen to be');
});

void t.test('one of two hosts dies whole, and the other does its tasks', async (t) => {
  const service = await Service.start(t, { ...(await ownSettings(t)), WORKER_DEVICES: 'none' });
  const { config } = service.stack;
  /** `die` ends its supervisor and workers at once, as a power failure does. */
  const startHost = async (firstId: number) => {
    const child = spawn(process.execPath, [join(projectRoot, 'dist', 'scripts', 'workers.js')], {
      env: {
        ...process.env,
        ...{ LOG_LEVEL: 'silent', SIM_FRAME_MS: '100', WORKER_DEVICES: 'sim:2' },
        ...{ REDIS_HOST: config.redis.host, REDIS_PORT: String(config.redis.port) },
        ...{ BASE_URL: service.url, TASK_LEASE_SECONDS: '3' },
        ...{ DATA_DIR: await temporaryFolder(t), WORKER_FIRST_ID: String(firstId) },
      },
    });
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    const pids = [child.pid as number];
    const die = () => {
      for (const pid of pids.splice(0)) if (!isGone(pid)) process.kill(pid, 'SIGKILL');
    };
    t.teardown(die);
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    await until(() => text.includes('Ctrl-C stops'), `host ${firstId}`, 60_000);
    for (const gpu of [firstId, firstId + 1]) {
      const info = JSON.parse((await service.client.get(`gpu_info:${gpu}`)) ?? '{}') as DeviceInfo;
      pids.push(Number(/-(\d+)-[0-9a-f]+$/.exec(info.worker)?.[1]));
    }
    return { child, die, ended };
  };
  const [doomed, other] = await Promise.all([startHost(0), startHost(2)]);
  const { tasks } = await tasksOf(t, config);
  const refImageId = await service.upload(await picture());
  const audioId = await service.upload(tone(0.5));
  const ids = Array.from({ length: 8 }, (_, i) => `task-${i}`);
  const gpus = new Map<string, number>();
  for (const taskId of ids) {
    const { gpuId } = await tasks.submit({ taskId, sessionId: 's', refImageId, audioId });
    gpus.set(taskId, gpuId);
    tasks.watch(taskId, () => undefined);
  }
  t.same(new Set(gpus.values()), new Set([0, 1, 2, 3]), 'they spread over both');
  const begun = (id: string) => service.of(id).some(({ status }) => status === 'inference');
  await until(() => ids.some((id) => (gpus.get(id) as number) < 2 && begun(id)), 'work there');
  doomed.die();

  const moved: string[] = [];
  for (const id of ids) {
    t.match(await service.end(id), { status: 'completed' }, id);
    t.equal(service.of(id).filter(({ status }) => status === 'completed').length, 1);
    const gpu = Number(await service.client.hget(`task:${id}`, 'gpu'));
    if (gpu >= 2 && (gpus.get(id) as number) < 2) moved.push(id);
  }
  t.ok(moved.length >= 2, 'what waited there at least');
  const attempts = await Promise.all(
    moved.map((id) => service.client.hget(`task:${id}`, 'attempts')),
  );
  t.ok(attempts.includes('2'), 'and what had begun there began again');
  other.child.kill('SIGINT');
  t.equal(await other.ended, 0);
});

void t.test('without a list, what the engine can use is taken, and the log says why', async (t) => {
  const lines: string[] = [];
  const log = createLog(
    'info',
    new Writable({ write: (chunk, _, done) => (lines.push(String(chunk)), done()) }),
  );
  const { devices, reason } = gpus();
  const names = visibleDevices(loadConfig({}), log).split(',');
  const all = ['cpu', ...devices.map(({ id }) => id)];
  t.ok(names.length > 0 && names.every((name) => all.includes(name)), names.join(' '));
  const told = (names[0] === 'cpu' ? 0 : names.length) + lines.length;
  t.equal(told, devices.length + (reason === undefined ? 0 : 1), 'each is used, or accounted for');
  if (reason !== undefined) t.match(lines[0], JSON.stringify(reason));
  lines.length = 0;
  t.equal(visibleDevices(loadConfig({ ENGINE_PROVIDER: 'cpu' }), log), 'cpu', 'as it is told to');
  t.same(lines, []);
  t.throws(() => new Supervisor(loadConfig({}), {}, log), /devices are to be named/);
});

void t.test('two workers on the CPU, each with a queue', async (t) => {
  const settings = { ...(await ownSettings(t)), WORKER_DEVICES: 'cpu,cpu', ENGINE_THREADS: '1' };
  const service = await Service.start(t, settings);
  await service.stack.workersReady;
  const [first, second] = service.stack.pids.workers;
  t.type(first, 'number');
  t.not(first, second);
  t.same(await service.client.mget('gpu_status:0', 'gpu_status:1'), ['idle', 'idle']);
  const [image, audio] = [await service.upload(await picture()), await service.upload(tone(0.1))];
  const task = { session_id: 's', ref_image_id: image, audio_id: audio, steps: 1, frames_num: 1 };
  for (const gpu of [0, 1]) {
    const raw = JSON.stringify({ ...task, task_id: `on-${gpu}` });
    await service.client.rpush(`task_queue_gpu_${gpu}`, raw);
  }
  const workers: (string | null)[] = [];
  for (const gpu of [0, 1]) {
    t.match(await service.end(`on-${gpu}`), { status: 'completed' });
    workers.push(await service.client.hget(`task:on-${gpu}`, 'worker'));
  }
  t.match(workers[0], `-${first}-`);
  t.match(workers[1], `-${second}-`);
});
