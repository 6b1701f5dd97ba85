import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { childEnvironment } from '../../src/config.js';
import { keys } from '../../src/queue/keys.js';
import { projectRoot } from '../../src/paths.js';
import { startRedis, until } from '../helpers/redis.js';
import { startSmallestClipWorker } from '../helpers/smallest-clip.js';
import {
  type Frame,
  ScriptedDialogue,
  type SessionServer,
  Talker,
  gate,
  inOrder,
  startSessions,
} from './session-helper.js';

/** What a client needs to come back. */
const ticket = (talker: Talker, lastSeq?: number) => ({
  session_id: talker.sessionId,
  resume_token: talker.ack['resume_token'],
  ...(lastSeq === undefined ? {} : { last_seq: lastSeq }),
});
const lastSeq = (talker: Talker) => Math.max(...talker.frames.map(({ seq }) => seq ?? 0));

/** Frames of several connections of one session, without the greetings of the later ones. */
function whole(...talkers: Talker[]): Frame[] {
  return talkers.flatMap(({ frames }, i) =>
    frames.filter(({ event }) => i === 0 || event !== 'connection_ack'),
  );
}

t.test('a client that comes back misses nothing and hears nothing twice', async (t) => {
  const server = await startSessions(t);
  const worker = await startSmallestClipWorker(t, server.settings, [0], 300);
  const first = await (await server.client()).connect({ mode: 'video' });
  first.send('text_message', { text: 'A video, please.' });
  await first.next('task_progress', ({ status }) => status === 'inference');
  first.client.socket.terminate();
  await first.client.closed;
  const seen = lastSeq(first);

  const second = await (await server.client()).connect(ticket(first, seen));
  t.match(second.ack, { resumed: true, session_id: first.sessionId, mode: 'video' });
  t.equal(second.frames[0]?.seq, seen, 'the greeting says where it goes on');
  await second.next('task_result');
  const frames = whole(first, second);
  t.same(
    frames.map(({ seq }) => seq),
    frames.map((_, i) => i + 1),
  );

  // the whole of a task while nobody listens, and the client heard less than it was sent
  await worker.setDelay(10);
  second.send('text_message', { text: 'Another one.' });
  const { seq = 0, data } = await second.next('task_submitted');
  second.client.socket.terminate();
  const state = keys.state(String(data['task_id']));
  await until(
    async () => (await server.redis.client.hget(state, 'status')) === 'completed',
    'the task is done',
  );
  const third = await (await server.client()).connect(ticket(first, seq - 1));
  t.equal((await third.next('task_submitted')).seq, seq);
  await third.next('task_result', (result) => result['task_id'] === data['task_id']);
  const numbers = third.frames.slice(1).map((frame) => frame.seq);
  t.same(
    numbers,
    numbers.map((_, i) => seq + i),
  );
});

t.test('what is too old to be repeated stands in the history', async (t) => {
  const dialogue = new ScriptedDialogue(async function* ({ text }) {
    yield `You said ${text}.`;
  });
  const server = await startSessions(t, { WS_FRAMES_PER_SECOND: '10000' }, { dialogue });
  const worker = await startSmallestClipWorker(t, server.settings, [0], 60_000);
  const first = await (await server.client()).connect({ mode: 'video' });
  first.send('text_message', { text: 'this' });
  await first.next('task_progress', ({ status }) => status === 'inference');
  for (let i = 0; i < 600; i++) first.send('interrupt', { session_id: 'another' });
  await until(() => first.of('error').length === 600, 'they are all refused');
  first.client.socket.terminate();
  const second = await (await server.client()).connect(ticket(first, 2));
  t.match(second.ack, {
    resumed: true,
    chat_history: [
      { type: 'user', text: 'this' },
      { type: 'ai', text: 'You said this.', audio_url: String },
    ],
  });
  const task = await second.next('task_progress');
  t.match(task.data, { status: 'inference', turn_id: 1 });
  t.ok((task.seq ?? 0) > (second.frames[0]?.seq ?? 0));
  await worker.setDelay(0);
});

t.test('a second connection replaces one that seems open', async (t) => {
  const server = await startSessions(t);
  const first = await (await server.client()).connect();
  const second = await (await server.client()).connect(ticket(first));
  await first.error('SESSION_REPLACED');
  t.equal((await first.client.closed).code, 4409);
  second.send('text_message', { text: 'Still here.' });
  await second.lastAudio();
});

t.test('nobody else can resume a session', async (t) => {
  const server = await startSessions(t);
  const first = await (await server.client()).connect();
  const thief = await server.client();
  for (const wrong of [
    { resume_token: 'guessed' },
    { session_id: '550e8400-e29b-41d4-a716-446655440000' },
  ]) {
    thief.send('request_connection', { ...ticket(first), ...wrong });
    await thief.error('SESSION_UNKNOWN');
  }
  first.send('text_message', { text: 'Nothing happened.' });
  await first.lastAudio();
});

t.test('sessions do not see the files of others', async (t) => {
  const server = await startSessions(t);
  const [mine, other] = [
    await (await server.client()).connect(),
    await (await server.client()).connect(),
  ];
  const id = await server.upload();
  mine.send('audio_uploaded', { audio_url: id });
  const { data } = await mine.lastAudio();
  const free = '550e8400-e29b-41d4-a716-446655440000';
  const messages = [];
  for (const named of [id, String(data['audio_url']), free]) {
    other.send('audio_uploaded', { audio_url: named });
    const { message } = (await other.error('FILE_NOT_FOUND')).data;
    messages.push(String(message).replace(/[0-9a-f-]{36}/, ''));
  }
  t.equal(new Set(messages).size, 1, 'a file of another looks like none');
  other.send('stop_session', { session_id: mine.sessionId });
  await other.error('SESSION_UNKNOWN');
  other.send('stop_session');
  await other.next('session_stopped_ack');
  t.same(await server.files(), [id], 'and is not deleted');
  mine.send('audio_uploaded', { audio_url: id });
  await mine.lastAudio();
});

async function withFiles(server: SessionServer, request: object = {}): Promise<Talker> {
  const talker = await (await server.client()).connect({ mode: 'voice', ...request });
  talker.send('audio_uploaded', { audio_url: await server.upload() });
  await talker.lastAudio();
  talker.send('text_message', { text: 'And speech.' });
  await talker.lastAudio();
  t.ok((await server.files()).length >= 2);
  return talker;
}

t.test('every end of a session deletes its files', async (t) => {
  await t.test('a close with 1000', async (t) => {
    const server = await startSessions(t);
    const talker = await withFiles(server);
    await talker.client.close(1000);
    await server.empty();
    const again = await server.client();
    again.send('request_connection', ticket(talker));
    await again.error('SESSION_UNKNOWN');
  });

  await t.test('another close when nothing is being made', async (t) => {
    const server = await startSessions(t);
    const talker = await withFiles(server);
    await talker.client.close(4000);
    await server.empty();
  });

  await t.test('a page that is left, after the grace time', async (t) => {
    const server = await startSessions(t, { SESSION_GRACE_SECONDS: '0.5' });
    const talker = await withFiles(server);
    await talker.client.close(1001);
    const back = await (await server.client()).connect(ticket(talker));
    t.equal(back.ack['resumed'], true, 'it was only loaded again');
    await back.client.close(1001);
    await server.empty();
  });

  await t.test('a broken line, after the grace time', async (t) => {
    const server = await startSessions(t, { SESSION_GRACE_SECONDS: '0.5' });
    const talker = await withFiles(server);
    talker.client.socket.terminate();
    await talker.client.closed;
    const back = await (await server.client()).connect(ticket(talker));
    t.equal(back.ack['resumed'], true);
    t.ok((await server.files()).length >= 2, 'within it nothing is lost');
    back.client.socket.terminate();
    await server.empty();
  });

  await t.test('a client that does not answer the heartbeat', async (t) => {
    const server = await startSessions(t, {
      WS_HEARTBEAT_SECONDS: '0.3',
      SESSION_GRACE_SECONDS: '0.1',
    });
    const talker = await withFiles(server);
    talker.client.socket.pause();
    await server.empty();
  });

  await t.test('the end of the server', async (t) => {
    const server = await startSessions(t);
    const talker = await withFiles(server);
    await startSmallestClipWorker(t, server.settings, [0], 60_000);
    const video = await (await server.client()).connect({ mode: 'video' });
    video.send('text_message', { text: 'Never to be seen.' });
    const task = await video.next('task_progress', ({ status }) => status === 'inference');
    await server.app.close();
    t.equal((await talker.client.closed).code, 1001);
    await server.empty();
    const state = keys.state(String(task.data['task_id']));
    const { client } = server.redis;
    await until(async () => (await client.hget(state, 'status')) === 'failed', 'it is cancelled');
    t.same(await client.keys('session_processes'), []);
  });
});

t.test('a running turn keeps a session whose client went away politely', async (t) => {
  const written = gate();
  const dialogue = new ScriptedDialogue(async function* () {
    await written.opened;
    yield 'Here it is.';
  });
  const server = await startSessions(t, {}, { dialogue });
  const first = await (await server.client()).connect();
  first.send('text_message', { text: 'I will be back.' });
  await until(() => dialogue.requests.length === 1, 'the model is asked');
  await first.client.close(4000);
  const second = await (await server.client()).connect(ticket(first));
  written.open();
  t.equal((await second.lastAudio()).data['ai_text'], 'Here it is.');
});

t.test('a recording that lost its connection is given up', async (t) => {
  const server = await startSessions(t);
  const first = await (await server.client()).connect();
  first.send('audio_stream_chunk', { chunk: 'AAAA', is_last: false, format: 'pcm' });
  first.send('text_message', { text: 'It waits.' });
  first.send('text_message', { text: '' });
  await first.error('FRAME_INVALID');
  first.client.socket.terminate();
  await first.client.closed;
  const second = await (await server.client()).connect(ticket(first));
  t.equal((await second.error('RECORDING_ABANDONED')).data['turn_id'], 1);
  t.equal((await second.lastAudio()).data['turn_id'], 2);
});

/** An API process that can be killed; it shares store and Redis with `server`. */
async function startProcess(t: Test, server: SessionServer) {
  const child = fork(join(projectRoot, 'dist', 'src', 'server.js'), {
    env: childEnvironment({ ...server.settings, PORT: '0' }),
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const [{ address }] = (await once(child, 'message')) as [{ address: string }];
  return {
    address,
    kill: async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

t.test('what a killed process left is cleared away by the next one', async (t) => {
  const redis = await startRedis(t);
  const server = await startSessions(t, { SESSION_GRACE_SECONDS: '0' }, {}, redis);
  const { address, kill } = await startProcess(t, server);
  await startSmallestClipWorker(t, server.settings, [0], 60_000);
  const talker = await (await Talker.open(t, `${address}/ws`)).connect({ mode: 'video' });
  talker.send('text_message', { text: 'Make a video.' });
  const submitted = await talker.next('task_submitted');
  await until(async () => (await server.files()).length >= 2, 'there are files');
  await kill();
  const next = await startSessions(t, { SESSION_GRACE_SECONDS: '0' }, {}, redis);
  await next.empty();
  const state = keys.state(String(submitted.data['task_id']));
  await until(
    async () => (await redis.client.hget(state, 'status')) === 'failed',
    'its task is cancelled',
  );
});

t.test('a session survives the process it was in', async (t) => {
  const redis = await startRedis(t);
  const server = await startSessions(t, {}, {}, redis);
  const { address, kill } = await startProcess(t, server);
  const worker = await startSmallestClipWorker(t, server.settings, [0], 60_000);
  const first = await (
    await Talker.open(t, `${address}/ws`)
  ).connect({ mode: 'video', speech_rate: 1.2 });
  first.send('text_message', { text: 'Make a video.' });
  await first.next('task_progress', ({ status }) => status === 'inference');
  const cut = await (await Talker.open(t, `${address}/ws`)).connect();
  cut.send('audio_stream_chunk', { chunk: 'AAAA', is_last: false, format: 'pcm' });
  const snapshot = async () => redis.client.get(`session:${cut.sessionId}`);
  await until(async () => (await snapshot())?.includes('"running"') === true, 'it is written down');
  await kill();

  const next = await startSessions(t, { SESSION_GRACE_SECONDS: '2' }, {}, redis);
  const thief = await next.client();
  thief.send('request_connection', { ...ticket(first), resume_token: 'guessed' });
  await thief.error('SESSION_UNKNOWN');
  const second = await (await next.client()).connect(ticket(first, lastSeq(first)));
  t.match(second.ack, {
    ...{ resumed: true, session_id: first.sessionId, mode: 'video' },
    chat_history: [{ type: 'user', text: 'Make a video.' }, { type: 'ai' }],
  });
  t.equal(second.frames[0]?.seq, lastSeq(first));
  t.equal((await second.next('task_progress')).data['turn_id'], 1);
  await worker.setDelay(0);
  second.send('interrupt');
  await second.next('reply_interrupted', (data) => data['turn_id'] === 1);
  second.send('text_message', { text: 'Another one.' });
  const { data } = await second.next('task_result');
  t.equal(data['turn_id'], 2);
  t.ok(inOrder(second.frames));
  second.client.socket.terminate();
  await second.client.closed;
  const third = await (await next.client()).connect(ticket(second, lastSeq(second)));
  t.equal(third.ack['resumed'], true, 'it is a session like any other');
  third.send('stop_session');
  await third.next('session_stopped_ack');

  const again = await (await next.client()).connect(ticket(cut));
  t.equal((await again.next('reply_interrupted')).data['turn_id'], 1);
  again.send('text_message', { text: 'Where were we?' });
  t.equal((await again.next('tts_audio')).data['turn_id'], 2);
  again.send('stop_session');
  await again.next('session_stopped_ack');
  await next.empty();
});
