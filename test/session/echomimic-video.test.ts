import { createHash } from 'node:crypto';
import t from 'tap';
import { keys } from '../../src/queue/keys.js';
import type { Speech, Synthesiser } from '../../src/speech/speech.js';
import { until } from '../helpers/redis.js';
import { picture } from '../helpers/samples.js';
import { stampOf, startSmallestClipWorker } from '../helpers/smallest-clip.js';
import { openWorker } from '../helpers/tasks.js';
import {
  type Frame,
  ScriptedDialogue,
  ScriptedRecogniser,
  type SessionServer,
  type Talker,
  download,
  gate,
  inOrder,
  startSessions,
} from './session-helper.js';

const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');

t.test('the voice comes first, then the video of it', async (t) => {
  const dialogue = new ScriptedDialogue(async function* () {
    yield 'This is what I have to tell you. It takes two sentences, you see.';
  });
  const server = await startSessions(t, {}, { dialogue });
  await startSmallestClipWorker(t, server.settings, [0], 100);
  const talker = await (await server.client()).connect({ mode: 'video' });
  talker.send('text_message', { text: 'Tell me.' });
  await talker.lastAudio();
  const submitted = await talker.next('task_submitted');
  t.match(submitted.data, { task_id: /^[0-9a-f-]{36}$/, position: 0, turn_id: 1 });
  const result = await talker.next('task_result');
  t.match(result.data, { task_id: submitted.data['task_id'], status: 'completed', turn_id: 1 });

  const order = talker.frames.map(({ event }) => event);
  t.ok(order.lastIndexOf('tts_audio') < order.indexOf('task_submitted'));
  t.ok(order.indexOf('task_progress') > order.indexOf('task_submitted'));
  t.ok(order.lastIndexOf('task_progress') < order.indexOf('task_result'));
  const progress = talker.of('task_progress').map(({ data }) => Number(data['percentage']));
  t.same(
    progress,
    [...progress].sort((a, b) => a - b),
    'progress never goes back',
  );
  t.ok(inOrder(talker.frames));

  const stamp = stampOf(await download(result.data['video_url']));
  t.equal(stamp?.session_id, talker.sessionId);
  t.equal(stamp?.task_id, submitted.data['task_id']);
  const portrait = await download((talker.ack['ai_role'] as Record<string, string>)['image_url']);
  t.equal(stamp?.image, sha256(portrait), 'the portrait of the role speaks');
  const voices = await Promise.all(
    talker.of('tts_audio').map(({ data }) => download(data['audio_url'])),
  );
  t.equal(voices.length, 2);

  talker.client.socket.terminate();
  const again = await (
    await server.client()
  ).connect({
    ...{ session_id: talker.sessionId, resume_token: talker.ack['resume_token'], last_seq: 0 },
  });
  const history = again.ack['chat_history'] as Record<string, string>[];
  t.match(history[1], { type: 'ai', video_url: result.data['video_url'] });
  const whole = await download(history[1]?.['audio_url']);
  t.equal(stamp?.audio, sha256(whole), 'it speaks both sentences');
  t.equal(
    whole.length - 44,
    voices.reduce((sum, voice) => sum + voice.length - 44, 0),
  );
  again.send('stop_session');
  await again.next('session_stopped_ack');
  await server.empty();
});

t.test('a recording drives the portrait when no words are recognised', async (t) => {
  const server = await startSessions(t);
  await startSmallestClipWorker(t, server.settings);
  const image = await picture();
  const imageId = await server.upload(image);
  const talker = await (await server.client()).connect({ mode: 'video', image_id: imageId });
  talker.send('audio_uploaded', { audio_url: await server.upload() });
  const { data } = await talker.lastAudio();
  const result = await talker.next('task_result');
  const stamp = stampOf(await download(result.data['video_url']));
  t.equal(stamp?.audio, sha256(await download(data['audio_url'])));
  t.equal(stamp?.image, sha256(image));
});

t.test('video needs a picture', async (t) => {
  const server = await startSessions(t);
  const talker = await server.client();
  talker.send('request_connection', { mode: 'video', image_id: await server.upload() });
  await talker.error('FILE_TYPE_UNSUPPORTED');
  talker.send('request_connection', {
    mode: 'video',
    image_id: '550e8400-e29b-41d4-a716-446655440000',
  });
  await talker.error('FILE_NOT_FOUND');
  const imageId = await server.upload(await picture());
  const first = await (await server.client()).connect({ mode: 'video', image_id: imageId });
  talker.send('request_connection', { mode: 'video', image_id: imageId });
  await talker.error('FILE_NOT_FOUND');
  first.send('stop_session');
  await first.next('session_stopped_ack');
});

t.test('without a worker the turn says so, and the voice stays', async (t) => {
  const server = await startSessions(t, { TASK_WORKER_WAIT_SECONDS: '0.1' });
  const talker = await (await server.client()).connect({ mode: 'video' });
  talker.send('text_message', { text: 'Anybody there?' });
  await download((await talker.lastAudio()).data['audio_url']);
  const { data } = await talker.error('NO_WORKER_AVAILABLE');
  t.match(data, { turn_id: 1, task_id: String });
  talker.send('stop_session');
  await talker.next('session_stopped_ack');
  await server.empty();
});

t.test('a video whose task Redis has lost is not waited for', async (t) => {
  const server = await startSessions(t);
  await openWorker(t, server.redis);
  const talker = await (await server.client()).connect({ mode: 'video' });
  talker.send('text_message', { text: 'Still there?' });
  const { task_id } = (await talker.next('task_submitted')).data;
  await server.redis.client.del('task_queue_gpu_0', keys.state(String(task_id)));
  t.match((await talker.error('TASK_NOT_FOUND')).data, { turn_id: 1, task_id });
});

/** Frames of a turn after the news of its end. */
function stale(talker: Talker, turn: number): Frame[] {
  const end = talker.frames.findIndex(
    ({ event, data }) => event === 'reply_interrupted' && data['turn_id'] === turn,
  );
  return talker.frames.slice(end + 1).filter(({ data }) => data['turn_id'] === turn);
}

async function nothingQueued(server: SessionServer): Promise<void> {
  const { client } = server.redis;
  await until(async () => {
    const lists = await client.keys('task_queue_gpu_0*');
    const lengths = await Promise.all(lists.map((list) => client.llen(list).catch(() => 0)));
    return lengths.every((length) => length === 0);
  }, 'no task is queued or taken');
}

t.test('an interrupt stops whatever the turn is doing', async (t) => {
  const stuck = gate();
  const slow = { hear: false, write: false, speak: false };
  const reached = { hear: gate(), write: gate(), speak: gate() };
  const signals: AbortSignal[] = [];
  const recogniser = new ScriptedRecogniser(async (_recording, { signal }) => {
    signals.push(signal);
    if (slow.hear) {
      reached.hear.open();
      await stuck.opened;
    }
    return 'Heard.';
  });
  const dialogue = new ScriptedDialogue(async function* (_request, signal) {
    signals.push(signal);
    if (slow.write) {
      reached.write.open();
      await stuck.opened;
    }
    yield 'Answered.';
  });
  // deaf to signals, as the worst of services
  const synthesiser: Synthesiser = {
    name: 'scripted',
    speak: async (): Promise<Speech> => {
      if (slow.speak) {
        reached.speak.open();
        await stuck.opened;
      }
      return { pcm: new Uint8Array(16_000), sampleRate: 16_000 };
    },
  };
  const server = await startSessions(t, {}, { recogniser, dialogue, synthesiser });
  const worker = await startSmallestClipWorker(t, server.settings, [0], 20);
  const talker = await (await server.client()).connect({ mode: 'video' });
  const { client } = server.redis;

  let turn = 0;
  const interrupt = async (stage: string) => {
    talker.send('interrupt', { session_id: talker.sessionId });
    const { data } = await talker.next('reply_interrupted');
    t.equal(data['turn_id'], turn, stage);
    for (const signal of signals.splice(0)) t.ok(signal.aborted, `${stage}: providers are told`);
  };
  const goesOn = async () => {
    talker.send('text_message', { text: 'Go on.' });
    turn++;
    await talker.next('task_result', (data) => data['turn_id'] === turn);
    signals.splice(0);
  };
  const audioId = async () => ({ audio_url: await server.upload() });

  for (const stage of ['hear', 'write', 'speak'] as const) {
    slow[stage] = true;
    talker.send('audio_uploaded', await audioId());
    turn++;
    await reached[stage].opened;
    await interrupt(stage);
    slow[stage] = false;
    const interrupted = turn;
    await goesOn();
    t.same(stale(talker, interrupted), []);
  }
  stuck.open();

  await worker.setDelay(60_000);
  talker.send('audio_uploaded', await audioId());
  turn++;
  const rendering = await talker.next('task_progress', ({ status }) => status === 'inference');
  const other = await (await server.client()).connect({ mode: 'video' });
  other.send('text_message', { text: 'Me too.' });
  const queued = await other.next('task_submitted');
  other.send('interrupt');
  await other.next('reply_interrupted');
  await worker.setDelay(20);
  await interrupt('render');
  await nothingQueued(server);
  for (const { data } of [rendering, queued]) {
    const state = keys.state(String(data['task_id']));
    t.match(await client.hgetall(state), { status: 'failed', last: /TASK_CANCELLED/ });
  }
  const rendered = turn;
  await goesOn();
  t.same(stale(talker, rendered), []);
  t.same(stale(other, 1), []);
  t.ok(inOrder(talker.frames));
  t.equal(talker.of('error').length, 0);

  talker.send('interrupt');
  talker.send('text_message', { text: 'Nothing to interrupt.' });
  turn++;
  await talker.next('task_result', (data) => data['turn_id'] === turn);
  t.equal(talker.of('reply_interrupted').length, 4, 'an interrupt of nothing says nothing');
  for (const one of [talker, other]) {
    one.send('stop_session');
    await one.next('session_stopped_ack');
  }
  await server.empty();
});

t.test('new speech cuts the old reply; typed text waits', async (t) => {
  const recogniser = new ScriptedRecogniser('And now this.');
  const server = await startSessions(t, {}, { recogniser });
  const worker = await startSmallestClipWorker(t, server.settings, [0], 60_000);
  const talker = await (await server.client()).connect({ mode: 'video' });
  talker.send('text_message', { text: 'The first.' });
  const submitted = await talker.next('task_progress', ({ status }) => status === 'inference');
  talker.send('text_message', { text: 'The second.' });
  await worker.setDelay(10);
  talker.send('audio_uploaded', { audio_url: await server.upload() });
  t.equal((await talker.next('reply_interrupted')).data['turn_id'], 1);
  await talker.next('task_result', (data) => data['turn_id'] === 2);
  t.equal((await talker.next('asr_result')).data['turn_id'], 3);
  await talker.next('task_result', (data) => data['turn_id'] === 3);
  t.same(stale(talker, 1), []);
  const state = keys.state(String(submitted.data['task_id']));
  t.equal(await server.redis.client.hget(state, 'status'), 'failed');

  // the first piece of a recording cuts as well, and an interrupt does not cut the recording
  await worker.setDelay(60_000);
  talker.send('text_message', { text: 'The fourth.' });
  await talker.next('task_submitted', (data) => data['turn_id'] === 4);
  talker.send('audio_stream_chunk', { chunk: 'AAAA', is_last: false, format: 'pcm' });
  talker.send('interrupt');
  t.equal((await talker.next('reply_interrupted')).data['turn_id'], 4);
  const rest = Buffer.alloc(32_000).toString('base64');
  talker.send('audio_stream_chunk', { chunk: rest, is_last: true });
  await worker.setDelay(10);
  t.equal((await talker.next('asr_result')).data['turn_id'], 5);
  await talker.next('task_result', (data) => data['turn_id'] === 5);

  await worker.setDelay(60_000);
  for (const text of ['The sixth.', 'The seventh.', 'The eighth.']) {
    talker.send('text_message', { text });
  }
  await talker.next('task_submitted', (data) => data['turn_id'] === 6);
  talker.send('interrupt');
  for (const turn of [6, 7, 8]) {
    t.equal((await talker.next('reply_interrupted')).data['turn_id'], turn);
  }
  t.ok(inOrder(talker.frames));
});
