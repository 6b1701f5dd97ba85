import t, { type Test } from 'tap';
import { CodedError } from '../../src/errors.js';
import { keys } from '../../src/queue/keys.js';
import type { Tasks } from '../../src/task/tasks.js';
import { type TaskUpdate, progressUpdate } from '../../src/queue/update.js';
import { startRedis, taskJson, until } from '../helpers/redis.js';
import { openTasks, openWorker, plainTask, takeAndClaim } from '../helpers/tasks.js';

void t.test('watch', async (t) => {
  const redis = await startRedis(t);
  const { client } = redis;
  t.beforeEach(() => client.flushall());
  const watch = (tasks: Tasks, taskId: string, fromSeq?: number) => {
    const told: TaskUpdate[] = [];
    return { told, unwatch: tasks.watch(taskId, (update) => told.push(update), fromSeq) };
  };
  const isOver = (told: readonly TaskUpdate[]) =>
    /completed|failed/.test(told.at(-1)?.status ?? '');
  const rises = (t: Test, told: readonly TaskUpdate[]) =>
    t.ok(
      told.every(({ seq }, i) => i === 0 || Number(seq) > Number(told[i - 1]?.seq)),
      'rising numbers, none twice',
    );
  const start = async (t: Test, taskId: string) => {
    const worker = await openWorker(t, redis);
    await client.rpush('task_queue_gpu_0', taskJson(taskId));
    const claim = await takeAndClaim(worker);
    return {
      worker,
      claim,
      report: (progress: number) =>
        worker.report(claim, progressUpdate(claim.entry, 'inference', progress, 'x')),
    };
  };

  await t.test('every word of a task, once, from its submission to its end', async (t) => {
    const { tasks } = await openTasks(t, redis);
    const worker = await openWorker(t, redis);
    const early = watch(tasks, 'mine');
    await tasks.submit({ ...plainTask, taskId: 'mine' });
    const { told } = watch(tasks, 'mine');
    const claim = await takeAndClaim(worker);
    for (let i = 0; i < 50; i++) {
      await worker.report(claim, progressUpdate(claim.entry, 'inference', i, `${i}`));
    }
    await worker.complete(claim, 'video');
    await until(() => isOver(told) && isOver(early.told), 'the end');
    t.same(
      early.told.map(({ seq }) => seq),
      Array.from({ length: 53 }, (_, i) => i + 1),
    );
    t.match(early.told[0], { status: 'queued', position: 0 });
    t.match(told.at(-1), { status: 'completed', video_file_id: 'video', session_id: 'session' });
    rises(t, told);
    t.equal(tasks.watched, 0, 'nobody watches what is over');
  });

  await t.test('a subscriber that is cut off in a burst misses nothing that counts', async (t) => {
    const { tasks } = await openTasks(t, redis);
    for (let round = 0; round < 5; round++) {
      const { worker, claim, report } = await start(t, `burst ${round}`);
      const { told } = watch(tasks, `burst ${round}`);
      for (let i = 0; i < 300; i++) {
        if (i % 60 === 30) await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
        await report(i / 4);
      }
      if (round % 2 === 0) await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await worker.complete(claim, `video ${round}`);
      await until(() => isOver(told), 'the end');
      rises(t, told);
      t.match(told.at(-1), { status: 'completed', video_file_id: `video ${round}`, seq: 302 });
      t.equal(told.filter(({ status }) => status === 'completed').length, 1);
      await worker.close();
    }
  });

  await t.test('without any message at all the end is certain', async (t) => {
    const { tasks, subscriber } = await openTasks(t, redis);
    const { worker, claim, report } = await start(t, 'deaf');
    subscriber.disconnect();
    const { told } = watch(tasks, 'deaf');
    await until(() => told.length === 1, 'the state of now');
    await report(40);
    await until(() => told.length === 2, 'a later state');
    await worker.fail(claim, 40, new CodedError('IMAGE_UNREADABLE', 'broken'));
    await until(() => isOver(told), 'the end');
    rises(t, told);
    t.match(told.at(-1), { status: 'failed', code: 'IMAGE_UNREADABLE', error: 'broken' });
  });

  await t.test('who comes late is told the last state at once, and only news', async (t) => {
    const { tasks } = await openTasks(t, redis);
    const { worker, claim, report } = await start(t, 'late');
    await report(40);
    const middle = watch(tasks, 'late');
    const knows = watch(tasks, 'late', 2);
    await until(() => middle.told.length === 1, 'the state of now');
    t.match(middle.told[0], { status: 'inference', progress: 40, seq: 2 });
    await worker.complete(claim, 'video');
    await until(() => isOver(middle.told) && isOver(knows.told), 'the end');
    t.same(
      knows.told.map(({ seq }) => seq),
      [3],
      'what was known is not told again',
    );
    const after = watch(tasks, 'late', 2);
    const afterAll = watch(tasks, 'late', 3);
    await until(() => isOver(after.told), 'the end, told after it');
    await until(() => tasks.watched === 0, 'nobody waits for more');
    t.same(afterAll.told, []);
  });

  await t.test('another process goes on where one stopped', async (t) => {
    const first = await openTasks(t, redis);
    const { worker, claim, report } = await start(t, 'moved');
    const before = watch(first.tasks, 'moved');
    await report(10);
    await until(() => before.told.length === 2, 'two messages');
    first.tasks.stop();
    await report(20);
    const second = await openTasks(t, redis);
    const { told } = watch(second.tasks, 'moved', before.told.at(-1)?.seq);
    await report(30);
    await worker.complete(claim, 'video');
    await until(() => isOver(told), 'the end');
    rises(t, [...before.told, ...told]);
    t.equal(before.told.length, 2, 'the stopped one is silent');
  });

  await t.test('Redis itself comes back: the end is told', async (t) => {
    const { tasks } = await openTasks(t, redis);
    const { worker, claim, report } = await start(t, 'outage');
    const { told } = watch(tasks, 'outage');
    await report(10);
    const pid = redis.server.pid as number;
    process.kill(pid, 'SIGKILL');
    const completed = worker.complete(claim, 'video');
    await until(() => redis.server.pid !== pid, 'Redis comes back');
    t.ok(await completed);
    await until(() => isOver(told), 'the end');
    // Redis may have lost what it wrote last, and then counts from there again.
    rises(t, told.slice(0, -1));
    t.equal(told.filter(({ status }) => status === 'completed').length, 1);
  });

  await t.test('who stops watching hears no more and leaves nothing', async (t) => {
    const { tasks } = await openTasks(t, redis);
    const { worker, claim, report } = await start(t, 'left');
    const one = watch(tasks, 'left');
    const two = watch(tasks, 'left');
    await until(() => one.told.length === 1 && two.told.length === 1, 'the state of now');
    one.unwatch();
    one.unwatch();
    t.equal(tasks.watched, 1);
    await report(50);
    await until(() => two.told.length === 2, 'the other is told');
    t.equal(one.told.length, 1);
    two.unwatch();
    t.equal(tasks.watched, 0);
    watch(tasks, 'never there').unwatch();
    t.equal(tasks.watched, 0);
    await worker.complete(claim, 'v');
  });

  await t.test('poison on the channel, in the state and in a listener', async (t) => {
    const { tasks } = await openTasks(t, redis);
    const { worker, claim, report } = await start(t, 'poisoned');
    await client.set('task:a string', 'no hash');
    await client.hset('task:a hash', 'last', '{"task_id":"a hash","seq":"x"}', 'status', 'failed');
    const others = [watch(tasks, 'a string'), watch(tasks, 'a hash'), watch(tasks, '__proto__')];
    tasks.watch('poisoned', () => {
      throw new Error('a listener that fails');
    });
    const { told } = watch(tasks, 'poisoned');
    await until(() => told.length === 1, 'the state of now');
    const good = { ...told[0], seq: 2 };
    const bad = [
      { seq: 1e99 },
      { seq: 'x' },
      { seq: undefined },
      { progress: '5' },
      { status: 'x' },
    ];
    const noise = ['', '{', 'null', '[]', '7', '"x"', '{"task_id":"poisoned"}', '\u0000'];
    noise.push(...bad.map((more) => JSON.stringify({ ...good, ...more })));
    noise.push(JSON.stringify({ ...good, task_id: 'somebody else' }), 'x'.repeat(1_000_000));
    for (const text of noise) await client.publish('task_progress', text);
    await report(60);
    await worker.complete(claim, 'video');
    await until(() => isOver(told), 'the end');
    t.match(
      told.map(({ seq, status }) => [seq, status]),
      [
        [1, 'processing'],
        [2, 'inference'],
        [3, 'completed'],
      ],
    );
    for (const other of others) t.same(other.told, []);
    t.equal(tasks.watched, 3);
  });

  await t.test('a forged message can neither end a task nor hide its end', async (t) => {
    const { tasks } = await openTasks(t, redis);
    const { worker, claim } = await start(t, 'forged');
    const { told } = watch(tasks, 'forged');
    await until(() => told.length === 1, 'the state of now');
    const forged = { ...told[0], seq: 2, status: 'completed', video_file_id: 'of somebody else' };
    await client.publish('task_progress', JSON.stringify(forged));
    await client.publish('task_progress', JSON.stringify({ ...told[0], seq: 1000 }));
    await until(() => told.length === 2, 'a number that is wrong');
    await worker.complete(claim, 'video');
    await until(() => isOver(told), 'the end');
    t.equal(told.length, 3);
    t.match(told[2], { status: 'completed', video_file_id: 'video', seq: 2 });
  });

  await t.test('a worker of another make, which numbers nothing and keeps no state', async (t) => {
    const servers = [await openTasks(t, redis), await openTasks(t, redis)];
    const [{ tasks }] = servers as [(typeof servers)[0]];
    await client.set('gpu_status:3', 'idle');
    const { taskId } = await tasks.submit(plainTask);
    const all = servers.map((server) => watch(server.tasks, taskId));
    const base = {
      task_id: taskId,
      session_id: 'of somebody else',
      message: 'x',
      timestamp: 'now',
    };
    const say = (status: string, progress: number, more: object = {}) =>
      client.publish(
        'task_progress',
        JSON.stringify({ ...base, status, progress, percentage: progress, ...more }),
      );
    await until(() => all.every(({ told }) => told.length === 1), 'its place');
    const waiting = await tasks.submit(plainTask);
    watch(tasks, waiting.taskId);
    await say('completed', 100, { task_id: waiting.taskId, video_file_id: 'forged' });
    await client.lpop('task_queue_gpu_3');
    await say('inference', 20, { raw: 'forged' });
    await until(() => all.every(({ told }) => told.length === 2), 'its progress');
    t.match(await client.hget(keys.state(taskId), 'raw'), taskId, "its entry is the server's own");
    await say('inference', 10);
    const completed = async () => Number(await client.hget(keys.totals, 'ended:completed'));
    const before = await completed();
    await say('completed', 100, { video_file_id: 'video' });
    await say('completed', 100, { video_file_id: 'another' });
    await until(() => all.every(({ told }) => isOver(told)), 'its end');
    for (const { told } of all) {
      t.match(told, [
        { status: 'queued', seq: 1 },
        { status: 'inference', progress: 20, seq: 2, session_id: 'session' },
        { status: 'completed', video_file_id: 'video', seq: 3, session_id: 'session' },
      ]);
      t.equal(told.length, 3);
    }
    t.equal((await completed()) - before, 1, 'however many servers heard it');
    t.equal(await tasks.cancel(taskId), 'ended');
    t.match(await tasks.result(waiting.taskId), { status: 'queued' }, 'it waits: nobody has it');
  });

  await t.test('tasks that many watch are told to each of theirs alone', async (t) => {
    const { tasks } = await openTasks(t, redis);
    const worker = await openWorker(t, redis);
    const all = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const { taskId } = await tasks.submit({ ...plainTask, sessionId: `session ${i}` });
        return { taskId, i, ...watch(tasks, taskId) };
      }),
    );
    for (let n = 0; n < all.length; n++) {
      const claim = await takeAndClaim(worker);
      await worker.complete(claim, `video of ${claim.taskId}`);
    }
    await until(() => all.every(({ told }) => isOver(told)), 'every end');
    for (const { taskId, i, told } of all) {
      const mine = { task_id: taskId, session_id: `session ${i}` };
      if (!told.every((update) => update.task_id === taskId)) t.fail('a word of another task');
      t.match(told.at(-1), { ...mine, video_file_id: `video of ${taskId}` });
      rises(t, told);
    }
    t.equal(tasks.watched, 0);
  });
});
