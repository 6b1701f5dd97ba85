import t from 'tap';
import { ownerOf } from '../../src/limit/rates.js';
import { openTasks, openWorker, plainTask, takeAndClaim } from '../helpers/tasks.js';
import { startRedis } from '../helpers/redis.js';

void t.test(
  'a full queue takes no more of ours; whoever pushes himself is not asked',
  async (t) => {
    const redis = await startRedis(t);
    await openWorker(t, redis, 0);
    await openWorker(t, redis, 1);
    const { tasks } = await openTasks(t, redis, { TASK_QUEUE_LIMIT: '2' });
    const waiting = () =>
      Promise.all([0, 1].map((gpu) => redis.client.llen(`task_queue_gpu_${gpu}`)));
    for (let i = 0; i < 4; i++) await tasks.submit(plainTask);
    t.same(await waiting(), [2, 2], 'the limit is that of each queue');
    await t.rejects(tasks.submit({ ...plainTask, taskId: 'one-more' }), {
      code: 'TASK_QUEUE_FULL',
      status: 503,
      retryAfterSeconds: 30,
    });
    t.same(await waiting(), [2, 2]);
    t.equal(await redis.client.exists('task:one-more'), 0, 'nothing is left of it');
    await redis.client.rpush('task_queue_gpu_0', '{"task_id":"theirs"}');
    t.same(await waiting(), [3, 2]);
    await redis.client.lpop('task_queue_gpu_1');
    t.match(await tasks.submit(plainTask), { gpuId: 1 });
  },
);

void t.test('a user has so many tasks at a time, an address ten times as many', async (t) => {
  const redis = await startRedis(t);
  const worker = await openWorker(t, redis);
  const { tasks } = await openTasks(t, redis, { TASKS_PER_USER: '2' });
  const other = await openTasks(t, redis, { TASKS_PER_USER: '2' });
  const ann = { ...plainTask, owner: ownerOf({ id: 'ann' }, '192.0.2.1') };
  const bob = { ...plainTask, owner: ownerOf({ id: 'bob' }, '192.0.2.1') };
  const address = { ...plainTask, owner: ownerOf(undefined, '192.0.2.1') };
  await tasks.submit(ann);
  const second = await other.tasks.submit(ann);
  await t.rejects(tasks.submit(ann), { code: 'TOO_MANY_TASKS', status: 429 });
  await t.rejects(other.tasks.submit(ann), { code: 'TOO_MANY_TASKS' });
  await tasks.submit(bob);
  for (let i = 0; i < 20; i++) await tasks.submit(address);
  await t.rejects(tasks.submit(address), { code: 'TOO_MANY_TASKS' });

  await worker.complete(await takeAndClaim(worker), '550e8400-e29b-41d4-a716-446655440000');
  await tasks.submit(ann);
  await t.rejects(tasks.submit(ann), { code: 'TOO_MANY_TASKS' });
  await tasks.cancel(second.taskId);
  await tasks.submit(ann);
});
