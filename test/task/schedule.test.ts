import t, { type Test } from 'tap';
import { createLog } from '../../src/log.js';
import { connectRedis } from '../../src/queue/redis.js';
import { Tasks } from '../../src/task/tasks.js';
import { type TaskUpdate, progressUpdate } from '../../src/queue/update.js';
import { startRedis, taskJson, until } from '../helpers/redis.js';
import { openTasks, openWorker, plainTask as one, takeAndClaim } from '../helpers/tasks.js';

const log = createLog('silent');

void t.test('scheduling', async (t) => {
  const redis = await startRedis(t);
  const { client } = redis;
  t.beforeEach(() => client.flushall());
  const queue = (gpu: number) => `task_queue_gpu_${gpu}`;
  const live = (...gpus: number[]) =>
    Promise.all(gpus.map((gpu) => client.set(`gpu_status:${gpu}`, 'idle', 'EX', 60)));
  const lengths = (...gpus: number[]) => Promise.all(gpus.map((gpu) => client.llen(queue(gpu))));
  const open = async (t: Test, settings: Record<string, string> = {}) =>
    (await openTasks(t, redis, settings)).tasks;

  await t.test('the least loaded live device is chosen, equal ones in turn', async (t) => {
    const tasks = await open(t);
    await live(0, 1, 3, 70);
    await client.zadd('task_gpus', Date.now(), '70', Date.now(), 'no number');
    await client.rpush(queue(0), taskJson('a'), taskJson('b'));
    const gpus: number[] = [];
    for (let i = 0; i < 7; i++) gpus.push((await tasks.submit(one)).gpuId);
    t.same(gpus, [1, 3, 70, 1, 3, 70, 0], 'what waits at 0 counts; 2 is not live');
    t.same(await lengths(0, 1, 2, 3, 70), [3, 2, 0, 2, 2]);
  });

  await t.test('what runs counts too, with or without our heartbeat', async (t) => {
    const tasks = await open(t);
    await live(0, 1, 2);
    await client.set('gpu_status:0', 'busy', 'EX', 60);
    const processing = `${queue(1)}:processing:w1`;
    await client.rpush(processing, taskJson('a'), taskJson('b'));
    await client.zadd('task_workers', Date.now(), processing);
    const gpus: number[] = [];
    for (let i = 0; i < 4; i++) gpus.push((await tasks.submit(one)).gpuId);
    t.same(gpus, [2, 0, 2, 0]);
  });

  await t.test('round robin goes by turns, whatever waits, and skips the dead', async (t) => {
    const tasks = await open(t, { TASK_STRATEGY: 'round_robin' });
    await live(0, 2, 5);
    await client.rpush(queue(2), taskJson('a'));
    const gpus: number[] = [];
    for (let i = 0; i < 4; i++) gpus.push((await tasks.submit(one)).gpuId);
    await client.del('gpu_status:2');
    for (let i = 0; i < 3; i++) gpus.push((await tasks.submit(one)).gpuId);
    t.same(gpus, [0, 2, 5, 0, 5, 0, 5]);
  });

  await t.test('200 at once from two servers are spread evenly', async (t) => {
    const servers = [await open(t), await open(t)];
    await live(0, 1, 2, 3);
    const all = await Promise.all(
      Array.from({ length: 200 }, (_, i) => (servers[i % 2] as Tasks).submit(one)),
    );
    t.same(await lengths(0, 1, 2, 3), [50, 50, 50, 50]);
    t.equal(new Set(all.map(({ taskId }) => taskId)).size, 200);
    for (const gpu of [0, 1, 2, 3]) {
      const mine = all.filter(({ gpuId }) => gpuId === gpu);
      t.same(
        mine.map(({ position }) => position).sort((a, b) => a - b),
        Array.from({ length: 50 }, (_, i) => i),
        'each has a place of its own',
      );
      const waiting = await client.lrange(queue(gpu), 0, -1);
      for (const { taskId, position } of mine) {
        t.match(JSON.parse(waiting[position] as string), {
          task_id: taskId,
          session_id: 'session',
        });
      }
    }
  });

  await t.test('the state is written with the task; a worker goes on from it', async (t) => {
    const tasks = await open(t);
    const heard = await redis.listen();
    const worker = await openWorker(t, redis, 4);
    const options = { steps: 2, cfg: 1.5, seed: 3, framesNum: 8 };
    const { taskId, gpuId, position } = await tasks.submit({ ...one, ...options });
    t.same([gpuId, position], [4, 0]);
    t.match(await client.hgetall(`task:${taskId}`), {
      ...{
        status: 'queued',
        queue: queue(4),
        gpu: '4',
        session_id: 'session',
        seq: '1',
        position: '0',
      },
      ...{ progress: '0', percentage: '0', message: 'the task runs next', updated_at: /^20/ },
    });
    t.ok((await client.ttl(`task:${taskId}`)) > 0);
    const claim = await takeAndClaim(worker);
    t.match(claim.entry.task, { steps: 2, cfg: 1.5, seed: 3, frames_num: 8 });
    await until(() => heard.length === 2, 'two messages');
    t.match(heard, [
      { task_id: taskId, session_id: 'session', status: 'queued', position: 0, seq: 1, attempt: 0 },
      { task_id: taskId, status: 'processing', seq: 2, attempt: 1 },
    ]);
    t.same(await tasks.result(taskId), heard[1]);
    t.equal(await tasks.result('nobody knows it'), undefined);
  });

  await t.test('without a worker it waits for one', async (t) => {
    const tasks = await open(t, { TASK_WORKER_WAIT_SECONDS: '20' });
    const submitted = tasks.submit(one);
    await until(
      async () =>
        Number(/evalsha:calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? 0) > 0,
      'it asks',
    );
    await live(9);
    t.match(await submitted, { gpuId: 9, position: 0 });
  });

  await t.test('in vain, aborted, invalid or stopped: nothing is left', async (t) => {
    const tasks = await open(t);
    await t.rejects(tasks.submit(one), { code: 'NO_WORKER_AVAILABLE' });
    const patient = await open(t, { TASK_WORKER_WAIT_SECONDS: '60' });
    const abort = new AbortController();
    const waiting = patient.submit(one, { signal: abort.signal });
    const stopped = patient.submit(one);
    abort.abort(new Error('the client has gone'));
    await t.rejects(waiting, { message: 'the client has gone' });
    patient.stop();
    await t.rejects(stopped, { code: 'SERVER_STOPPING' });
    t.same(await client.keys('*'), []);

    await live(0);
    await client.set('gpu_status:1', 'offline');
    await client.set('gpu_status:2', 'idle');
    await client.set(queue(2), 'this is no list');
    await client.rpush('gpu_status:3', 'this is no status');
    for (let i = 0; i < 3; i++) t.equal((await tasks.submit(one)).gpuId, 0);
    await t.rejects(tasks.submit({ ...one, steps: 0 }), { code: 'TASK_INVALID' });
    await t.rejects(tasks.submit({ ...one, audioId: '../x' }), { code: 'TASK_INVALID' });
    t.equal(await client.llen(queue(0)), 3);
  });

  await t.test('aborted while the answer is under way: the task is taken back', async (t) => {
    const tasks = await open(t);
    await live(0);
    for (let i = 0; i < 50; i++) {
      const abort = new AbortController();
      const submitted = tasks.submit(one, { signal: abort.signal });
      setImmediate(() => abort.abort(new Error('gone')));
      await submitted.catch(() => undefined);
      const taken = await submitted.then(
        ({ taskId }) => tasks.cancel(taskId),
        () => undefined,
      );
      t.ok(taken === undefined || taken === 'withdrawn');
    }
    await until(async () => (await client.llen(queue(0))) === 0, 'nothing waits');
  });

  await t.test('an id is used once at a time', async (t) => {
    const tasks = await open(t);
    await live(0);
    await tasks.submit({ ...one, taskId: 'mine' });
    await t.rejects(tasks.submit({ ...one, taskId: 'mine' }), { code: 'TASK_INVALID' });
    t.equal(await client.llen(queue(0)), 1);
    t.equal(await tasks.cancel('mine'), 'withdrawn');
    t.match(await tasks.submit({ ...one, taskId: 'mine' }), { taskId: 'mine', position: 0 });
    t.match(await client.hgetall('task:mine'), { status: 'queued', seq: '3' });
  });

  await t.test('the place in the queue is told whenever it changes', async (t) => {
    const tasks = await open(t);
    const other = await open(t);
    const worker = await openWorker(t, redis, 0);
    const ids: string[] = [];
    for (let i = 0; i < 4; i++) ids.push((await tasks.submit(one)).taskId);
    const told: TaskUpdate[] = [];
    const toldToo: TaskUpdate[] = [];
    tasks.watch(ids[3] as string, (update) => told.push(update));
    other.watch(ids[3] as string, (update) => toldToo.push(update));
    await until(() => told.length === 1, 'the first place');
    const first = await takeAndClaim(worker);
    await until(() => told.length === 2, 'the next place');
    await tasks.cancel(ids[1] as string);
    await until(() => told.length === 3, 'the place after that');
    await worker.complete(first, 'v');
    await takeAndClaim(worker);
    await until(() => told.length === 4, 'the last place');
    const expected = [3, 2, 1, 0].map((position, i) => ({
      status: 'queued',
      position,
      seq: i + 1,
    }));
    t.match(told, expected);
    t.same(
      told.map(({ message }) => message),
      [
        '3 tasks are before it',
        '2 tasks are before it',
        'one task is before it',
        'the task runs next',
      ],
    );
    await until(() => toldToo.length === 4, 'the other server');
    t.same(toldToo, told, 'two servers that watch do not tell it twice');
  });

  await t.test('a task that waits for a device that died goes to a live one', async (t) => {
    const tasks = await open(t);
    await live(0, 1);
    await client.rpush(queue(1), taskJson('x'), taskJson('y'), taskJson('z'));
    const { taskId, gpuId } = await tasks.submit(one);
    t.equal(gpuId, 0);
    const told: TaskUpdate[] = [];
    tasks.watch(taskId, (update) => told.push(update));
    await until(() => told.length === 1, 'its place');
    await client.del('gpu_status:0');
    await until(() => told.length === 2, 'its new place');
    t.match(told[1], { status: 'queued', position: 3 });
    t.same(await lengths(0, 1), [0, 4]);
    t.match(await client.hgetall(`task:${taskId}`), { queue: queue(1), gpu: '1' });
    await client.del('gpu_status:1');
    t.equal(await tasks.cancel(taskId), 'withdrawn');
  });

  await t.test('one that had begun goes to the head of the live one', async (t) => {
    const tasks = await open(t);
    const worker = await openWorker(t, redis);
    const { taskId } = await tasks.submit(one);
    const told: TaskUpdate[] = [];
    tasks.watch(taskId, (update) => told.push(update));
    const claim = await takeAndClaim(worker);
    await worker.report(claim, progressUpdate(claim.entry, 'inference', 40, 'x'));
    t.ok(await worker.handBack(claim));
    await worker.close();
    await until(() => told.at(-1)?.status === 'queued', 'it waits again');
    t.match(told.at(-1), { position: 0, progress: 40, attempt: 1 }, 'never backwards');
    await live(1);
    await client.rpush(queue(1), taskJson('x'), taskJson('y'));
    await until(async () => (await client.llen(queue(1))) === 3, 'it moves');
    t.match(JSON.parse((await client.lindex(queue(1), 0)) as string), { task_id: taskId });
    const next = await openWorker(t, redis, 1);
    t.equal((await takeAndClaim(next)).attempt, 2);
    await until(() => told.at(-1)?.attempt === 2, 'the second attempt');
  });

  await t.test('a stop before Redis was ever there', async (t) => {
    const config = redis.config({ REDIS_PORT: '1' });
    const [away, subscriber] = [connectRedis(config, log), connectRedis(config, log)];
    const tasks = new Tasks(away, subscriber, config, log);
    const started = tasks.start();
    tasks.watch('x', () => undefined);
    tasks.stop();
    away.disconnect();
    subscriber.disconnect();
    await t.resolves(started);
    t.equal(tasks.watched, 0);
  });

  await t.test('given up while Redis does not answer: taken back when it does', async (t) => {
    const tasks = await open(t);
    await live(0);
    await client.client('PAUSE', 60_000, 'WRITE');
    const abort = new AbortController();
    const submitted = tasks.submit({ ...one, taskId: 'late' }, { signal: abort.signal });
    abort.abort(new Error('gone'));
    await t.rejects(submitted, { message: 'gone' });
    await client.client('UNPAUSE');
    const code = () => client.hget('task:late', 'code');
    await until(async () => (await code()) === 'TASK_CANCELLED', 'it is taken back');
    t.equal(await client.llen(queue(0)), 0);
  });
});
