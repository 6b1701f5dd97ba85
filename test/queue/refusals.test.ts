import t from 'tap';
import { createLog } from '../../src/log.js';
import { Recovery } from '../../src/queue/recovery.js';
import { connectRedis } from '../../src/queue/redis.js';
import { progressUpdate } from '../../src/queue/update.js';
import { Reporter } from '../../worker/pipeline/reporter.js';
import { startRedis, taskJson, until } from '../helpers/redis.js';
import { openWorker, takeAndClaim } from '../helpers/tasks.js';

const log = createLog('silent');
const queueName = 'task_queue_gpu_0';

void t.test('what Redis refuses', async (t) => {
  const redis = await startRedis(t);
  const { client } = redis;
  const full = (bytes: number) => client.config('SET', 'maxmemory', bytes);
  t.beforeEach(() => client.flushall());

  await t.test('full, it takes nothing away; the work goes on when it is not', async (t) => {
    const worker = await openWorker(t, redis);
    await client.rpush(queueName, taskJson('a'), taskJson('b'));
    const claim = await takeAndClaim(worker);
    const reporter = new Reporter(worker, claim, () => t.fail('it is still ours'));
    const other = await openWorker(t, redis);
    await full(1);
    reporter.update('inference', 20, 'told later');
    const next = other.take();
    const done = worker.complete(claim, 'video');
    const refused = () =>
      client.info('errorstats').then((text) => Number(/errorstat_OOM:count=(\d+)/.exec(text)?.[1]));
    await until(async () => (await refused()) > 5, 'refusals');
    t.equal(await client.llen(worker.processing), 1, 'the task is still in its list');
    t.equal(await client.hget('task:a', 'status'), 'processing');
    await full(0);
    t.ok(await done);
    await reporter.close();
    t.equal(await client.hget('task:a', 'status'), 'completed');
    t.equal(await next, taskJson('b'));
  });

  await t.test('full, recovery loses nothing', async (t) => {
    const connection = connectRedis(redis.config(), log);
    t.teardown(() => connection.disconnect());
    const recovery = new Recovery(connection, redis.config(), log);
    const worker = await openWorker(t, redis);
    await client.rpush(queueName, taskJson('a'));
    await takeAndClaim(worker);
    worker.disconnect();
    await full(1);
    t.same(await recovery.workerDied(0, worker.worker), { requeued: 0, failed: 0 });
    t.equal(await client.llen(worker.processing), 1);
    await full(0);
    t.same(await recovery.workerDied(0, worker.worker), { requeued: 1, failed: 0 });
    t.same(await client.lrange(queueName, 0, -1), [taskJson('a')]);
  });

  await t.test('an entry that is no text is buried, and the next one runs', async (t) => {
    const heard = await redis.listen();
    const worker = await openWorker(t, redis);
    const raw = Buffer.concat([Buffer.from(taskJson('x').slice(0, -1)), Buffer.from([0xff, 0x7d])]);
    await client.rpush(queueName, raw, taskJson('a'));
    t.equal((await takeAndClaim(worker)).taskId, 'a');
    const dead = JSON.parse((await client.lindex(`${queueName}:dead`, 0)) as string) as object;
    t.match(dead, {
      ...{ code: 'TASK_MALFORMED', task_id: 'x', error: 'the task is not UTF-8' },
      ...{ worker: worker.worker, attempts: 0, incomplete: true },
    });
    await until(() => heard.length === 2, 'its failure, and the next');
    t.match(heard[0], { task_id: 'x', session_id: 'session', status: 'failed' });
  });

  await t.test('such an entry of a worker that died comes back', async (t) => {
    const connection = connectRedis(redis.config(), log);
    t.teardown(() => connection.disconnect());
    const recovery = new Recovery(connection, redis.config(), log);
    const raw = Buffer.from([0x7b, 0xff, 0x7d]);
    await client.rpush(`${queueName}:processing:gone`, raw);
    t.same(await recovery.workerDied(0, 'gone'), { requeued: 1, failed: 0 });
    t.same(await client.lrangeBuffer(queueName, 0, -1), [raw], 'byte for byte');
  });

  await t.test("a key of its state's name that is none: it is buried, the next runs", async (t) => {
    const worker = await openWorker(t, redis);
    await client.set('task:x', "somebody else's");
    await client.rpush(queueName, taskJson('x'), taskJson('a'));
    t.equal(await worker.claim((await worker.take()) as string), undefined);
    t.equal((await takeAndClaim(worker)).taskId, 'a');
    const dead = JSON.parse((await client.lindex(`${queueName}:dead`, 0)) as string) as object;
    t.match(dead, { task_id: 'x', code: 'INTERNAL', error: /WRONGTYPE/ });
    t.equal(await client.get('task:x'), "somebody else's");
  });

  await t.test('a report that it cannot take does not end the work', async (t) => {
    const worker = await openWorker(t, redis);
    await client.rpush(queueName, taskJson('a'));
    const claim = await takeAndClaim(worker);
    await client.del('task:a');
    await client.set('task:a', 'taken');
    await client.set('task_lease:a', claim.token);
    t.ok(await worker.report(claim, progressUpdate(claim.entry, 'inference', 1, 'x')));
  });

  await t.test('nor is it lost when its worker dies', async (t) => {
    const config = redis.config();
    const connection = connectRedis(config, log);
    t.teardown(() => connection.disconnect());
    await client.set('task:x', 'no state');
    await client.rpush(`${queueName}:processing:gone`, taskJson('x'), taskJson('a'));
    await new Recovery(connection, config, log).workerDied(0, 'gone');
    t.same(await client.lrange(queueName, 0, -1), [taskJson('x'), taskJson('a')]);
  });
});
