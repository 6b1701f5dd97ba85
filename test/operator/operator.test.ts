import type { FastifyInstance } from 'fastify';
import t from 'tap';
import { CodedError } from '../../src/errors.js';
import { createLog } from '../../src/log.js';
import { Recovery } from '../../src/queue/recovery.js';
import { connectRedis } from '../../src/queue/redis.js';
import { startApp } from '../helpers/app.js';
import { Client } from '../helpers/client.js';
import { startRedis, taskJson, until } from '../helpers/redis.js';
import { device, openTasks, openWorker, plainTask, takeAndClaim } from '../helpers/tasks.js';
import { startSessions } from '../session/session-helper.js';

const token = 'the-token-of-the-operator';

interface Point {
  at: string;
  completed: number;
  failed: number;
  cancelled: number;
  video_seconds: number;
  render_seconds: number;
}

void t.test('only an operator is let in', async (t) => {
  const ask = async (app: FastifyInstance, headers: Record<string, string> = {}) => {
    const { statusCode, body } = await app.inject({
      url: '/api/operator/status',
      headers: { host: '127.0.0.1:3000', ...headers },
    });
    return [statusCode, (JSON.parse(body) as { code: string }).code];
  };
  // Whoever is let in learns that this server has no Redis.
  const letIn = [503, 'REDIS_UNAVAILABLE'];
  const bearer = (word: string) => ({ authorization: `Bearer ${word}` });

  const open = await startApp(t);
  t.same(await ask(open.app), letIn, 'at the machine itself');
  t.same(await ask(open.app, { host: 'localhost:3000' }), letIn);
  t.same(await ask(open.app, { origin: 'http://localhost:5173' }), letIn, 'a page of this machine');
  t.same(await ask(open.app, { origin: 'https://evil.example' }), [403, 'ORIGIN_REFUSED']);
  for (const headers of [
    { host: 'evil.example:3000' },
    { 'x-forwarded-for': '10.0.0.9' },
    { forwarded: 'for=10.0.0.9' },
    { host: 'evil.example', ...bearer(token) },
  ]) {
    t.same(await ask(open.app, headers), [403, 'FORBIDDEN'], JSON.stringify(headers));
  }
  for (const settings of [
    { HOST: '0.0.0.0' },
    { PUBLIC_BASE_URL: 'https://talk.example' },
    { TRUST_PROXY: 'loopback' },
  ]) {
    const { app } = await startApp(t, settings);
    t.same(await ask(app), [403, 'FORBIDDEN'], JSON.stringify(settings));
  }
  const guarded = await startApp(t, { OPERATOR_TOKEN: token });
  t.same(await ask(guarded.app), [401, 'UNAUTHORIZED']);
  t.same(await ask(guarded.app, bearer(`${token}s`)), [401, 'UNAUTHORIZED']);
  t.same(await ask(guarded.app, bearer(`${token.slice(0, -1)}x`)), [401, 'UNAUTHORIZED']);
  t.same(await ask(guarded.app, bearer(token)), letIn);
  t.same(
    await ask(guarded.app, { host: 'talk.example', ...bearer(token) }),
    letIn,
    'from anywhere',
  );
});

void t.test('an operator sees what happens and acts on it', async (t) => {
  const redis = await startRedis(t);
  const { client } = redis;
  const server = await startSessions(t, { OPERATOR_TOKEN: token }, {}, redis);
  const config = redis.config({ TASK_MAX_ATTEMPTS: '1' });
  const connection = connectRedis(config, createLog('silent'));
  t.teardown(() => connection.disconnect());
  const recovery = new Recovery(connection, config, createLog('silent'));
  const operator = new Client(`${server.url}/api/operator`, token);
  const { tasks } = await openTasks(t, redis);
  const worker = await openWorker(t, redis);
  const total = async () => {
    const { body } = await operator.get<{ points: Point[] }>('/throughput?minutes=3');
    const sum = (pick: (point: Point) => number) => body.points.reduce((a, b) => a + pick(b), 0);
    return {
      ended: [sum((p) => p.completed), sum((p) => p.failed), sum((p) => p.cancelled)],
      seconds: [sum((p) => p.video_seconds), sum((p) => p.render_seconds)],
      minutes: body.points.length,
    };
  };
  t.same(await total(), { ended: [0, 0, 0], seconds: [0, 0], minutes: 3 });

  await client.rpush('task_queue_gpu_0', taskJson('good'));
  const good = await takeAndClaim(worker);
  const facts = { video_seconds: '2.4', frames: '60', seconds_inference: '1.25' };
  for (let i = 0; i < 2; i++) t.ok(await worker.complete(good, 'video', facts), 'also sent twice');
  t.match(await client.hgetall('task:good'), { status: 'completed', ...facts });

  const { taskId } = await tasks.submit({ ...plainTask, taskId: 'bad' });
  const bad = await takeAndClaim(worker);
  await worker.fail(bad, 10, new CodedError('IMAGE_UNREADABLE', 'no picture'), {
    breaksWorkers: true,
  });
  t.match(await client.hget(`task:${taskId}`, 'seconds_waiting'), /^\d+\.\d{3}$/);
  await client.rpush('task_queue_gpu_0', '{"no task');
  t.equal(await worker.claim((await worker.take()) as string), undefined);
  await client.rpush('task_queue_gpu_0', taskJson('poison'));
  const lost = await openWorker(t, redis, 1);
  await client.lmove('task_queue_gpu_0', 'task_queue_gpu_1', 'LEFT', 'LEFT');
  await takeAndClaim(lost);
  lost.disconnect();
  await recovery.workerDied(1, lost.worker, 'it was ended by SIGSEGV');
  t.same(await total(), { ended: [1, 3, 0], seconds: [2.4, 1.25], minutes: 3 });

  await t.test('status', async (t) => {
    await client.set('gpu_info:0', JSON.stringify({ worker: worker.worker, ...device }));
    await client.rpush('task_queue_gpu_0', taskJson('running'), taskJson('waiting'));
    const claim = await takeAndClaim(worker);
    await worker.setStatus('busy');
    const socket = await (await server.client()).connect();
    const { status, body, headers } = await operator.get('/status');
    t.equal(status, 200);
    t.equal(headers.get('cache-control'), 'no-store');
    t.match(body, {
      success: true,
      version: /^\d+\.\d+\.\d+/,
      uptime: Number,
      devices: [
        {
          ...{ id: 0, name: 'small', kind: 'cpu', status: 'busy', worker: worker.worker },
          ...{ task: 'running', progress: 0, queue_length: 1, dead: 2, queue: 'task_queue_gpu_0' },
        },
        { id: 1, kind: 'unknown', status: 'none', queue_length: 0, dead: 1 },
      ],
      processes: [{ name: /\w/, sessions: 1, silent: Number }],
      sessions: 1,
      tasks: { waiting: 1, running: 1 },
    });
    socket.client.socket.terminate();
    t.match(await operator.post('/tasks/waiting/cancel', {}), {
      body: { success: true, task_id: 'waiting', outcome: 'withdrawn' },
    });
    t.match((await operator.post('/tasks/running/cancel', {})).body, { outcome: 'stopping' });
    await until(() => claim.cancelled.aborted, 'the worker hears of it');
    await worker.fail(claim, 0, claim.cancelled.reason as CodedError);
    await worker.setStatus('idle');
    t.match((await operator.post('/tasks/running/cancel', {})).body, { outcome: 'ended' });
    t.match(await operator.post('/tasks/nobody/cancel', {}), {
      status: 404,
      body: { code: 'NOT_FOUND' },
    });
    t.same((await total()).ended, [1, 3, 2], 'a cancelled task is no failed one');
    t.ok(Number(await client.hget('task_totals', 'busy:0')) > 0, 'the device was busy');
  });

  await t.test('failures and dead letters', async (t) => {
    interface Failures {
      failures: { task_id: string; code: string }[];
      dead: { id: string; task_id: string; whole: boolean; of_session: boolean }[];
      dead_total: number;
    }
    const { body } = await operator.get<Failures>('/failures');
    t.match(body.failures, [
      {
        ...{ task_id: 'poison', code: 'TASK_ATTEMPTS_EXHAUSTED', session_id: 'session' },
        ...{ attempt: 1, queue: 'task_queue_gpu_1', worker: lost.worker, at: /^20.*Z$/ },
        error: /SIGSEGV/,
      },
      { task_id: '', code: 'TASK_MALFORMED', queue: 'task_queue_gpu_0', worker: worker.worker },
      { task_id: 'bad', code: 'IMAGE_UNREADABLE', error: 'no picture', attempt: 1 },
    ]);
    t.equal((await operator.get<Failures>('/failures?limit=1')).body.failures.length, 1);
    t.equal(body.dead_total, 3);
    const [poison, bad, broken] = ['poison', 'bad', ''].map((name) =>
      body.dead.find(({ task_id }) => task_id === name),
    );
    t.match(poison, { id: /^\w{12}$/, whole: true, of_session: false });
    t.match(bad, { whole: true, of_session: true });
    t.match(await operator.post(`/dead/${poison?.id}/requeue`, { device: 0 }), {
      body: { success: true, task_id: 'poison', queue: 'task_queue_gpu_0' },
    });
    t.same(await client.lrange('task_queue_gpu_0', 0, -1), [taskJson('poison')]);
    t.match(await operator.post(`/dead/${poison?.id}/requeue`, undefined), { status: 404 });
    for (const dead of [bad, broken]) {
      t.match(await operator.delete(`/dead/${dead?.id}`), { body: { success: true } });
    }
    t.match(await operator.get('/failures'), { body: { dead: [], dead_total: 0 } });
  });

  await t.test("keys that are somebody else's keep no task from its end", async (t) => {
    await client.del('task_totals', 'task_failures', ...(await client.keys('task_minute:*')));
    const minute = Math.floor(Number((await client.time())[0]) / 60);
    for (const key of ['task_totals', 'task_failures']) await client.set(key, 'mine');
    for (const next of [0, 1]) await client.set(`task_minute:${minute + next}`, 'mine');
    const claim = await takeAndClaim(worker);
    t.equal(claim.taskId, 'poison');
    t.ok(await worker.fail(claim, 0, new CodedError('AUDIO_EMPTY', 'no sound')));
    t.match(await client.hgetall('task:poison'), { status: 'failed', code: 'AUDIO_EMPTY' });
    t.equal(await client.llen(worker.processing), 0);
    t.match(await operator.get('/throughput'), { status: 200 });
  });
});
