import t, { type Test } from 'tap';
import { EchoMimicClient } from '../../src/client/index.js';
import { CodedError } from '../../src/errors.js';
import { keys } from '../../src/queue/keys.js';
import { taskEvents } from '../../src/task/events.js';
import { progressUpdate } from '../../src/queue/update.js';
import { Client } from '../helpers/client.js';
import { EventReader } from '../helpers/events.js';
import { picture, tone } from '../helpers/samples.js';
import { device, openTasks, openWorker, plainTask, takeAndClaim } from '../helpers/tasks.js';
import { startRedis, until } from '../helpers/redis.js';
import { type SessionServer, startSessions } from '../session/session-helper.js';

interface Created {
  task_id: string;
  position: number;
  seed: number;
  code?: string;
  message?: string;
}

async function files(server: SessionServer, seconds = 0.5) {
  return {
    image_id: await server.upload(await picture()),
    audio_id: await server.upload(tone(seconds)),
  };
}

const videoId = '550e8400-e29b-41d4-a716-446655440000';

void t.test('a task from its files to its video, watched at another process', async (t) => {
  const server = await startSessions(t);
  const other = await startSessions(t, {}, {}, server.redis);
  const worker = await openWorker(t, server.redis);
  const [here, there] = [new Client(server.url), new Client(other.url)];
  const uploaded = await files(server);
  const asked = { ...uploaded, steps: 3, cfg: 1.5, seed: 7, size: 128, frames_num: 10 };
  const { status, body } = await here.post<Created>('/api/tasks', asked);
  t.equal(status, 202);
  t.match(body, { success: true, position: 0, seed: 7 });
  const path = `/api/tasks/${body.task_id}`;
  t.match((await there.get(path)).body, {
    success: true,
    task: { ...asked, task_id: body.task_id, status: 'queued', position: 0, created_at: /Z$/ },
  });
  const events = await EventReader.open(t, `${other.url}${path}/events`);
  t.equal(events.response.statusCode, 200);
  t.equal(events.response.headers['content-type'], 'text/event-stream');

  const claim = await takeAndClaim(worker);
  t.match(claim.entry.task, {
    ...{ ref_image_id: uploaded.image_id, audio_id: uploaded.audio_id },
    ...{ steps: 3, cfg: 1.5, seed: 7, size: 128, frames_num: 10 },
  });
  await worker.report(claim, progressUpdate(claim.entry, 'inference', 40, 'half'));
  await until(() => events.updates.length === 3, 'its progress');
  const late = await EventReader.open(t, `${server.url}${path}/events`, { 'last-event-id': '2' });
  await until(() => late.updates.length === 1, 'what it has missed');
  await worker.complete(claim, videoId);
  t.match(await events.end(), { status: 'completed', video_file_id: videoId, seq: 4 });
  t.same(
    events.updates.map(({ status, seq }) => [status, seq]),
    [
      ['queued', 1],
      ['processing', 2],
      ['inference', 3],
      ['completed', 4],
    ],
  );
  await late.end();
  t.same(
    late.updates.map(({ seq }) => seq),
    [3, 4],
  );

  t.match((await there.get(path)).body, {
    task: { status: 'completed', video_file_id: videoId, finished_at: /Z$/ },
  });
  const again = await EventReader.open(t, `${server.url}${path}/events`);
  t.match(await again.end(), { status: 'completed' }, 'who comes late is told the end');
  const known = await here.get(`${path}/events`, { 'last-event-id': '4' });
  t.equal(known.status, 204, 'there is nothing to come back for');
  t.match((await here.delete(path)).body, { success: true, outcome: 'ended' });
});

void t.test('what is wrong is said before anything is queued', async (t) => {
  const server = await startSessions(t, { MAX_AUDIO_SECONDS: '2' });
  await openWorker(t, server.redis, 0, {}, device);
  const client = new Client(server.url);
  const good = await files(server);
  const refused = async (more: object, status: number, code: string, message: RegExp) => {
    const answer = await client.post<Created>('/api/tasks', { ...good, ...more });
    t.match(answer, { status, body: { success: false, code, message } }, code);
  };
  await refused({ audio_id: good.image_id }, 400, 'TASK_FILE_WRONG_TYPE', /audio_id.*image\/png/);
  await refused({ image_id: good.audio_id }, 400, 'TASK_FILE_WRONG_TYPE', /image_id/);
  await refused({ image_id: videoId }, 404, 'TASK_FILE_NOT_FOUND', /image_id: .*upload/);
  await refused({ image_id: 'x' }, 400, 'BAD_REQUEST', /image_id/);
  await refused({ steps: 0 }, 400, 'BAD_REQUEST', /steps/);
  await refused({ task_id: 'mine' }, 400, 'BAD_REQUEST', /./);
  await refused({ size: 100 }, 400, 'BAD_REQUEST', /size/);
  await refused({ size: 264 }, 400, 'TASK_INVALID', /64 to 256, not 264: the model small .* 128/);
  await refused({ audio_id: await server.upload(tone(3)) }, 413, 'AUDIO_TOO_LONG', /2 s/);
  const talker = await (await server.client()).connect({ mode: 'video', image_id: good.image_id });
  await refused({}, 404, 'TASK_FILE_NOT_FOUND', /image_id/);
  t.ok(talker.sessionId, 'a file of a session does not exist to others');
  t.equal(await server.redis.client.llen('task_queue_gpu_0'), 0);
  t.same(await server.redis.client.keys('task_request*'), []);
  for (const path of [videoId, 'x', `${videoId}/events`]) {
    const answer = await client.get(`/api/tasks/${path}`);
    t.match(answer, { status: 404, body: { code: 'TASK_NOT_FOUND' } }, path);
  }
  t.match((await client.delete(`/api/tasks/${videoId}`)).body, { code: 'TASK_NOT_FOUND' });

  t.match((await client.get('/api/tasks/options')).body, {
    models: [
      { name: 'small', devices: 1, size: { default: 128, minimum: 64, maximum: 256, step: 8 } },
    ],
    limits: { audio_seconds: 2 },
    auth_required: false,
  });
});

void t.test('limits, quotas and cancelling', async (t) => {
  const quotas = { QUOTAS: 'free:video_seconds=3', TASKS_PER_USER: '2', TURNS_PER_MINUTE: '6' };
  const server = await startSessions(t, { AUTH: 'required', ...quotas });
  const worker = await openWorker(t, server.redis, 0, {}, device);
  t.match(await new Client(server.url).post('/api/tasks', await files(server)), {
    status: 401,
    body: { code: 'UNAUTHORIZED' },
  });
  const ann = await Client.register(server.url, 'ann');
  const create = async (more: object = {}, seconds = 0.9) => {
    const asked = { ...(await files(server, seconds)), ...more };
    return (await ann.post<Created>('/api/tasks', asked)).body;
  };
  const used = async () => {
    const { body } = await ann.get<{ usage: { video_seconds: { used: number } } }>(
      '/api/account/usage',
    );
    return body.usage.video_seconds.used;
  };
  const [first, second] = [await create(), await create({ frames_num: 24 }, 1.9)];
  t.equal(second.position, 1);
  t.equal(await used(), 2, 'frames_num limits what is paid for');
  t.match(await create(), { code: 'TOO_MANY_TASKS' });
  t.equal(await used(), 2, 'what is refused is not paid for');
  t.match((await ann.delete(`/api/tasks/${second.task_id}`)).body, { outcome: 'withdrawn' });
  await until(async () => (await used()) === 1, 'what is cancelled is not paid for');
  t.match((await ann.get(`/api/tasks/${second.task_id}`)).body, {
    task: { status: 'failed', code: 'TASK_CANCELLED' },
  });
  t.match(await create({}, 2.5), { code: 'QUOTA_EXCEEDED' });

  const claim = await takeAndClaim(worker);
  t.equal(claim.taskId, first.task_id);
  t.match((await ann.delete(`/api/tasks/${first.task_id}`)).body, { outcome: 'stopping' });
  await until(() => claim.cancelled.aborted, 'its worker is told');
  await worker.fail(claim, 10, new CodedError('TASK_CANCELLED', 'cancelled'));
  await until(async () => (await used()) === 0, 'nothing is used');

  const third = await create();
  await worker.complete(await takeAndClaim(worker), videoId);
  await until(async () => (await used()) === 1, 'what is made is paid for');
  const list = (await ann.get<{ tasks: Created[]; total: number }>('/api/tasks')).body;
  t.same(
    list.tasks.map(({ task_id }) => task_id),
    [third, second, first].map(({ task_id }) => task_id),
    'the newest first, and none that was refused',
  );
  t.match(await create(), { position: 0 });
  t.match(await create(), { code: 'RATE_LIMITED' });
});

void t.test('the line of events', async (t) => {
  const redis = await startRedis(t);
  const { tasks, subscriber } = await openTasks(t, redis);
  const worker = await openWorker(t, redis);
  const start = async () => {
    const { taskId } = await tasks.submit(plainTask);
    return { taskId, claim: await takeAndClaim(worker) };
  };
  const listen = (t: Test, taskId: string, more: { mayListen?: boolean; after?: number } = {}) => {
    const { after = 0, mayListen = true } = more;
    const abort = new AbortController();
    const options = { after, signal: abort.signal, heartbeatMs: 20 };
    const may = () => Promise.resolve(mayListen);
    const events = taskEvents(tasks, taskId, { ...options, mayListen: may });
    t.teardown(() => events.return(undefined));
    return { abort, events };
  };
  const rest = async (events: AsyncGenerator<string>) => {
    let text = '';
    for await (const event of events) text += event;
    return text;
  };

  await t.test('a client that reads slowly costs little and is told the end', async (t) => {
    const { taskId, claim } = await start();
    const { events } = listen(t, taskId);
    await events.next();
    for (let i = 0; i < 300; i++) {
      await worker.report(claim, progressUpdate(claim.entry, 'inference', i / 3, 'x'));
    }
    await worker.complete(claim, videoId);
    await until(() => tasks.watched === 0, 'all was heard');
    const told = (await rest(events)).match(/^data: .*$/gm) ?? [];
    t.equal(told.length, 100);
    t.match(told.at(-1), /"completed"/);
  });

  await t.test('heartbeats, while nothing is said, and whoever may listen no longer', async (t) => {
    const { taskId, claim } = await start();
    const { events } = listen(t, taskId, { after: 2 });
    t.match((await events.next()).value, /^retry/);
    t.equal((await events.next()).value, ': \n\n');
    const barred = listen(t, taskId, { after: 2, mayListen: false });
    t.match(await rest(barred.events), /^retry: \d+\n\n$/);
    await worker.complete(claim, videoId);
    t.match(await rest(events), /"completed"/);
  });

  await t.test('whoever leaves is forgotten at once', async (t) => {
    const { taskId, claim } = await start();
    const { events, abort } = listen(t, taskId, { after: 2 });
    await events.next();
    t.equal(tasks.watched, 1);
    const next = rest(events);
    abort.abort();
    await next;
    t.equal(tasks.watched, 0);
    await worker.complete(claim, videoId);
  });

  await t.test('a state that is gone, and an end that is numbered too low', async (t) => {
    const old = await start();
    const toEnd = rest(listen(t, old.taskId, { after: 9 }).events);
    await worker.complete(old.claim, videoId);
    t.match(await toEnd, /"completed"/);
    const lost = await start();
    const toNothing = rest(listen(t, lost.taskId, { after: 2 }).events);
    await redis.client.del(keys.state(lost.taskId));
    t.notMatch(await toNothing, /data/);
    t.equal(tasks.watched, 0);
    await worker.fail(lost.claim, 0, new CodedError('INTERNAL', 'lost'));
  });

  await t.test('no message at all comes', async (t) => {
    const { taskId, claim } = await start();
    subscriber.disconnect();
    const { events } = listen(t, taskId, { after: 2 });
    await worker.complete(claim, videoId);
    t.match(await rest(events), /"completed"/);
  });
});

void t.test('the typed client stays with a task while the API is restarted', async (t) => {
  const before = await startSessions(t);
  const worker = await openWorker(t, before.redis, 0, {}, device);
  const { tasks } = new EchoMimicClient({ baseUrl: before.url });
  const created = await tasks.create(await files(before));
  t.match(await tasks.options(), { models: [{ name: 'small' }] });
  const heard: (number | undefined)[] = [];
  const line: boolean[] = [];
  const watched = tasks.watch(created.task_id, ({ seq }) => heard.push(seq), {
    onLine: (isThere) => line.push(isThere),
  });
  await until(() => heard.length === 1, 'its place');
  await before.app.close();
  const claim = await takeAndClaim(worker);
  await startSessions(t, { PORT: String(before.config.port) }, {}, before.redis);
  await until(() => heard.length === 2, 'what was missed');
  await worker.complete(claim, videoId);
  t.match(await watched, { status: 'completed', video_file_id: videoId });
  t.same(heard, [1, 2, 3]);
  t.same([line[0], line.at(-1), line.includes(false)], [true, true, true]);
  const after = await tasks.watch(created.task_id, () => t.fail('nothing is new'), { after: 3 });
  t.match(after, { status: 'completed' });
  t.match(await tasks.cancel(created.task_id), { outcome: 'ended' });
  await t.rejects(
    tasks.watch(videoId, () => undefined),
    { code: 'TASK_NOT_FOUND', status: 404 },
  );
});

void t.test('a Redis that hangs holds nobody up for long', async (t) => {
  const server = await startSessions(t);
  const pid = server.redis.server.pid as number;
  process.kill(pid, 'SIGSTOP');
  try {
    const answer = await new Client(server.url).get(`/api/tasks/${videoId}`);
    t.match(answer, { status: 503, body: { code: 'REDIS_UNAVAILABLE' } });
  } finally {
    process.kill(pid, 'SIGCONT');
  }
});

void t.test('a client that goes away, and a server that stops', async (t) => {
  const server = await startSessions(t);
  const worker = await openWorker(t, server.redis);
  const client = new Client(server.url);
  const { body } = await client.post<Created>('/api/tasks', await files(server));
  const url = `${server.url}/api/tasks/${body.task_id}/events`;
  const [left, right] = [await EventReader.open(t, url), await EventReader.open(t, url)];
  await until(() => left.updates.length + right.updates.length === 2, 'both listen');
  left.leave();
  await left.end();
  const closed = server.app.close();
  await right.end();
  t.match(right.updates, [{ status: 'queued' }], 'the stream ends, the task goes on');
  await closed;
  t.equal((await takeAndClaim(worker)).taskId, body.task_id);
});
