import t from 'tap';
import { createLog } from '../../src/log.js';
import { type Claim, WorkerQueue } from '../../src/queue/worker-queue.js';
import { keepLease } from '../../worker/pipeline/lease.js';
import { Reporter } from '../../worker/pipeline/reporter.js';
import { startRedis, taskJson, until } from '../helpers/redis.js';

const log = createLog('silent');

void t.test('reports and leases', async (t) => {
  const redis = await startRedis(t);
  const config = redis.config({ TASK_LEASE_SECONDS: '1' });
  const queue = new WorkerQueue(config, 0, 'w1', log);
  await queue.open();
  t.teardown(() => queue.disconnect());
  const claimed = async (id: string) => {
    await redis.client.rpush('task_queue_gpu_0', taskJson(id));
    return (await queue.claim((await queue.take()) as string)) as Claim;
  };

  await t.test('every stage, few messages, never backwards, the last word counts', async (t) => {
    const heard = await redis.listen();
    const claim = await claimed('a');
    const reporter = new Reporter(queue, claim, () => t.fail('lost'));
    reporter.update('downloading', 0, 'x');
    reporter.update('face_detecting', 5, 'x');
    for (let i = 0; i <= 1000; i++) reporter.update('inference', 10 + i * 0.08, `${i}`);
    reporter.update('inference', 20, 'backwards');
    reporter.update('merging_audio', 92, 'x');
    t.equal(reporter.progress, 92);
    await reporter.close();
    reporter.update('merging_audio', 99, 'too late');
    await queue.complete(claim, 'v');
    await until(() => heard.at(-1)?.status === 'completed', 'the end');
    t.same(
      heard.map(({ status, progress }) => [status, progress]),
      [
        ['processing', 0],
        ['downloading', 0],
        ['face_detecting', 5],
        ['inference', 90],
        ['merging_audio', 92],
        ['completed', 100],
      ],
    );
  });

  await t.test('a report on a lost task stops the work', async (t) => {
    const claim = await claimed('b');
    let lost = 0;
    const reporter = new Reporter(queue, claim, () => lost++);
    await redis.client.set('task_lease:b', 'another:token');
    reporter.update('inference', 50, 'x');
    reporter.update('merging_audio', 60, 'x');
    await until(() => lost > 0, 'the loss');
    await reporter.close();
    t.equal(lost, 1);
    await redis.client.del('task_lease:b');
    await queue.complete(claim, 'v');
  });

  await t.test('a lease is kept for as long as wanted, and its loss is told once', async (t) => {
    const claim = await claimed('c');
    let lost = 0;
    const lease = keepLease(queue, claim, 1000, log, () => lost++);
    await new Promise((resolve) => setTimeout(resolve, 1600));
    t.equal(await redis.client.get('task_lease:c'), claim.token);
    t.equal(lost, 0);
    await redis.client.set('task_lease:c', 'another:token');
    await until(() => lost > 0, 'the loss');
    await new Promise((resolve) => setTimeout(resolve, 700));
    t.equal(lost, 1);
    lease.stop();
  });
});
