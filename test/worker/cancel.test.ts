import { readdir } from 'node:fs/promises';
import t from 'tap';
import { Engine, type Progress } from '../../native/index.js';
import { createLog } from '../../src/log.js';
import { type Claim, WorkerQueue } from '../../src/queue/worker-queue.js';
import { runJob } from '../../worker/pipeline/job.js';
import { closeFaceDetector } from '../../worker/media/index.js';
import { startApp, temporaryFolder, upload } from '../helpers/app.js';
import { startRedis, until } from '../helpers/redis.js';
import { picture, tone } from '../helpers/samples.js';
import { Service, ownSettings } from '../helpers/stack.js';
import { openTasks, takeAndClaim } from '../helpers/tasks.js';
import { testModel } from '../native/clip.js';

t.setTimeout(240_000);
const log = createLog('silent');

/** A worker's queue that lets the test do something before the completion. */
class Hesitant extends WorkerQueue {
  before: (claim: Claim) => Promise<unknown> = async () => undefined;

  override async complete(claim: Claim, videoFileId: string): Promise<boolean> {
    await this.before(claim);
    return super.complete(claim, videoFileId);
  }
}

void t.test('a job that is cancelled', async (t) => {
  const redis = await startRedis(t);
  const { url, files } = await startApp(t);
  const config = redis.config({ BASE_URL: url });
  const { tasks } = await openTasks(t, redis);
  const folder = await temporaryFolder(t);
  const engine = await Engine.load({ model: testModel });
  const queue = new Hesitant(config, 0, 'w0', log);
  await queue.open();
  t.teardown(async () => {
    await queue.close();
    await engine.dispose();
    await closeFaceDetector();
  });
  const [refImageId, audioId] = (await Promise.all(
    [await picture(160, 160), tone(2)].map(async (data) => (await upload(url, data)).body.file_id),
  )) as [string, string];
  const shutdown = new AbortController().signal;
  const context = { config, encoder: { name: 'x264' as const }, queue, log, folder, shutdown };
  /** The engine, and every progress that it tells. */
  const watched = (onProgress: (progress: Progress) => void) =>
    ({
      info: () => engine.info(),
      render: (options, hooks) =>
        engine.render(options, {
          ...hooks,
          onProgress: (progress) => {
            onProgress(progress);
            hooks.onProgress?.(progress);
          },
        }),
    }) as Pick<Engine, 'info' | 'render'> as Engine;
  const run = async (
    more: { steps?: number; framesNum?: number },
    onProgress: (progress: Progress, claim: Claim) => void = () => undefined,
  ) => {
    const { taskId } = await tasks.submit({
      ...{ sessionId: 's', refImageId, audioId, steps: 1, cfg: 1, ...more },
    });
    const claim = await takeAndClaim(queue);
    const device = watched((progress) => onProgress(progress, claim));
    await runJob(claim, { ...context, engine: device });
    return tasks.result(taskId);
  };
  const kept = new Set([refImageId, audioId]);
  const leavesNothing = async (t: Tap) => {
    t.same(new Set(await files()), kept, 'no video stays');
    t.same(await readdir(folder), [], 'the worker keeps nothing');
    t.same(await redis.client.keys('task_lease:*'), []);
    t.equal(await redis.client.llen(queue.processing), 0);
  };

  await t.test('in the middle of the inference stops within one window', async (t) => {
    let windows = 0;
    let windowsAtStop: number | undefined;
    const last = await run({ steps: 200 }, ({ stage }, claim) => {
      if (stage !== 'denoise') return;
      if (++windows === 4) {
        claim.cancelled.addEventListener('abort', () => (windowsAtStop = windows));
        void tasks.cancel(claim.taskId);
      }
    });
    t.match(last, { status: 'failed', code: 'TASK_CANCELLED', session_id: 's' });
    // Up to one more window per lane may have ended before the signal was seen.
    t.ok(windowsAtStop !== undefined && windows - windowsAtStop <= 2, `${windows} windows`);
    await leavesNothing(t);
    const next = await run({ framesNum: 2 });
    t.match(next, { status: 'completed' }, 'the device takes the next one');
    kept.add(next?.video_file_id as string);
  });

  await t.test('while it studies the picture, or before it begins', async (t) => {
    for (const stage of ['reference', 'audio'] as const) {
      let rendered = 0;
      const last = await run({ steps: 200 }, (progress, claim) => {
        if (progress.stage === 'denoise') rendered++;
        if (progress.stage === stage) void tasks.cancel(claim.taskId);
      });
      t.match(last, { status: 'failed', code: 'TASK_CANCELLED' });
      t.ok(rendered < 20, `${rendered} windows`);
    }
    const { taskId } = await tasks.submit({ sessionId: 's', refImageId, audioId });
    const claim = await takeAndClaim(queue);
    t.equal(await tasks.cancel(taskId), 'stopping');
    const device = watched(() => t.fail('nothing is rendered'));
    await runJob(claim, { ...context, engine: device });
    t.match(await tasks.result(taskId), { status: 'failed', code: 'TASK_CANCELLED' });
    await leavesNothing(t);
  });

  await t.test('after the upload: the video is deleted', async (t) => {
    let stored = 0;
    queue.before = async (claim) => {
      stored = (await files()).length;
      t.equal(await tasks.cancel(claim.taskId), 'stopping');
    };
    const last = await run({ framesNum: 2 });
    t.match(last, { status: 'failed', code: 'TASK_CANCELLED' });
    t.equal(stored, kept.size + 1, 'it was there');
    await leavesNothing(t);
  });

  await t.test('a cancellation that comes too late changes nothing', async (t) => {
    queue.before = async () => undefined;
    const last = await run({ framesNum: 2 });
    t.match(last, { status: 'completed' });
    t.equal(await tasks.cancel(last?.task_id as string), 'ended');
    t.ok((await files()).includes(last?.video_file_id as string));
    t.same(await tasks.result(last?.task_id as string), last);
  });
});

void t.test('a service', async (t) => {
  const service = await Service.start(t, await ownSettings(t));
  await service.stack.workersReady;
  const image = await service.upload(await picture(160, 160));
  const audio = await service.upload(tone(4));
  const push = (task_id: string, more: object = {}) =>
    service.push({
      ...{ task_id, session_id: 's', ref_image_id: image, audio_id: audio, steps: 1, cfg: 1 },
      ...more,
    });
  await push('long', { steps: 200 });
  await push('waits');
  await push('next', { frames_num: 2 });
  const rendering = () => service.of('long').some(({ message }) => /^step [1-9]/.test(message));
  await until(rendering, 'it renders', 60_000);
  for (const id of ['waits', 'long']) {
    await service.client.publish('task_control', JSON.stringify({ cancel: id }));
    t.match(await service.end(id), { status: 'failed', code: 'TASK_CANCELLED' });
  }
  const stopped = service.of('long').at(-1);
  t.ok(Number(stopped?.progress) > 5 && Number(stopped?.progress) < 92, 'as far as it came');
  t.match(await service.end('next'), { status: 'completed' });
  for (const id of ['long', 'waits']) {
    t.equal(service.of(id).filter(({ status }) => /comp|fail/.test(status)).length, 1, id);
  }
  const order = service.heard.filter(({ status }) => status === 'processing');
  t.same(
    order.map(({ task_id }) => task_id),
    ['long', 'next'],
    'the cancelled one was never begun',
  );
  await until(async () => (await service.client.get('gpu_status:0')) === 'idle', 'idle');
  const { stored, work } = await service.files();
  t.equal(stored.length, 3);
  t.same(work, []);
});

type Tap = Parameters<typeof temporaryFolder>[0];
