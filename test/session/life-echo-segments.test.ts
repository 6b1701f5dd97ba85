import fc from 'fast-check';
import t, { type Test } from 'tap';
import { listeningFeedback } from '../../src/dialogue/index.js';
import { until } from '../helpers/until.js';
import {
  type LifeEchoServerOptions,
  messages,
  segments,
  spoken,
  startLifeEcho,
  used,
} from './life-echo-helper.js';

const profile = {
  nickname: 'Ada',
  birth_year: 1950,
  birth_place: 'Leeds',
  grew_up_place: 'York',
  occupation: 'teacher',
};

async function start(t: Test, options: LifeEchoServerOptions = {}) {
  const server = await startLifeEcho(t, options);
  const { user, token } = await server.user(profile);
  const client = await server.connect('c', token);
  const answers = () => client.all('agent_response').map(({ text }) => String(text));
  const opening = answers().length;
  return { server, user, token, client, answers: () => answers().slice(opening) };
}

t.test('segments out of order, twice, all at once: one answer to the whole', async (t) => {
  const { server, user, client, answers } = await start(t);
  client.segment('v', 2, 'three', true);
  client.segment('v', 0, 'hold:zero one');
  client.segment('v', 0, 'hold:zero one');
  client.segment('v', 1, 'two');
  client.segment('v', 1, 'another two');
  await until(() => server.recogniser.heard.length === 3, 'three are heard at the same time');
  t.strictSame(answers(), []);
  server.recogniser.release('zero');
  await client.answer('one two three');
  client.segment('v', 0, 'one again');
  client.segment('v', 2, 'three again', true);
  client.send('text', { text: 'after' });
  await client.answer('after');
  t.strictSame(answers(), ['one two three', 'after']);
  t.equal(server.recogniser.heard.length, 3, 'duplicates are not even listened to');
  await until(
    async () => (await segments(server, 'c')).join() === 'one,two,three,after',
    'stored in order and taken up',
  );
  t.strictSame((await messages(server, 'c')).slice(-4), [
    'user: one two three',
    'ai: one two three',
    'user: after',
    'ai: after',
  ]);
  t.match(await used(server, user), { messages: 2, audio_seconds: 3 });
});

t.test('any order and any duplicates lead to the same answer', async (t) => {
  const { server, client } = await start(t);
  const orders = fc.sample(
    fc.shuffledSubarray([0, 1, 2, 3, 4, 0, 1, 2, 3, 4], { minLength: 10, maxLength: 10 }),
    20,
  );
  for (const [n, order] of orders.entries()) {
    for (const index of order) client.segment(`v${n}`, index, `word${n}-${index}`, index === 4);
    await client.answer([0, 1, 2, 3, 4].map((index) => `word${n}-${index}`).join(' '));
  }
  t.equal(server.recogniser.heard.length, 100);
});

t.test('some are transcribed at the same time, but not all', async (t) => {
  const { server, client } = await start(t);
  for (let i = 0; i < 12; i++) client.segment('v', i, `hold:${i} w${i}`, i === 11);
  await until(() => server.recogniser.running === 4, 'four are underway');
  for (let i = 0; i < 12; i++) {
    await until(() => server.recogniser.holds(String(i)), `${i} is underway`);
    t.ok(server.recogniser.running <= 4);
    server.recogniser.release(String(i));
  }
  await client.answer(Array.from({ length: 12 }, (_, i) => `w${i}`).join(' '));
  t.equal(server.recogniser.mostAtOnce, 4);
});

t.test('one that cannot be transcribed: an error, and the rest goes on', async (t) => {
  const { server, user, client } = await start(t);
  client.segment('v', 0, 'good');
  client.segment('v', 1, 'fail');
  client.send('audio_segment', {
    voice_session_id: 'v',
    segment_index: 2,
    audio_base64: Buffer.from('no sound').toString('base64'),
  });
  client.segment('v', 3, 'crash');
  client.segment('v', 4, 'silence');
  client.segment('v', 5, 'ending', true);
  await client.answer('good ending');
  const codes = client.all('error').map(({ code }) => code);
  t.strictSame([...codes].sort(), ['ASR_FAILED', 'AUDIO_UNREADABLE', 'INTERNAL']);
  await until(async () => (await segments(server, 'c')).join() === 'good,ending', 'stored');
  await until(
    async () => (await used(server, user))['audio_seconds'] === 3,
    'failures cost nothing',
  );
});

t.test('nothing understood at all', async (t) => {
  const { server, user, client, answers } = await start(t);
  client.segment('v', 0, 'silence', true);
  t.match(await client.error('SPEECH_NOT_UNDERSTOOD'), /no words/);
  client.segment('w', 0, 'wordless', true);
  t.match(await client.error('ASR_UNAVAILABLE'), /ASR=parrot.*send text/);
  client.send('text', { text: 'then in writing' });
  await client.answer('then in writing');
  t.strictSame(answers(), ['then in writing']);
  t.equal(client.all('error').length, 2, 'one error for each');
  await until(
    async () => (await used(server, user))['messages'] === 1,
    'and no message is counted',
  );
});

t.test('a segment that never comes', async (t) => {
  const { client } = await start(t, { missingSegmentMs: 150 });
  client.segment('v', 0, 'one');
  client.segment('v', 2, 'three');
  client.segment('v', 4, 'five', true);
  t.match(await client.error('SEGMENT_MISSING'), /"v".*: 1, 3;/);
  await client.answer('one three five');
  client.segment('v', 1, 'two, too late');
  client.send('text', { text: 'next' });
  await client.answer('next');
  t.equal(client.all('error').length, 1);
});

t.test('an utterance keeps its place in line while it is transcribed', async (t) => {
  const { server, client, answers } = await start(t);
  client.segment('v', 0, 'hold:slow spoken first', true);
  client.send('text', { text: 'typed second' });
  client.send('audio_message', { audio_base64: spoken('said third') });
  await until(() => server.recogniser.holds('slow'), 'the first is underway');
  t.strictSame(answers(), []);
  server.recogniser.release('slow');
  await client.answer('said third');
  t.strictSame(answers(), ['spoken first', 'typed second', 'said third']);
});

t.test('listening feedback: once, if nothing final comes', async (t) => {
  const { client, answers } = await start(t, { settings: { LISTENING_FEEDBACK_SECONDS: '0.1' } });
  client.send('recording_started', { voice_session_id: 'long' });
  client.send('recording_started', { voice_session_id: 'long' });
  client.segment('long', 0, 'so');
  t.strictSame(await client.answer(listeningFeedback('long')), {
    text: listeningFeedback('long'),
    index: 0,
    total: 1,
  });
  client.send('recording_started', { voice_session_id: 'long' });
  client.send('recording_started', { voice_session_id: 'short' });
  client.segment('short', 0, 'quickly said', true);
  await client.answer('quickly said');
  await new Promise((resolve) => setTimeout(resolve, 250));
  t.strictSame(answers(), [listeningFeedback('long'), 'quickly said']);
  client.segment('long', 1, 'it ends', true);
  await client.answer('so it ends');
  client.send('recording_started', { voice_session_id: 'long' });
  client.send('recording_started', {});
  t.match(await client.error('FRAME_INVALID'), /voice_session_id is missing/);
  t.equal(answers().length, 3);
});

t.test('the id of the segment may name the voice session', async (t) => {
  const { client } = await start(t);
  const send = (id: string, segment_index: number, text: string, is_last = false) =>
    client.send('audio_segment', {
      client_segment_id: id,
      ...{ segment_index, is_last, audio_base64: spoken(text) },
    });
  send('walk_1', 1, 'world', true);
  send('walk_0', 0, 'hello');
  await client.answer('hello world');
  send('walk', 2, 'x');
  t.match(await client.error('FRAME_INVALID'), /client_segment_id/);
});

t.test('quotas of segments', async (t) => {
  const { server, user, client } = await start(t, {
    settings: { QUOTAS: 'free:messages=1,audio_seconds=2' },
  });
  client.segment('v', 0, 'one');
  client.segment('v', 1, 'two');
  await until(() => server.recogniser.heard.length === 2, 'two are heard');
  client.segment('v', 2, 'three', true);
  t.match(await client.error('QUOTA_EXCEEDED'), /seconds of audio/);
  await client.answer('one two');
  client.segment('w', 0, 'four', true);
  t.match(await client.error('QUOTA_EXCEEDED'), /messages/);
  t.equal(server.recogniser.heard.length, 2);
  await until(async () => (await used(server, user))['messages'] === 1, 'settled');
});

t.test('an utterance nobody finishes costs no message', async (t) => {
  const { server, user, client } = await start(t);
  client.segment('v', 0, 'and then');
  await until(async () => (await segments(server, 'c')).join() === 'and then*', 'stored, waiting');
  t.match(await used(server, user), { messages: 1 }, 'set aside');
  await client.socket.close(1000);
  await until(async () => (await used(server, user))['messages'] === 0, 'given back');
  t.match(await used(server, user), { audio_seconds: 1 });
});

t.test('too many unfinished utterances: the oldest is given up', async (t) => {
  const { server, user, client } = await start(t);
  for (let i = 0; i < 9; i++) client.segment(`v${i}`, 0, `begin ${i}`);
  t.match(await client.error('TOO_MANY_TURNS'), /"v0" is given up/);
  client.segment('v0', 1, 'too late', true);
  client.segment('v8', 1, 'and end', true);
  await client.answer('begin 8 and end');
  await until(async () => (await used(server, user))['messages'] === 8, 'one was given back');
  client.send('end_conversation');
  for (let i = 1; i < 8; i++) await client.answer(`begin ${i}`);
  await client.next('end_conversation');
  t.notOk(
    (await segments(server, 'c')).some((segment) => segment.endsWith('*')),
    'all taken up',
  );
});

t.test('too much waits', async (t) => {
  const { server, client } = await start(t, { settings: { SESSION_MAX_TURNS_WAITING: '2' } });
  client.segment('v', 0, 'hold:slow one', true);
  client.send('text', { text: 'two' });
  client.send('text', { text: 'three' });
  t.match(await client.error('TOO_MANY_TURNS'), /2 messages wait/);
  client.segment('w', 0, 'four', true);
  await client.error('TOO_MANY_TURNS');
  server.recogniser.release('slow');
  await client.answer('two');
  client.segment('w', 0, 'four', true);
  await client.answer('four');
});

t.test('an utterance goes on over a lost connection', async (t) => {
  const { server, token, client } = await start(t);
  client.segment('v', 0, 'before');
  await until(() => server.recogniser.heard.length === 1, 'the first arrived');
  client.socket.socket.terminate();
  await client.socket.closed;
  const again = await server.connect('c', token, true);
  await again.next('connect');
  again.segment('v', 0, 'before');
  again.segment('v', 1, 'after', true);
  await again.answer('before after');
  t.equal(server.recogniser.heard.length, 2);
});

t.test('two clients with the same names do not meet', async (t) => {
  const { server, client } = await start(t);
  const other = await server.connect('d', (await server.user(profile)).token);
  client.segment('v', 0, 'mine');
  other.segment('v', 1, 'two', true);
  other.segment('v', 0, 'one');
  client.segment('v', 1, 'too', true);
  await client.answer('mine too');
  await other.answer('one two');
});

t.test('a database that fails takes nothing down', async (t) => {
  const { server, token, client } = await start(t);
  client.segment('v', 0, 'hold:a one', true);
  client.segment('w', 0, 'two');
  client.send('audio_message', { audio_base64: spoken('three') });
  await until(() => server.recogniser.holds('a'), 'it is being recognised');
  await until(() => server.recogniser.heard.length === 2, 'the other one too');
  await server.data.close();
  server.recogniser.release('a');
  client.send('text', { text: 'four' });
  await client.next('error');
  client.socket.socket.send('{');
  await client.error('FRAME_MALFORMED');
  const again = await server.connect('d', token, true);
  const { code } = await again.socket.closed;
  t.ok([1011, 1013].includes(code), `closed with ${code}`);
  client.send('end_conversation');
  const { length } = client.all('error');
  await until(() => client.all('error').length > length, 'an end that is not stored is none');
  t.strictSame(client.all('end_conversation'), []);
  await client.socket.close(1000);
  await until(() => server.sessions.size === 0, 'no session is left');
});
