import t from 'tap';
import { readWav } from '../../src/media/wav.js';
import { CodedError } from '../../src/errors.js';
import { tone } from '../helpers/samples.js';
import {
  ScriptedDialogue,
  ScriptedRecogniser,
  download,
  gate,
  inOrder,
  startSessions,
} from './session-helper.js';

t.test('an uploaded recording is heard, answered and spoken', async (t) => {
  const recogniser = new ScriptedRecogniser('Good morning, my dear.');
  const server = await startSessions(t, {}, { recogniser });
  const talker = await (await server.client()).connect();
  t.equal(talker.ack['mode'], 'voice');
  t.same(talker.ack['chat_history'], []);
  const role = talker.ack['ai_role'] as Record<string, string>;
  t.match(role, { role_id: String, name: /\w/, personality: /\w/ });
  t.ok((await download(role['image_url'])).length > 1000, 'the portrait can be fetched');

  const recording = tone(0.5);
  const id = await server.upload(recording);
  talker.send('audio_uploaded', {
    session_id: talker.sessionId,
    audio_url: `https://elsewhere.example/api/tempfile/download/${id}`,
  });
  const heard = await talker.next('asr_result');
  t.equal(heard.data['user_text'], 'Good morning, my dear.');
  t.same(await download(heard.data['original_audio_url']), Buffer.from(recording));
  t.same(Buffer.from(recogniser.heard[0]?.data ?? []), Buffer.from(recording));
  const reply = await talker.lastAudio();
  t.match(reply.data, { ai_text: 'Good morning, my dear.', index: 0, turn_id: 1 });
  const sound = readWav(await download(reply.data['audio_url']));
  t.ok((sound?.pcm.length ?? 0) / 2 / (sound?.sampleRate ?? 1) > 0.5, 'flite spoke');
  t.ok(inOrder(talker.frames));

  talker.send('stop_session', { session_id: talker.sessionId });
  await talker.next('session_stopped_ack');
  t.same(await server.files(), [], 'the files are gone when the goodbye comes');
  t.equal((await talker.client.closed).code, 1000);
  await server.empty();
});

t.test('sentences are spoken while the model writes', async (t) => {
  const spoken = gate();
  const dialogue = new ScriptedDialogue(async function* () {
    yield 'The first sentence is ready now. And';
    await spoken.opened;
    yield ' the second one comes later, as you see. ';
    yield 'This is the third and last sentence.';
  });
  const server = await startSessions(t, {}, { dialogue });
  const talker = await (await server.client()).connect();
  talker.send('text_message', { text: 'Tell me something.' });
  const first = await talker.next('tts_audio');
  t.match(first.data, { index: 0, is_last: false, ai_text: 'The first sentence is ready now.' });
  spoken.open();
  const last = await talker.lastAudio();
  t.match(last.data, { index: 2, ai_text: 'This is the third and last sentence.' });
  const texts = talker.of('tts_audio').map(({ data }) => data['ai_text']);
  t.same(
    texts.join(' '),
    'The first sentence is ready now. And the second one comes later, as you see. This is the third and last sentence.',
  );
  t.equal(new Set(talker.of('tts_audio').map(({ data }) => data['audio_url'])).size, 3);
  t.ok(inOrder(talker.frames));
});

t.test('a model that pauses after what was its last sentence still ends the reply', async (t) => {
  const spoken = gate();
  const dialogue = new ScriptedDialogue(async function* () {
    yield 'This is all I have to say.\n\n';
    await spoken.opened;
  });
  const server = await startSessions(t, {}, { dialogue });
  const talker = await (await server.client()).connect();
  talker.send('text_message', { text: 'Say it.' });
  t.equal((await talker.next('tts_audio')).data['is_last'], false);
  spoken.open();
  const last = await talker.lastAudio();
  t.match(last.data, { ai_text: '', index: 1 });
  t.ok(readWav(await download(last.data['audio_url'])), 'there is something to play, of silence');
});

t.test('turns run in order, and only so many wait', async (t) => {
  const first = gate();
  const dialogue = new ScriptedDialogue(async function* ({ text }) {
    if (text === 'one') await first.opened;
    yield `${text}.`;
  });
  const server = await startSessions(t, { SESSION_MAX_TURNS_WAITING: '2' }, { dialogue });
  const talker = await (await server.client()).connect();
  for (const text of ['one', 'two', 'three', 'four']) talker.send('text_message', { text });
  await talker.error('TOO_MANY_TURNS');
  first.open();
  for (const text of ['one', 'two', 'three']) {
    t.equal((await talker.lastAudio()).data['ai_text'], `${text}.`);
  }
  t.same(
    dialogue.requests.at(-1)?.history.map(({ speaker, text }) => `${speaker}: ${text}`),
    ['user: one', 'ai: one.', 'user: two', 'ai: two.'],
    'the model knows what was said before',
  );
});

t.test('pieces become one recording', async (t) => {
  const recogniser = new ScriptedRecogniser('Heard.');
  const server = await startSessions(t, { MAX_AUDIO_SECONDS: '2' }, { recogniser });
  const talker = await (await server.client()).connect();
  const pcm = Buffer.from(tone(1)).subarray(44);
  for (let at = 0; at < pcm.length; at += 8000) {
    talker.send('audio_stream_chunk', {
      chunk: pcm.subarray(at, at + 8000).toString('base64'),
      is_last: at + 8000 >= pcm.length,
      format: 'pcm',
      timestamp: 17,
    });
  }
  const { data } = await talker.next('asr_result');
  const stored = readWav(await download(data['original_audio_url']));
  t.same(stored?.pcm, pcm);
  t.equal(stored?.sampleRate, 16000);
  await talker.lastAudio();

  const whole = Buffer.from(tone(0.4)).toString('base64');
  talker.send('audio_stream_chunk', { chunk: whole, is_last: false });
  talker.send('audio_stream_chunk', { chunk: '', is_last: true });
  await talker.next('asr_result');
  await talker.lastAudio();

  for (let i = 0; i < 3; i++) {
    talker.send('audio_stream_chunk', {
      chunk: pcm.toString('base64'),
      is_last: i === 2,
      format: 'pcm',
    });
  }
  await talker.error('AUDIO_TOO_LONG');
  talker.send('audio_stream_chunk', { chunk: 'AAAA', is_last: true });
  await talker.error('AUDIO_UNREADABLE');
  talker.send('audio_stream_chunk', { chunk: '', is_last: true });
  await talker.error('AUDIO_EMPTY');
  talker.send('text_message', { text: 'The session goes on.' });
  await talker.lastAudio();
});

t.test('parrot gives the recording back', async (t) => {
  const server = await startSessions(t);
  const talker = await (await server.client()).connect();
  const id = await server.upload();
  talker.send('audio_uploaded', { audio_url: id });
  t.equal((await talker.next('asr_result')).data['user_text'], '');
  const { data } = await talker.lastAudio();
  t.match(data, { ai_text: '', audio_url: new RegExp(id) });
});

t.test('what fails ends a turn, not the session', async (t) => {
  const recogniser = new ScriptedRecogniser('');
  const dialogue = new ScriptedDialogue(async function* ({ text }) {
    if (text === 'fail') throw new CodedError('DIALOGUE_FAILED', 'the model said no: 42');
    if (text === 'bug') throw new Error('secret of the server');
    yield 'This sentence was spoken before it went wrong. And';
    if (text === 'half') throw new CodedError('DIALOGUE_UNAVAILABLE', 'it went away');
  });
  const server = await startSessions(t, {}, { recogniser, dialogue });
  const talker = await (await server.client()).connect();
  talker.send('audio_uploaded', { audio_url: await server.upload() });
  t.match((await talker.error('SPEECH_NOT_UNDERSTOOD')).data, { turn_id: 1 });
  recogniser.answer = async () => {
    throw new CodedError('ASR_UNAVAILABLE', 'nobody listens');
  };
  talker.send('audio_uploaded', { audio_url: await server.upload() });
  t.match((await talker.error('ASR_UNAVAILABLE')).data, { turn_id: 2, message: 'nobody listens' });
  talker.send('text_message', { text: 'fail' });
  t.match((await talker.error('DIALOGUE_FAILED')).data['message'], /42/);
  talker.send('text_message', { text: 'bug' });
  t.notMatch((await talker.error('INTERNAL')).data['message'], /secret/);
  talker.send('text_message', { text: 'half' });
  await talker.next('tts_audio');
  await talker.error('DIALOGUE_UNAVAILABLE');
  talker.send('text_message', { text: 'go on' });
  await talker.lastAudio();
  t.same(
    dialogue.requests.at(-1)?.history.at(-1)?.text,
    'This sentence was spoken before it went wrong.',
    'what was said stays said',
  );
});

t.test('frames are checked', async (t) => {
  const server = await startSessions(t, { SESSION_MAX_TEXT: '20' });
  const talker = await server.client();
  talker.send('text_message', { text: 'hello' });
  await talker.error('SESSION_NOT_CONNECTED');
  for (const wrong of [
    { mode: 'song' },
    { mode: 'voice', speech_rate: 9 },
    { mode: 'voice', speech_rate: '1' },
    { mode: 'voice', conversation_id: 'a b' },
    { mode: 'voice', resume_token: 'x' },
    {},
  ]) {
    talker.send('request_connection', wrong);
    await talker.error('FRAME_INVALID');
    talker.send('request_connection', { mode: 'voice', role_id: 'nobody' });
    await talker.error('ROLE_NOT_FOUND');
  }
  await talker.connect({ something: 'else', role_id: null });
  talker.send('request_connection', { mode: 'voice' });
  await talker.error('FRAME_INVALID');
  const wrong: [string, unknown, string][] = [
    ['text_message', { text: '' }, 'FRAME_INVALID'],
    ['text_message', { text: 'x'.repeat(21) }, 'TEXT_TOO_LONG'],
    ['text_message', { text: 'hi', session_id: 'another' }, 'SESSION_UNKNOWN'],
    ['audio_uploaded', { audio_url: 'https://example.com/secret.wav' }, 'FRAME_INVALID'],
    ['audio_uploaded', { audio_url: '../../etc/passwd' }, 'FRAME_INVALID'],
    ['audio_uploaded', { audio_url: '550e8400-e29b-41d4-a716-446655440000' }, 'FILE_NOT_FOUND'],
    ['audio_stream_chunk', { chunk: 'not base64!', is_last: true }, 'FRAME_INVALID'],
    ['audio_stream_chunk', { chunk: 'AA==' }, 'FRAME_INVALID'],
    ['interrupt', [], 'FRAME_INVALID'],
    ['dance', {}, 'FRAME_UNKNOWN'],
  ];
  for (const [event, data, code] of wrong) {
    talker.send(event, data as Record<string, unknown>);
    await talker.error(code);
  }
  talker.send('text_message', { text: 'still here', session_id: talker.sessionId });
  await talker.lastAudio();
  t.ok(inOrder(talker.frames.filter(({ seq }) => seq !== undefined)));
});
