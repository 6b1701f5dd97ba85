import t from 'tap';
import { CodedError } from '../../src/errors.js';
import { createLog } from '../../src/log.js';
import { type Claim, WorkerQueue } from '../../src/queue/worker-queue.js';
import { progressUpdate } from '../../src/queue/update.js';
import { startRedisProxy } from '../faults/redis-proxy.js';
import { startRedis, taskJson, until } from '../helpers/redis.js';

const log = createLog('silent');
const queueName = 'task_queue_gpu_0';

void t.test('the queue', async (t) => {
  const redis = await startRedis(t);
  const config = redis.config();
  const open = async (worker: string) => {
    const queue = new WorkerQueue(config, 0, worker, log);
    await queue.open();
    return queue;
  };
  const takeAndClaim = async (queue: WorkerQueue) =>
    (await queue.claim((await queue.take()) as string)) as Claim;
  t.beforeEach(() => redis.client.flushall());

  await t.test('first in, first out, and every word of a task is heard', async (t) => {
    const heard = await redis.listen();
    const queue = await open('w1');
    t.equal(await redis.client.get('gpu_status:0'), 'idle');
    t.ok((await redis.client.ttl('gpu_status:0')) > 0, 'the status does not outlive the worker');
    await redis.client.rpush(queueName, taskJson('a'), taskJson('b'));

    const a = await takeAndClaim(queue);
    t.equal(a.taskId, 'a');
    t.equal(a.attempt, 1);
    t.ok(await queue.report(a, progressUpdate(a.entry, 'inference', 33.333, 'step 2 of 6')));
    const state = await redis.client.hgetall('task:a');
    t.match(state, {
      status: 'inference',
      progress: '33.3',
      percentage: '33.3',
      attempts: '1',
      queue: queueName,
      worker: 'w1',
    });
    t.ok((await redis.client.ttl('task:a')) > 0);
    t.ok(await queue.complete(a, 'video-1'));
    t.ok(await queue.complete(a, 'video-1'), 'the same finish twice is one');
    t.notOk(await queue.report(a, progressUpdate(a.entry, 'inference', 50, 'late')));
    t.notOk(await queue.handBack(a));

    const b = await takeAndClaim(queue);
    t.equal(b.taskId, 'b');
    t.ok(await queue.fail(b, 5, new CodedError('TASK_FILE_NOT_FOUND', 'no such picture')));
    await until(() => heard.length === 5, 'five messages');
    t.match(heard, [
      {
        task_id: 'a',
        session_id: 'session',
        status: 'processing',
        progress: 0,
        seq: 1,
        attempt: 1,
      },
      { task_id: 'a', status: 'inference', progress: 33.3, percentage: 33.3, seq: 2 },
      { task_id: 'a', status: 'completed', progress: 100, video_file_id: 'video-1', seq: 3 },
      { task_id: 'b', status: 'processing', seq: 1 },
      { task_id: 'b', status: 'failed', error: 'no such picture', code: 'TASK_FILE_NOT_FOUND' },
    ]);
    const last = JSON.parse((await redis.client.hget('task:a', 'last')) as string) as object;
    t.same(last, heard[2], 'the state holds what the last message said');
    t.equal(await redis.client.llen(queue.processing), 0);
    t.equal(await redis.client.exists('task_lease:a', 'task_lease:b'), 0);
    await queue.close();
    t.equal(await redis.client.exists('gpu_status:0'), 0, 'a missing key means offline');
    t.equal(await redis.client.exists('task_workers'), 0);
  });

  await t.test('entries that name no task are buried with one message', async (t) => {
    const heard = await redis.listen();
    const queue = await open('w1');
    await redis.client.rpush(queueName, '{"oops', '[1]', taskJson('good'));
    t.equal(await queue.claim((await queue.take()) as string), undefined);
    t.equal(await queue.claim((await queue.take()) as string), undefined);
    t.equal((await takeAndClaim(queue)).taskId, 'good');
    await until(() => heard.length === 3, 'three messages');
    t.match(heard.slice(0, 2), [
      { task_id: '', status: 'failed', code: 'TASK_MALFORMED', error: String },
      { task_id: '', status: 'failed', code: 'TASK_MALFORMED', error: String },
    ]);
    const dead = await redis.client.lrange(`${queueName}:dead`, 0, -1);
    t.match(JSON.parse(dead[1] as string), { raw: '{"oops', code: 'TASK_MALFORMED' });
    queue.disconnect();
  });

  await t.test('one id, several entries', async (t) => {
    const heard = await redis.listen();
    const queue = await open('w1');
    const other = await open('w2');
    await redis.client.rpush(queueName, taskJson('a'), taskJson('a'));
    const first = await takeAndClaim(queue);
    t.equal(await other.claim((await other.take()) as string), undefined, 'a copy is dropped');
    t.equal(await redis.client.llen(other.processing), 0);
    await queue.complete(first, 'video-1');

    await redis.client.rpush(queueName, taskJson('a'));
    t.equal(await queue.claim((await queue.take()) as string), undefined, 'done means done');
    await until(() => heard.length === 3, 'three messages');
    t.same(heard[2], heard[1], 'who asked again is told again');

    await redis.client.rpush(queueName, taskJson('a', { seed: 2 }));
    const again = await takeAndClaim(queue);
    t.equal(again.attempt, 1, 'another task under an old id starts anew');
    t.equal(await redis.client.hget('task:a', 'video_file_id'), null);
    await until(() => heard.length === 4, 'four messages');
    t.equal(heard[3]?.seq, 3, 'the numbers of its messages go on');
    queue.disconnect();
    other.disconnect();
  });

  await t.test('what a worker could not end it takes up again', async (t) => {
    const queue = await open('w1');
    await redis.client.rpush(queueName, taskJson('a'));
    const first = await takeAndClaim(queue);
    const second = await takeAndClaim(queue);
    t.equal(second.attempt, 2);
    t.notOk(await queue.complete(first, 'v1'));
    t.ok(await queue.complete(second, 'v2'));
    await queue.close();
  });

  await t.test('hand back and close put tasks at the head', async (t) => {
    const queue = await open('w1');
    await redis.client.rpush(queueName, taskJson('a'), taskJson('b'), taskJson('c'));
    const a = await takeAndClaim(queue);
    t.ok(await queue.handBack(a));
    t.notOk(await queue.report(a, progressUpdate(a.entry, 'inference', 1, 'late')));
    await queue.take();
    await queue.close();
    const ids = (await redis.client.lrange(queueName, 0, -1)).map(
      (raw) => (JSON.parse(raw) as { task_id: string }).task_id,
    );
    t.same(ids, ['a', 'b', 'c']);
    t.equal(await redis.client.hget('task:a', 'handed_back'), '1');
  });

  await t.test('a waiting take ends at once when the worker stops', async (t) => {
    const queue = await open('w1');
    const taking = queue.take();
    await until(
      async () => String(await redis.client.client('LIST')).includes('cmd=blmove'),
      'the worker waits',
    );
    const start = Date.now();
    await queue.stopTaking();
    t.equal(await taking, undefined);
    t.ok(Date.now() - start < 2000);
    await queue.close();
  });

  await t.test('Redis away and back: a lease that ran out still counts', async (t) => {
    const queue = await open('w1');
    await redis.client.rpush(queueName, taskJson('a'));
    const a = await takeAndClaim(queue);
    const pid = redis.server.pid as number;
    process.kill(pid, 'SIGKILL');
    const renewed = queue.renew(a);
    await until(() => redis.server.pid !== pid, 'Redis comes back');
    t.ok(await renewed);
    await redis.client.del('task_lease:a');
    t.ok(await queue.renew(a), 'nobody recovered it: it is still ours');
    t.ok(await queue.complete(a, 'video-1'));
    t.equal(await redis.client.hget('task:a', 'status'), 'completed');
    await queue.close();
  });
});

void t.test('lines to Redis that carry nothing any more are made anew', async (t) => {
  const redis = await startRedis(t);
  const nothing = () => undefined;
  const proxy = await startRedisProxy(t, redis.server.port, { request: nothing, answer: nothing });
  const config = redis.config({ REDIS_PORT: String(proxy.port), TASK_LEASE_SECONDS: '1' });
  const queue = new WorkerQueue(config, 0, 'w', log);
  t.teardown(() => queue.disconnect());
  await queue.open();
  await redis.client.rpush(queueName, taskJson('a'));
  const claim = (await queue.claim((await queue.take()) as string)) as Claim;
  proxy.silence();
  const taken = (async () => {
    await queue.complete(claim, 'video');
    return queue.take();
  })();
  await until(async () => (await redis.client.hget('task:a', 'status')) === 'completed', 'its end');
  proxy.silence();
  await redis.client.rpush(queueName, taskJson('b'));
  t.equal(await taken, taskJson('b'));
});
