import t from 'tap';
import { CodedError } from '../../src/errors.js';
import type { SpeakOptions, Synthesiser } from '../../src/speech/speech.js';
import { Client } from '../helpers/client.js';
import { tone } from '../helpers/samples.js';
import { startSmallestClipWorker } from '../helpers/smallest-clip.js';
import {
  ScriptedDialogue,
  ScriptedRecogniser,
  type SessionServer,
  startSessions,
} from './session-helper.js';

/** A new account: a client of the REST routes, and its access token. */
async function account(server: SessionServer, profile: object = {}) {
  const name = `user-${Math.random().toString(36).slice(2, 10)}`;
  const body = { username: name, password: 'correct horse battery', ...profile };
  const answer = await new Client(server.url).post<{ access_token: string }>(
    '/api/auth/register',
    body,
  );
  const token = answer.body.access_token;
  return { token, rest: new Client(server.url, token) };
}

t.test('who connects', async (t) => {
  const server = await startSessions(t, { AUTH: 'required' });
  const { token } = await account(server);
  const stranger = await server.client();
  stranger.send('request_connection', { mode: 'voice' });
  await stranger.error('UNAUTHORIZED');
  const { code, reason } = await stranger.client.closed;
  t.equal(code, 4401);
  t.match(reason, /^UNAUTHORIZED/);

  for (const talker of [
    await (await server.client()).connect({ token }),
    await (await server.client(`?token=${token}`)).connect(),
    await (await server.client(`?mode=voice&speech_rate=1.5&token=${token}`)).connected(),
    await (await server.client('', { authorization: `Bearer ${token}` })).connect(),
  ]) {
    t.equal(talker.ack['mode'], 'voice');
  }
  const wrong = await server.client(`?mode=song&token=${token}`);
  await wrong.error('FRAME_INVALID');
  t.equal((await wrong.connect()).ack['mode'], 'voice', 'a better request is taken');

  const open = await startSessions(t, { AUTH: 'optional' });
  await (await open.client()).connect();
  const liar = await open.client();
  liar.send('request_connection', { mode: 'voice', token: `${token}x` });
  await liar.error('TOKEN_INVALID');
  t.equal((await liar.client.closed).code, 4401);
});

t.test('a conversation is kept', async (t) => {
  const dialogue = new ScriptedDialogue(async function* ({ text }) {
    yield `I heard: ${text}. That is what you said to me.`;
  });
  const server = await startSessions(t, {}, { dialogue });
  const { token, rest } = await account(server, { nickname: 'Ada', occupation: 'engineer' });
  const conversation = { token, conversation_id: 'our-talk' };

  const stranger = await server.client();
  stranger.send('request_connection', { mode: 'voice', conversation_id: 'our-talk' });
  await stranger.error('UNAUTHORIZED');

  const first = await (await server.client()).connect(conversation);
  t.equal(first.ack['conversation_id'], 'our-talk');
  first.send('text_message', { text: 'first' });
  await first.lastAudio();
  t.match(dialogue.requests[0]?.userProfile, /Ada.*engineer/);
  first.send('stop_session');
  await first.next('session_stopped_ack');

  const second = await (await server.client()).connect(conversation);
  t.match(second.ack['chat_history'], [
    { type: 'user', text: 'first' },
    { type: 'ai', text: 'I heard: first. That is what you said to me.' },
  ]);
  second.send('text_message', { text: 'second' });
  await second.lastAudio();
  t.equal(dialogue.requests[1]?.history.length, 2);
  const { body } = await rest.get<{ role_id?: string; conversation?: { role_id: string } }>(
    '/api/conversations/our-talk',
  );
  t.equal(
    (body.conversation ?? body).role_id,
    (first.ack['ai_role'] as { role_id: string }).role_id,
  );

  const { token: other } = await account(server);
  const thief = await server.client();
  thief.send('request_connection', { ...conversation, mode: 'voice', token: other });
  await thief.error('FORBIDDEN');
});

t.test('quotas hold', async (t) => {
  let isBroken = false;
  const recogniser = new ScriptedRecogniser('Heard.');
  const dialogue = new ScriptedDialogue(async function* ({ text }) {
    if (isBroken) throw new CodedError('DIALOGUE_FAILED', 'broken');
    yield `${text}!`;
  });
  const server = await startSessions(
    t,
    { QUOTAS: 'free:messages=4,audio_seconds=5,video_seconds=4' },
    { recogniser, dialogue },
  );
  await startSmallestClipWorker(t, server.settings);
  const { token } = await account(server);
  const talker = await (await server.client()).connect({ token, mode: 'video' });
  isBroken = true;
  for (let i = 0; i < 6; i++) {
    talker.send('text_message', { text: 'What fails costs nothing' });
    await talker.error('DIALOGUE_FAILED');
  }
  isBroken = false;
  talker.send('audio_uploaded', { audio_url: await server.upload(tone(4)) });
  await talker.next('task_result');
  talker.send('audio_uploaded', { audio_url: await server.upload(tone(2)) });
  const refused = await talker.error('QUOTA_EXCEEDED');
  t.match(refused.data['message'], /\d{4}-\d\d-\d\dT00:00:00/);
  t.equal(talker.of('asr_result').length, 1, 'nothing was sent to the recogniser');
  t.equal(recogniser.heard.length, 1);
  let videos = 1;
  for (let turns = 1; turns < 4; turns++) {
    talker.send('text_message', { text: 'More and more and more words' });
    await talker.lastAudio();
    const end = await talker.client.next(
      ({ event }) => event === 'task_result' || event === 'error',
      'the end of the turn',
    );
    if (end['event'] === 'task_result') videos++;
    else t.match(end['data'], { code: 'QUOTA_EXCEEDED', message: /video/ });
  }
  t.ok(videos < 4, 'seconds of video are counted');
  talker.send('text_message', { text: 'Too many' });
  t.match((await talker.error('QUOTA_EXCEEDED')).data['message'], /messages/);
});

t.test('a user has only so many sessions', async (t) => {
  const server = await startSessions(t, { SESSIONS_PER_USER: '2' });
  const { token } = await account(server);
  const talkers = [await server.client(), await server.client(), await server.client()];
  await talkers[0]?.connect({ token });
  await talkers[1]?.connect({ token });
  talkers[2]?.send('request_connection', { mode: 'voice', token });
  await talkers[2]?.error('TOO_MANY_SESSIONS');
  talkers[0]?.send('stop_session');
  await talkers[0]?.next('session_stopped_ack');
  await talkers[2]?.connect({ token });
});

t.test('role and voice', async (t) => {
  const options: SpeakOptions[] = [];
  const synthesiser: Synthesiser = {
    name: 'scripted',
    speak: async (_text, given) => {
      options.push(given);
      return { pcm: new Uint8Array(3200), sampleRate: 16_000 };
    },
  };
  const server = await startSessions(t, {}, { synthesiser });
  const { token, rest } = await account(server);
  const { body } = await rest.post<{ role: { role_id: string } }>('/api/roles', {
    name: 'Ada',
    personality: 'precise',
    voice: 'awb',
    language: 'en-GB',
  });
  const role_id = body.role.role_id;
  const own = await (await server.client()).connect({ token, role_id });
  t.match(own.ack['ai_role'], { role_id, name: 'Ada', personality: 'precise' });
  own.send('text_message', { text: 'Hello.' });
  await own.lastAudio();
  t.match(options.pop(), { voice: 'awb', language: 'en-GB', rate: undefined });
  const changed = await (
    await server.client()
  ).connect({ token, role_id, voice_id: 'rms', speech_rate: 1.5, pitch_rate: 0.8 });
  changed.send('text_message', { text: 'Hello.' });
  await changed.lastAudio();
  t.match(options.pop(), { voice: 'rms', rate: 1.5, pitch: 0.8 });

  const faceless = await server.client();
  faceless.send('request_connection', { mode: 'video', token, role_id });
  await faceless.error('PORTRAIT_MISSING');
  faceless.send('request_connection', { mode: 'voice', role_id });
  await faceless.error('ROLE_NOT_FOUND');
});
