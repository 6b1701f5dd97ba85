import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { projectRoot } from '../../src/paths.js';
import { until } from '../helpers/redis.js';
import { picture, tone } from '../helpers/samples.js';
import { Service, isGone, ownSettings } from '../helpers/stack.js';

t.setTimeout(300_000);

void t.test('a worker whose device fails is replaced, and its task tried again', async (t) => {
  const settings = await ownSettings(t);
  const fixture = join(projectRoot, 'dist', 'test', 'worker', 'fixtures', 'failing-device.js');
  const service = await Service.start(t, {
    ...settings,
    ...{ WORKER_DEVICES: 'sim:1', SIM_FRAME_MS: '1', TASK_MAX_ATTEMPTS: '2' },
    // A process that decodes the picture may have to start first, on a busy machine.
    TASK_STALL_SECONDS: '4',
    ...{
      LOST: join(settings['DATA_DIR']!, 'lost'),
      NODE_OPTIONS: `--import=${pathToFileURL(fixture).href}`,
    },
  });
  const { stack } = service;
  await stack.workersReady;
  const [image, audio] = [await service.upload(await picture()), await service.upload(tone(0.2))];
  const push = (task_id: string, seed: number) =>
    service.push({ task_id, session_id: 's', ref_image_id: image, audio_id: audio, seed });
  const first = stack.pids.workers[0];

  await push('lost', 13);
  await push('behind it', 1);
  t.match(await service.end('lost'), { status: 'completed', attempt: 2 });
  t.match(await service.end('behind it'), { status: 'completed', attempt: 1 });
  t.ok(isGone(first), 'the process that had the device');
  t.not(stack.pids.workers[0], first);

  await push('too large', 14);
  const last = await service.end('too large');
  t.match(last, { status: 'failed', attempt: 2, code: 'ENGINE_OUT_OF_MEMORY' });
  await push('after it', 1);
  t.match(await service.end('after it'), { status: 'completed' });

  for (const [task, seed, code, why] of [
    ['hangs', 15, 'TASK_STALLED', /no progress for 4 s/],
    ['crashes', 16, 'TASK_ATTEMPTS_EXHAUSTED', /lost 2 times .* it was ended by SIGSEGV/],
  ] as const) {
    await push(task, seed);
    await push(`after ${task}`, 1);
    t.match(await service.end(task), { status: 'failed', attempt: 2, code, error: why });
    t.match(await service.end(`after ${task}`), { status: 'completed', attempt: 1 });
    const dead = (await service.client.lindex('task_queue_gpu_0:dead', 0)) as string;
    t.match(JSON.parse(dead), { task_id: task, attempts: 2, code, worker: /^simulated-/ });
  }
  const now = `${stack.config.hostName}.${stack.pids.workers[0]}`;
  await until(
    async () => (await readdir(join(stack.config.dataFolder, 'work'))).join() === now,
    'nothing left of the processes that ended',
  );
});
