import t from 'tap';
import { createLog } from '../../src/log.js';
import { connectRedis } from '../../src/queue/redis.js';
import { Recovery } from '../../src/queue/recovery.js';
import { type Claim, WorkerQueue } from '../../src/queue/worker-queue.js';
import { progressUpdate } from '../../src/queue/update.js';
import { startRedis, taskJson, until } from '../helpers/redis.js';

const log = createLog('silent');
const queueName = 'task_queue_gpu_0';

void t.test('recovery', async (t) => {
  const redis = await startRedis(t);
  const config = redis.config({ TASK_LEASE_SECONDS: '1', TASK_MAX_ATTEMPTS: '2' });
  const connection = connectRedis(config, log);
  t.teardown(() => connection.disconnect());
  const recovery = new Recovery(connection, config, log);
  let number = 0;
  const crashAfterClaim = async (): Promise<{ queue: WorkerQueue; claim: Claim }> => {
    const queue = new WorkerQueue(config, 0, `w${number++}`, log);
    await queue.open();
    const claim = (await queue.claim((await queue.take()) as string)) as Claim;
    return { queue, claim };
  };
  const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const waiting = () => redis.client.lrange(queueName, 0, -1);
  t.beforeEach(() => redis.client.flushall());

  await t.test('two passes without a lease, and the task is at the head again', async (t) => {
    await redis.client.rpush(queueName, taskJson('a'), taskJson('b'));
    const { queue, claim } = await crashAfterClaim();
    queue.disconnect();
    t.same(await recovery.pass(), { requeued: 0, failed: 0 }, 'the lease lives');
    await sleep(1050);
    t.same(await recovery.pass(), { requeued: 0, failed: 0 }, 'the first pass only marks');
    t.same(await recovery.pass(), { requeued: 0, failed: 0 }, 'too soon');
    await sleep(recovery.graceMs + 20);
    t.same(await recovery.pass(), { requeued: 1, failed: 0 });
    t.same(await waiting(), [taskJson('a'), taskJson('b')]);

    const second = await crashAfterClaim();
    t.equal(second.claim.attempt, 2);
    t.not(second.claim.token, claim.token);
    second.queue.disconnect();
  });

  await t.test('a worker that wakes up late can neither report nor finish', async (t) => {
    await redis.client.rpush(queueName, taskJson('a'));
    const { queue, claim } = await crashAfterClaim();
    await sleep(1050);
    await recovery.pass();
    await sleep(recovery.graceMs + 20);
    await recovery.pass();
    t.notOk(await queue.renew(claim));
    t.notOk(await queue.report(claim, progressUpdate(claim.entry, 'inference', 9, 'late')));
    t.notOk(await queue.complete(claim, 'late-video'));
    const second = await crashAfterClaim();
    t.notOk(await queue.complete(claim, 'late-video'));
    t.ok(await second.queue.complete(second.claim, 'video-2'));
    t.equal(await redis.client.hget('task:a', 'video_file_id'), 'video-2');
    await queue.close();
    await second.queue.close();
  });

  await t.test('a renewed lease keeps recovery away', async (t) => {
    await redis.client.rpush(queueName, taskJson('a'));
    const { queue, claim } = await crashAfterClaim();
    for (let i = 0; i < 6; i++) {
      await sleep(300);
      t.ok(await queue.renew(claim));
      t.same(await recovery.pass(), { requeued: 0, failed: 0 });
    }
    await queue.complete(claim, 'v');
    await queue.close();
  });

  await t.test('a poison task fails once after its attempts and is buried', async (t) => {
    const heard = await redis.listen();
    await redis.client.rpush(queueName, taskJson('a'), taskJson('b'));
    for (let i = 0; i < 2; i++) {
      const { queue } = await crashAfterClaim();
      queue.disconnect();
      const outcome = await recovery.workerDied(0, queue.worker);
      t.same(outcome, i === 0 ? { requeued: 1, failed: 0 } : { requeued: 0, failed: 1 });
      t.equal(await redis.client.exists('gpu_status:0'), 0);
    }
    t.same(await waiting(), [taskJson('b')]);
    await until(() => heard.some(({ status }) => status === 'failed'), 'the failure');
    t.match(
      heard.filter(({ status }) => status === 'failed'),
      [{ task_id: 'a', session_id: 'session', code: 'TASK_ATTEMPTS_EXHAUSTED', attempt: 2 }],
    );
    t.equal(heard.filter(({ status }) => status === 'failed').length, 1);
    const dead = JSON.parse(
      (await redis.client.lindex(`${queueName}:dead`, 0)) as string,
    ) as object;
    t.match(dead, { task_id: 'a', code: 'TASK_ATTEMPTS_EXHAUSTED', raw: taskJson('a') });
    t.match(await redis.client.hgetall('task:a'), {
      status: 'failed',
      code: 'TASK_ATTEMPTS_EXHAUSTED',
    });
  });

  await t.test('hand-backs do not count as attempts', async (t) => {
    await redis.client.rpush(queueName, taskJson('a'));
    for (let i = 0; i < 3; i++) {
      const { queue, claim } = await crashAfterClaim();
      t.ok(await queue.handBack(claim));
      await queue.close();
    }
    const { queue } = await crashAfterClaim();
    queue.disconnect();
    t.same(await recovery.workerDied(0, queue.worker), { requeued: 1, failed: 0 });
  });

  await t.test('an entry taken but never claimed comes back', async (t) => {
    await redis.client.rpush(queueName, taskJson('a'), '{"broken');
    const queue = new WorkerQueue(config, 0, 'w-x', log);
    await queue.open();
    await queue.take();
    queue.disconnect();
    await recovery.pass();
    await sleep(recovery.graceMs + 20);
    t.same(await recovery.pass(), { requeued: 1, failed: 0 });
    t.same(await waiting(), [taskJson('a'), '{"broken']);
  });

  await t.test('it runs by itself', async (t) => {
    await redis.client.rpush(queueName, taskJson('a'));
    const { queue } = await crashAfterClaim();
    queue.disconnect();
    recovery.start();
    await until(async () => (await waiting()).length === 1, 'the task comes back');
    t.same(await waiting(), [taskJson('a')]);
    await recovery.stop();
  });
});
