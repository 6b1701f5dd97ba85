import t from 'tap';
import { SocketClient } from '../../scripts/socket-client.js';
import { profileGreeting } from '../../src/dialogue/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { encoded } from '../helpers/samples.js';
import { until } from '../helpers/until.js';
import { messages, segments, spoken, startLifeEcho, used } from './life-echo-helper.js';

const profile = {
  nickname: 'Ada',
  birth_year: 1950,
  birth_place: 'Leeds',
  grew_up_place: 'York',
  occupation: 'teacher',
};

t.test('who may connect', async (t) => {
  const server = await startLifeEcho(t);
  const { user, token } = await server.user();
  const stranger = await server.user();
  await server.services.conversations.open('theirs', stranger.user);
  await server.services.conversations.open('gone', user);
  await server.services.conversations.remove('gone', user);
  const end = async (path: string) => {
    const socket = await SocketClient.connect(`${server.url}/ws/conversation/${path}`);
    const { code, reason } = await socket.closed;
    return [code, reason, ...socket.received.map((frame) => frame['type'])] as const;
  };
  for (const path of ['a', 'a?token=', 'a?other=1']) {
    t.match(await end(path), [1008, /^UNAUTHORIZED: .*missing/]);
    t.equal((await end(path)).length, 2, 'and no frame');
  }
  t.match(await end('a?token=nonsense'), [1008, /^TOKEN_INVALID: /]);
  const refresh = await server.db.selectFrom('refresh_tokens').selectAll().execute();
  t.match(await end(`a?token=${refresh[0]?.id}`), [1008, /^TOKEN_INVALID: /]);
  await server.db.deleteFrom('users').where('id', '=', user.id).execute();
  t.match(await end(`a?token=${token}`), [1008, /^TOKEN_INVALID: /], 'unknown user');
  const other = await server.user();
  t.match(await end(`theirs?token=${other.token}`), [1008, /^FORBIDDEN: /, 'error']);
  t.match(await end(`b%20c?token=${other.token}`), [1008, /^BAD_REQUEST: /, 'error']);
  t.equal(server.sessions.size, 0);
});

t.test('a deleted conversation', async (t) => {
  const server = await startLifeEcho(t);
  const { user, token } = await server.user();
  await server.services.conversations.open('gone', user);
  await server.services.conversations.remove('gone', user);
  const client = await server.connect('gone', token, true);
  t.match(await client.error('CONVERSATION_DELETED'), /deleted/);
  t.match(await client.socket.closed, { code: 1008, reason: /^CONVERSATION_DELETED: / });
  t.strictSame(client.all('connect'), []);
});

t.test('an unknown id makes a conversation, which opens with questions', async (t) => {
  const server = await startLifeEcho(t, { openingPauseMs: 300 });
  const { user, token } = await server.user({ nickname: 'Ada' });
  const client = await server.connect('new', token, true);
  const connect = await client.socket.next(() => true, 'the first frame');
  t.match(connect, { type: 'connect', conversation_id: 'new', data: { status: 'connected' } });
  t.match(connect['timestamp'], /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  const missing = ['birth_year', 'birth_place', 'grew_up_place', 'occupation'] as const;
  const expected = profileGreeting(missing, 'Ada');
  t.ok(expected.length > 1);
  for (const [index, text] of expected.entries()) {
    t.strictSame(await client.next('agent_response'), { text, index, total: expected.length });
  }
  const times = client.socket.frames
    .filter(({ frame }) => frame['type'] === 'agent_response')
    .map(({ frame }) => Date.parse(String(frame['timestamp'])));
  t.ok((times[1] as number) - (times[0] as number) > 250, 'with a pause between');
  await until(async () => (await messages(server, 'new')).length === expected.length, 'stored');
  const rows = await server.services.conversations.messages('new', { limit: 10 });
  t.ok(rows.every((row) => row.speaker === 'ai'));
  t.equal(new Set(rows.map((row) => row.turn_id)).size, 1);
  const row = await server.services.conversations.find('new', user);
  t.match(row, { status: 'active', role_id: (await server.services.roles.standard()).id });
  t.strictSame(await used(server, user), { messages: 0, audio_seconds: 0, video_seconds: 0 });
  await client.socket.close(1000);
  await until(() => server.sessions.size === 0, 'the session ended');

  const again = await server.connect('new', token, true);
  again.send('text', { text: 'I was born in 1950.' });
  t.strictSame(await again.answer('I was born in 1950.'), {
    text: 'I was born in 1950.',
    index: 0,
    total: 1,
  });
  t.equal(again.all('agent_response').length, 1, 'a conversation with history does not open anew');
});

t.test('a full profile gets an opening that fits it', async (t) => {
  const server = await startLifeEcho(t);
  const { token } = await server.user(profile);
  const client = await server.connect('c', token);
  const texts = client.all('agent_response').map(({ text }) => String(text));
  t.match(texts.join(' '), /Ada/);
  t.notMatch(texts.join(' '), /what may I call you/i);
});

t.test('text: stored as a segment, answered, counted', async (t) => {
  const server = await startLifeEcho(t, { settings: { QUOTAS: 'free:messages=2' } });
  const { user, token } = await server.user(profile);
  const client = await server.connect('c', token);
  const before = (await messages(server, 'c')).length;
  client.send('text', { text: 'Hello.' });
  client.send('text', { text: 'How are you?' });
  client.send('text', { text: 'One too many.' });
  t.match(await client.error('QUOTA_EXCEEDED'), /2 messages.*\d{4}-\d\d-\d\dT00:00:00/);
  await client.answer('How are you?');
  t.strictSame(
    client
      .all('agent_response')
      .slice(-2)
      .map(({ text }) => text),
    ['Hello.', 'How are you?'],
    'in order',
  );
  await until(
    async () => (await segments(server, 'c')).join() === 'Hello.,How are you?',
    'taken up',
  );
  t.strictSame((await messages(server, 'c')).slice(before), [
    'user: Hello.',
    'ai: Hello.',
    'user: How are you?',
    'ai: How are you?',
  ]);
  t.match(await used(server, user), { messages: 2 });
  t.equal(client.socket.socket.readyState, 1, 'an error leaves the socket open');
});

t.test('the reply of an audio message', async (t) => {
  const server = await startLifeEcho(t);
  const { user, token } = await server.user(profile);
  const client = await server.connect('c', token);
  client.send('audio_message', { audio_base64: spoken('Good morning.'), duration: 3 });
  t.strictSame(await client.next('transcript'), { text: 'Good morning.', audio_duration: 3 });
  await client.answer('Good morning.');
  const rows = await server.db.selectFrom('segments').selectAll().execute();
  t.match(rows, [{ audio_duration_seconds: 0.23 }], 'what is stored was measured');
  await until(async () => (await used(server, user))['messages'] === 1, 'settled');

  client.send('audio_message', { audio_base64: spoken('And again.') });
  t.strictSame(await client.next('transcript'), { text: 'And again.', audio_duration: 0.2 });
  await client.answer('And again.');
  client.send('audio_message', { audio_base64: spoken('fail') });
  t.match(await client.error('ASR_FAILED'), /the service said/);
  client.send('audio_message', { audio_base64: Buffer.from('no sound').toString('base64') });
  t.match(await client.error('AUDIO_UNREADABLE'), /expected audio/);
  client.send('audio_message', { audio_base64: spoken('wordless') });
  t.match(await client.error('ASR_UNAVAILABLE'), /ASR/);
  client.send('audio_message', {});
  t.match(await client.error('FRAME_INVALID'), /audio_base64/);
  t.match(await used(server, user), { messages: 2 }, 'failures cost no message');
});

t.test('recordings are judged by their content', async (t) => {
  const server = await startLifeEcho(t);
  const { token } = await server.user(profile);
  const client = await server.connect('c', token);
  const files = encoded(await temporaryFolder(t), [
    ['sound.m4a', ['-map', '0:a', '-c:a', 'aac', '-f', 'mp4']],
    ['sound.webm', ['-map', '0:a', '-c:a', 'libopus']],
  ]);
  for (const [segment_index, file] of files.entries()) {
    const audio_base64 = Buffer.from(file).toString('base64');
    client.send('audio_segment', { voice_session_id: 'v', segment_index, audio_base64 });
  }
  await until(() => server.recogniser.mimes.length === 2, 'both are heard');
  t.strictSame([...server.recogniser.mimes].sort(), ['audio/mp4', 'audio/webm']);
});

t.test('transcribe_only: a transcript and nothing else', async (t) => {
  const server = await startLifeEcho(t);
  const { token } = await server.user(profile);
  const client = await server.connect('c', token);
  const count = client.socket.received.length;
  client.send('transcribe_only', { audio_base64: spoken('Just words.') });
  t.strictSame(await client.next('transcript'), { text: 'Just words.' });
  client.send('transcribe_only', { audio_base64: spoken('silence') });
  t.strictSame(await client.next('transcript'), { text: '' });
  client.send('transcribe_only', { audio_base64: spoken('crash') });
  t.notMatch(await client.error('INTERNAL'), /secret/);
  client.send('text', { text: 'done' });
  await client.answer('done');
  t.equal(client.socket.received.length, count + 4);
  await until(
    async () => (await segments(server, 'c')).join() === 'done',
    'nothing else is stored',
  );
});

t.test('malformed, unknown and invalid frames leave the socket open', async (t) => {
  const server = await startLifeEcho(t);
  const { token } = await server.user(profile);
  const client = await server.connect('c', token);
  client.socket.socket.send('{"type"');
  await client.error('FRAME_MALFORMED');
  client.send('sing', {});
  t.match(await client.error('FRAME_UNKNOWN'), /recording_started/);
  client.send('audio_segment', {
    audio_base64: spoken('x'),
    voice_session_id: 'v',
    segment_index: -1,
  });
  t.match(await client.error('FRAME_INVALID'), /segment_index/);
  const frame = client.socket.received.at(-1);
  t.match(frame, { type: 'error', conversation_id: 'c', timestamp: String });
  client.send('text', { text: 'still here' });
  await client.answer('still here');
});

t.test('a second connection takes over; a reply in the making reaches it', async (t) => {
  const server = await startLifeEcho(t);
  const { token } = await server.user(profile);
  const first = await server.connect('c', token);
  first.send('audio_message', { audio_base64: spoken('hold:a the answer') });
  await until(() => server.recogniser.holds('a'), 'it is being recognised');
  const second = await server.connect('c', token, true);
  await second.next('connect');
  t.match(await first.error('SESSION_REPLACED'), /another connection/);
  t.match(await first.socket.closed, { code: 4409, reason: /^SESSION_REPLACED: / });
  server.recogniser.release('a');
  t.match(await second.next('transcript'), { text: 'the answer' });
  await second.answer('the answer');
  t.equal(server.sessions.size, 1);
  second.send('text', { text: 'go on' });
  await second.answer('go on');
});

t.test('a client that vanished and comes back hears what it missed', async (t) => {
  const server = await startLifeEcho(t);
  const { token } = await server.user(profile);
  const first = await server.connect('c', token);
  first.send('audio_message', { audio_base64: spoken('hold:a meanwhile') });
  await until(() => server.recogniser.holds('a'), 'it is being recognised');
  first.socket.socket.terminate();
  await first.socket.closed;
  server.recogniser.release('a');
  await until(async () => (await segments(server, 'c')).join() === 'meanwhile', 'answered');
  const second = await server.connect('c', token, true);
  await second.next('connect');
  await second.next('transcript');
  await second.answer('meanwhile');
});

t.test('a conversation that is deleted meanwhile', async (t) => {
  const server = await startLifeEcho(t);
  const { user, token } = await server.user(profile);
  const client = await server.connect('c', token);
  await server.services.conversations.remove('c', user);
  client.send('text', { text: 'Anybody there?' });
  t.match(await client.error('CONVERSATION_DELETED'), /deleted/);
  await until(async () => (await used(server, user))['messages'] === 0, 'and nothing is counted');
});

t.test('end_conversation: what waits is answered, then it ends', async (t) => {
  const server = await startLifeEcho(t);
  const { user, token } = await server.user(profile);
  const client = await server.connect('c', token);
  client.send('text', { text: 'first' });
  client.segment('v', 0, 'hold:a half');
  client.segment('v', 1, 'said');
  client.send('end_conversation');
  await until(() => server.recogniser.holds('a'), 'it is being recognised');
  client.send('text', { text: 'too late' });
  t.match(await client.error('SESSION_NOT_CONNECTED'), /ended/);
  server.recogniser.release('a');
  await client.answer('half said');
  t.strictSame(await client.next('end_conversation'), { status: 'ended' });
  t.match(await client.socket.closed, { code: 1000 });
  const row = await server.services.conversations.find('c', user);
  t.equal(row.status, 'ended');
  t.ok(row.ended_at !== null && row.ended_at <= Date.now());
  t.strictSame(await segments(server, 'c'), ['first', 'half', 'said']);
  t.equal(server.sessions.size, 0);
  t.strictSame((await messages(server, 'c')).slice(-2), ['user: half said', 'ai: half said']);
});

t.test('end_conversation and gone: it ends all the same', async (t) => {
  const server = await startLifeEcho(t);
  const { user, token } = await server.user(profile);
  const client = await server.connect('c', token);
  client.send('end_conversation');
  await client.socket.close(1000);
  const status = async () => (await server.services.conversations.find('c', user)).status;
  await until(async () => (await status()) === 'ended', 'it ended');
  await until(() => server.sessions.size === 0, 'no session is left');
});

t.test('the end of the server', async (t) => {
  const server = await startLifeEcho(t);
  const { token } = await server.user(profile);
  const client = await server.connect('c', token);
  client.send('recording_started', { voice_session_id: 'v' });
  client.segment('v', 0, 'hold:a never');
  await until(() => server.recogniser.holds('a'), 'it is being recognised');
  await server.close();
  t.match(await client.socket.closed, { code: 1001, reason: /^SERVER_STOPPING: / });
  t.equal(server.sessions.size, 0);
  await until(() => server.recogniser.running === 0, 'nothing is recognised any more');
});
