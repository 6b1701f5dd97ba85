import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import t from 'tap';
import { childEnvironment } from '../../src/config.js';
import { CodedError } from '../../src/errors.js';
import { createLog } from '../../src/log.js';
import { Recovery } from '../../src/queue/recovery.js';
import { connectRedis } from '../../src/queue/redis.js';
import { projectRoot } from '../../src/paths.js';
import { temporaryFolder } from '../helpers/folder.js';
import { startRedis, taskJson } from '../helpers/redis.js';
import { openTasks, openWorker, takeAndClaim } from '../helpers/tasks.js';

const program = join(projectRoot, 'dist', 'scripts', 'tasks.js');
const fileIds = { refImageId: randomUUID(), audioId: randomUUID() };
const queueName = 'task_queue_gpu_0';

void t.test('dead tasks are inspected, queued again as they were, and dropped', async (t) => {
  const redis = await startRedis(t);
  const { client } = redis;
  const config = redis.config({ TASK_MAX_ATTEMPTS: '2' });
  const connection = connectRedis(config, createLog('silent'));
  t.teardown(() => connection.disconnect());
  const recovery = new Recovery(connection, config, createLog('silent'));
  const tasks = (words: string, settings: Record<string, string> = {}) =>
    new Promise<{ code: number; out: string; complaint: string }>((resolve) => {
      const named = { REDIS_HOST: redis.server.host, REDIS_PORT: String(redis.server.port) };
      const env = childEnvironment({ ...named, ...settings });
      execFile(process.execPath, [program, ...words.split(' ')], { env }, (error, out, complaint) =>
        resolve({ code: error === null ? 0 : Number(error.code), out, complaint }),
      );
    });
  /** Members that only the client knows, odd spaces and numbers that JavaScript would change. */
  const raw = taskJson('poison').replace('{', '{ "extra" : 1.0e2, "big": 12345678901234567890, ');
  const crash = async (gpuId = 0) => {
    const worker = await openWorker(t, redis, gpuId);
    await takeAndClaim(worker);
    worker.disconnect();
    await recovery.workerDied(gpuId, worker.worker, 'it was ended by SIGSEGV');
    return worker.worker;
  };
  await client.rpush(queueName, raw, '{"broken', taskJson('fine'));
  await crash();
  const last = await crash();
  const worker = await openWorker(t, redis);
  t.equal(await worker.claim((await worker.take()) as string), undefined);
  const fine = await takeAndClaim(worker);

  const list = await tasks('dead list');
  t.equal(list.code, 0);
  const [, unnamed = '', poison = ''] =
    /^(\w{12}) {2}unnamed .*\n.*\n(\w{12}) {2}poison/.exec(list.out) ?? [];
  t.match(
    list.out,
    new RegExp(`^${unnamed}  unnamed  \\d{4}-\\S+Z  0 attempts  ${queueName}`, 'm'),
  );
  t.match(
    list.out,
    new RegExp(
      `^${poison}  poison  \\d{4}-\\S+Z  2 attempts  ${queueName}  ${last}\n` +
        '  TASK_ATTEMPTS_EXHAUSTED: the worker was lost 2 times .* it was ended by SIGSEGV$',
      'm',
    ),
  );
  const shown = await tasks('dead show poison');
  t.ok(shown.out.endsWith(`\n${raw}\n`), 'what was pushed, as it was');
  t.ok(shown.out.startsWith(`${poison}  poison`));
  const running = new RegExp(
    `^${queueName}  idle  0 waiting  2 dead\n  fine  processing 0 %  attempt 1  ${worker.worker}\n$`,
  );
  t.match((await tasks('queues')).out, running);

  t.match(await tasks(`dead requeue ${poison}`), {
    code: 0,
    out: `${poison}  poison  queued on ${queueName}\n`,
  });
  t.same(await client.lrange(queueName, 0, -1), [raw], 'byte for byte');
  t.equal(await client.hget('task:poison', 'attempts'), null, 'its attempts start over');
  t.match(await tasks('cancel poison'), { code: 0, out: 'poison  withdrawn\n' });
  await client.rpush(queueName, raw);
  await worker.fail(fine, 0, new CodedError('IMAGE_UNREADABLE', 'broken'));
  for (let i = 0; i < 2; i++) await crash();

  await client.hset('task:poison', 'status', 'processing');
  t.match(await tasks('dead requeue --all 7'), {
    code: 1,
    out: `${unnamed}  unnamed  queued on task_queue_gpu_7\n`,
    complaint: /TASK_INVALID: \w{12}: a task poison is under way/,
  });
  t.same(await client.lrange('task_queue_gpu_7', 0, -1), ['{"broken']);
  t.match(await tasks('dead drop --all'), { code: 0, out: /^\w{12} {2}poison {2}dropped\n$/ });
  t.match(await tasks('dead list'), { code: 0, out: 'no task is dead\n' });
  t.match(await tasks('dead show poison'), { code: 1, complaint: /NOT_FOUND: .*"poison"/ });
  t.match(await tasks('dead requeue poison x'), { code: 2, complaint: /dead requeue ID/ });

  await t.test('of a session, it is said that its files serve no other task', async (t) => {
    await openWorker(t, redis);
    const server = await openTasks(t, redis, { TASK_WORKER_WAIT_SECONDS: '20' });
    await server.tasks.submit({ ...fileIds, taskId: 'said', sessionId: 's' });
    for (let i = 0; i < 2; i++) await crash();
    await client.rpush(queueName, taskJson('pushed'));
    for (let i = 0; i < 2; i++) await crash();
    await client.set('task:odd', 'no state');
    await client.rpush(queueName, taskJson('odd'));
    const worker = await openWorker(t, redis);
    await worker.claim((await worker.take()) as string);
    worker.disconnect();
    const told = /^\w{12} {2}said .*\n.*\n {2}of a session, .* with TASK_FILE_NOT_FOUND$/m;
    const { out } = await tasks('dead list');
    t.match(out, told);
    t.match(out, /^\w{12} {2}pushed /m);
    t.match(out, /^\w{12} {2}odd /m, "also where somebody else's key has the name of its state");
    t.equal(out.match(/of a session/g)?.length, 1, 'not of the other');
    t.match((await tasks('dead show said')).out, told);
  });

  await t.test('without a named Redis, that of the running service is asked', async (t) => {
    const nowhere = await tasks('queues', {
      ...{ REDIS_HOST: '', REDIS_PORT: '', DATA_DIR: await temporaryFolder(t) },
    });
    t.match(nowhere, { code: 1, complaint: /REDIS_UNAVAILABLE: no service runs from/ });
  });
});
