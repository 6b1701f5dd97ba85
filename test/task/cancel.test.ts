import t from 'tap';
import { CodedError } from '../../src/errors.js';
import { createLog } from '../../src/log.js';
import { connectRedis } from '../../src/queue/redis.js';
import { Recovery } from '../../src/queue/recovery.js';
import { progressUpdate, type TaskUpdate } from '../../src/queue/update.js';
import { startRedis, taskJson, until } from '../helpers/redis.js';
import { openTasks, openWorker, plainTask, takeAndClaim } from '../helpers/tasks.js';

const queueName = 'task_queue_gpu_0';
const cancelled = { status: 'failed', code: 'TASK_CANCELLED', error: 'the task was cancelled' };

void t.test('cancel', async (t) => {
  const redis = await startRedis(t);
  const { client } = redis;
  const log = createLog('silent');
  const config = redis.config({ TASK_LEASE_SECONDS: '1' });
  const connection = connectRedis(config, log);
  t.teardown(() => connection.disconnect());
  const recovery = new Recovery(connection, config, log);
  const ends = (heard: readonly TaskUpdate[], taskId: string) =>
    heard.filter(({ task_id, status }) => task_id === taskId && /completed|failed/.test(status));
  /** Until everything that was published before has been heard. */
  const hearAll = async (heard: readonly TaskUpdate[]) => {
    await client.publish('task_progress', '{"task_id":"last"}');
    await until(() => heard.at(-1)?.task_id === 'last', 'every message');
  };
  const left = async () => [
    ...(await client.keys('task_lease:*')),
    ...(await client.keys('task_queue_gpu_*')),
  ];
  t.beforeEach(() => client.flushall());

  await t.test('a waiting task, whoever pushed it and wherever', async (t) => {
    const { tasks } = await openTasks(t, redis);
    const heard = await redis.listen();
    await client.set('gpu_status:7', 'idle', 'EX', 60);
    const { taskId } = await tasks.submit(plainTask);
    t.equal(await tasks.cancel(taskId), 'withdrawn');
    t.equal(await tasks.cancel(taskId), 'ended');
    // As other languages write it; several times; before what is not readable at all.
    const python = String.raw`{"session_id": "\u4f60", "task_id": "\u4efb\u52a1 \"1\"", "audio_id": 1}`;
    await client.rpush(queueName, python, taskJson('two'), '{"oops', taskJson('two'), '[7]');
    await client.rpush('task_queue_gpu_33', taskJson('two', { seed: 1 }), taskJson('three'));
    await client.rpush(queueName, '{"task_id" : "cut", "session_id":"s", ');
    for (const id of ['任务 "1"', 'two', 'cut']) t.equal(await tasks.cancel(id), 'withdrawn', id);
    t.same(await client.lrange(queueName, 0, -1), ['{"oops', '[7]']);
    t.same(await client.lrange('task_queue_gpu_33', 0, -1), [taskJson('three')]);
    t.equal(await tasks.cancel('nobody knows it'), 'unknown');
    t.equal(await tasks.cancel(''), 'unknown');
    await hearAll(heard);
    const whose = { session_id: 'session', progress: 0, percentage: 0 };
    t.match(ends(heard, taskId), [{ ...cancelled, ...whose, seq: 2, timestamp: /^20/ }]);
    t.match(ends(heard, '任务 "1"'), [{ ...cancelled, session_id: '你', seq: 1 }]);
    t.match(ends(heard, 'two'), [{ ...cancelled, ...whose }]);
    t.match(ends(heard, 'cut'), [{ ...cancelled, session_id: 's' }]);
    t.match(await client.hgetall('task:two'), { ...cancelled, session_id: 'session', seq: '1' });
    t.ok((await client.ttl('task:two')) > 0);
  });

  await t.test('one that runs: its worker is told, and ends it once', async (t) => {
    const { tasks } = await openTasks(t, redis);
    const heard = await redis.listen();
    const worker = await openWorker(t, redis);
    await client.rpush(queueName, taskJson('a'));
    const claim = await takeAndClaim(worker);
    await worker.report(claim, progressUpdate(claim.entry, 'inference', 33.3, 'x'));
    t.equal(await tasks.cancel('a'), 'stopping');
    t.equal(await tasks.cancel('a'), 'stopping', 'asking twice is no different');
    await until(() => claim.cancelled.aborted, 'the worker hears of it');
    t.match(claim.cancelled.reason, { code: 'TASK_CANCELLED' });
    t.ok(await worker.report(claim, progressUpdate(claim.entry, 'inference', 50, 'stale')));
    t.notOk(await worker.complete(claim, 'video'), 'it cannot be completed any more');
    t.ok(await worker.fail(claim, 33.3, claim.cancelled.reason as CodedError));
    t.ok(await worker.fail(claim, 33.3, claim.cancelled.reason as CodedError));
    t.equal(await tasks.cancel('a'), 'ended');
    await hearAll(heard);
    t.same(
      heard.map(({ status }) => status),
      ['processing', 'inference', 'failed', undefined],
    );
    t.match(ends(heard, 'a'), [{ ...cancelled, progress: 33.3, session_id: 'session' }]);
    t.same(await left(), []);

    await client.rpush(queueName, taskJson('a'));
    const again = await takeAndClaim(worker);
    t.equal(again.attempt, 1, 'the same id may be used anew');
    t.notOk(again.cancelled.aborted);
    t.ok(await worker.complete(again, 'video'));
  });

  await t.test('no message arrives: renewals, reports and the end learn of it', async (t) => {
    const { tasks } = await openTasks(t, redis);
    const worker = await openWorker(t, redis);
    const verbs = {
      renew: (claim: Claim) => worker.renew(claim),
      report: (claim: Claim) =>
        worker.report(claim, progressUpdate(claim.entry, 'inference', 1, 'x')),
      complete: async (claim: Claim) => !(await worker.complete(claim, 'video')),
    };
    for (const [name, verb] of Object.entries(verbs)) {
      const id = `deaf ${name}`;
      await client.rpush(queueName, taskJson(id));
      const claim = await takeAndClaim(worker);
      // The flag alone, as a worker sees it that missed the message.
      await client.hset(`task:${id}`, 'cancelled', '1');
      t.notOk(claim.cancelled.aborted);
      t.ok(await verb(claim), 'it is still ours to end');
      t.ok(claim.cancelled.aborted, name);
      t.ok(await worker.fail(claim, 0, new CodedError('IMAGE_UNREADABLE', 'broken by the stop')));
      t.match(await tasks.result(id), cancelled, 'it ends as cancelled, whatever broke');
    }
  });

  await t.test('taken, but not claimed: the worker finds it gone', async (t) => {
    const { tasks } = await openTasks(t, redis);
    const worker = await openWorker(t, redis);
    await client.rpush(queueName, taskJson('a'));
    const raw = (await worker.take()) as string;
    t.equal(await tasks.cancel('a'), 'withdrawn');
    t.equal(await worker.claim(raw), undefined);
    t.match(await tasks.result('a'), cancelled);
    t.same(await left(), []);
  });

  await t.test('a copy of a running task does not run after it', async (t) => {
    const { tasks } = await openTasks(t, redis);
    const worker = await openWorker(t, redis);
    const other = await openWorker(t, redis);
    await client.rpush(queueName, taskJson('a'), taskJson('a'), taskJson('a', { seed: 5 }));
    const claim = await takeAndClaim(worker);
    const copy = (await other.take()) as string;
    t.equal(await tasks.cancel('a'), 'stopping');
    t.equal(await client.llen(queueName), 0);
    t.equal(await other.claim(copy), undefined);
    await worker.fail(claim, 0, new CodedError('TASK_CANCELLED', 'the task was cancelled'));
    t.same(await left(), []);
  });

  await t.test('its worker is dead: recovery ends it', async (t) => {
    const { tasks } = await openTasks(t, redis, { TASK_LEASE_SECONDS: '1' });
    const heard = await redis.listen();
    const crash = async (id: string) => {
      const worker = await openWorker(t, redis, 0, { TASK_LEASE_SECONDS: '1' });
      await client.rpush(queueName, taskJson(id));
      await takeAndClaim(worker);
      worker.disconnect();
      return worker.worker;
    };
    const dead = await crash('known to be dead');
    t.equal(await tasks.cancel('known to be dead'), 'stopping');
    await recovery.workerDied(0, dead);
    await crash('silent');
    t.equal(await tasks.cancel('silent'), 'stopping');
    await until(async () => {
      await recovery.pass();
      return (await tasks.result('silent'))?.status === 'failed';
    }, 'the recovery');
    const back = await crash('requeued');
    await recovery.workerDied(0, back);
    t.equal(await client.llen(queueName), 1);
    t.equal(await tasks.cancel('requeued'), 'withdrawn');
    await hearAll(heard);
    for (const id of ['known to be dead', 'silent', 'requeued']) {
      t.match(ends(heard, id), [{ ...cancelled, session_id: 'session', attempt: 1 }], id);
    }
    t.same(await left(), []);
  });

  await t.test('at the end of its worker it ends instead of going back', async (t) => {
    const { tasks } = await openTasks(t, redis);
    const worker = await openWorker(t, redis);
    const heard = await redis.listen();
    await client.rpush(queueName, taskJson('a'));
    const claim = await takeAndClaim(worker);
    await tasks.cancel('a');
    t.notOk(await worker.handBack(claim));
    await client.rpush(queueName, taskJson('b'));
    const handed = await takeAndClaim(worker);
    t.ok(await worker.handBack(handed));
    t.equal(await tasks.cancel('b'), 'withdrawn');
    await until(() => ends(heard, 'b').length > 0, 'the end');
    t.match([...ends(heard, 'a'), ...ends(heard, 'b')], [cancelled, cancelled]);
    t.same(await left(), []);
  });

  await t.test('an entry that vanished with its worker does not go on for ever', async (t) => {
    const { tasks } = await openTasks(t, redis);
    await client.set('gpu_status:0', 'idle', 'EX', 60);
    const { taskId } = await tasks.submit(plainTask);
    await client.lpop(queueName);
    t.equal(await tasks.cancel(taskId), 'withdrawn');
    t.match(await tasks.result(taskId), cancelled);
  });

  await t.test('cancel against completion: one of the two, never both', async (t) => {
    const { tasks } = await openTasks(t, redis);
    const heard = await redis.listen();
    const worker = await openWorker(t, redis);
    const counts = { completed: 0, cancelled: 0 };
    for (let i = 0; i < 300; i++) {
      const id = `race ${i}`;
      await client.rpush(queueName, taskJson(id));
      const claim = await takeAndClaim(worker);
      const order = [() => worker.complete(claim, 'video'), () => tasks.cancel(id)] as const;
      const [isCompleted, outcome] =
        i % 2 === 0
          ? await Promise.all([order[0](), order[1]()])
          : ((await Promise.all([order[1](), order[0]()])).reverse() as [boolean, string]);
      if (isCompleted) {
        counts.completed++;
        if (outcome !== 'ended') t.fail(`${id} was completed, but ${outcome}`);
      } else {
        counts.cancelled++;
        if (outcome !== 'stopping') t.fail(`${id} was not completed, but ${outcome}`);
        await worker.fail(claim, 0, claim.cancelled.reason as CodedError);
      }
    }
    await hearAll(heard);
    for (let i = 0; i < 300; i++) {
      if (ends(heard, `race ${i}`).length !== 1) t.fail(`race ${i} did not end exactly once`);
    }
    const completed = heard.filter(({ status }) => status === 'completed').length;
    t.equal(completed, counts.completed);
    t.ok(counts.completed > 0 && counts.cancelled > 0, JSON.stringify(counts));
  });

  await t.test('cancel against taking, claiming and recovery: every task ends once', async (t) => {
    const { tasks } = await openTasks(t, redis);
    const heard = await redis.listen();
    const worker = await openWorker(t, redis);
    await client.set('gpu_status:0', 'idle', 'EX', 600);
    const count = 300;
    const serving = (async () => {
      for (let raw = await worker.take(); raw !== undefined; raw = await worker.take()) {
        const claim = await worker.claim(raw);
        if (claim === undefined) continue;
        const isDone = await worker.complete(claim, 'video');
        if (!isDone) await worker.fail(claim, 0, claim.cancelled.reason as CodedError);
      }
    })();
    const ids: string[] = [];
    await Promise.all(
      Array.from({ length: count }, async (_, i) => {
        const { taskId } = await tasks.submit(plainTask);
        ids.push(taskId);
        for (let hop = 0; hop < i % 7; hop++) await new Promise(setImmediate);
        const outcomes = await Promise.all([tasks.cancel(taskId), tasks.cancel(taskId)]);
        if (outcomes.includes('unknown')) t.fail('a task of ours is known');
      }),
    );
    await until(
      () => heard.filter(({ status }) => /comp|fail/.test(status)).length === count,
      'all',
    );
    await worker.stopTaking();
    await serving;
    for (const id of ids) {
      if (ends(heard, id).length !== 1) t.fail(`${id} ended ${ends(heard, id).length} times`);
    }
    t.equal(ids.length, count);
    t.same(await left(), []);
  });

  await t.test('clients of Redis cancel by a message; anything else is not heard', async (t) => {
    await openTasks(t, redis);
    const worker = await openWorker(t, redis);
    const heard = await redis.listen();
    await client.rpush(queueName, taskJson('runs'), taskJson('waits'));
    const claim = await takeAndClaim(worker);
    const noise = ['', '{', '[]', 'null', '7', '{"cancel":7}', '{"cancel":""}', '{"stop":"runs"}'];
    noise.push('{"stop":"runs","token":"wrong"}', JSON.stringify({ cancel: 'x'.repeat(70_000) }));
    for (const text of noise) await client.publish('task_control', text);
    await client.publish('task_control', '{"cancel":"waits"}');
    await until(() => ends(heard, 'waits').length > 0, 'the waiting one');
    t.notOk(claim.cancelled.aborted);
    await client.publish('task_control', '{"cancel":"runs"}');
    await until(() => claim.cancelled.aborted, 'the running one');
    await worker.fail(claim, 0, claim.cancelled.reason as CodedError);
    await until(() => ends(heard, 'runs').length > 0, 'its end');
    t.match([...ends(heard, 'waits'), ...ends(heard, 'runs')], [cancelled, cancelled]);
  });

  await t.test('without a server, workers hear the wish alone', async (t) => {
    const worker = await openWorker(t, redis);
    const heard = await redis.listen();
    await client.rpush(queueName, taskJson('runs'), taskJson('waits'));
    const claim = await takeAndClaim(worker);
    await client.publish('task_control', '{"cancel":"waits"}');
    await client.publish('task_control', '{"cancel":"runs"}');
    await until(() => claim.cancelled.aborted, 'the running one');
    await until(() => ends(heard, 'waits').length > 0, 'the waiting one');
    t.match(ends(heard, 'waits'), [cancelled]);
  });

  await t.test('data of others under our names does not stop a cancellation', async (t) => {
    const { tasks } = await openTasks(t, redis);
    await client.set(queueName, 'no list');
    await client.zadd('task_workers', 1, 'nonsense', 1, 'x:processing:y');
    await client.set('x:processing:y', 'no list either');
    await client.rpush(
      'task_queue_gpu_1',
      '{"task_id":null}',
      '{"task_id":{}}',
      '""',
      taskJson('a'),
    );
    t.equal(await tasks.cancel('a'), 'withdrawn');
    t.equal(await client.llen('task_queue_gpu_1'), 3);
  });
});

type Claim = Awaited<ReturnType<typeof takeAndClaim>>;
