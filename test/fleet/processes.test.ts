import { randomUUID } from 'node:crypto';
import t, { type Test } from 'tap';
import { startApi } from '../helpers/api.js';
import { temporaryFolder, upload } from '../helpers/app.js';
import { Client } from '../helpers/client.js';
import { newPostgresDatabase } from '../helpers/database.js';
import { startRedis, until } from '../helpers/redis.js';
import { tone } from '../helpers/samples.js';
import { startSmallestClipWorker } from '../helpers/smallest-clip.js';
import { startS3 } from '../helpers/stores.js';
import { Talker, inOrder } from '../session/session-helper.js';
import { SocketClient } from '../../scripts/socket-client.js';

/** What several machines share. */
async function shared(t: Test): Promise<Record<string, string>> {
  const s3 = await startS3(t);
  return {
    ...s3.settings(),
    DATABASE_URL: await newPostgresDatabase(t),
    JWT_SECRET: randomUUID(),
  };
}

const ticket = (talker: Talker, lastSeq: number) => ({
  ...{ session_id: talker.sessionId, resume_token: talker.ack['resume_token'], last_seq: lastSeq },
});
const lastSeq = (talker: Talker) => Math.max(...talker.frames.map(({ seq }) => seq ?? 0));

t.test('two API processes serve the same clients', async (t) => {
  const redis = await startRedis(t);
  const settings = {
    ...(await shared(t)),
    ...{ SESSIONS_PER_ADDRESS: '9', SESSIONS_PER_USER: '2', SESSION_GRACE_SECONDS: '20' },
  };
  const [one, two] = await Promise.all([
    startApi(t, redis, settings),
    startApi(t, redis, settings),
  ]);
  const { host, port } = redis.config().redis;
  // the worker knows the second process alone, the client talks with the first
  const worker = await startSmallestClipWorker(
    t,
    {
      ...{ REDIS_HOST: host, REDIS_PORT: String(port), LOG_LEVEL: 'silent' },
      ...{ BASE_URL: two.url, DATA_DIR: await temporaryFolder(t) },
    },
    [0],
    300,
  );

  await t.test('progress and files pass through the other one', async (t) => {
    const { body } = await upload(two.url, tone(0.5), 'recording.wav');
    const talker = await (await Talker.open(t, `${one.url}/ws`)).connect({ mode: 'video' });
    talker.send('audio_uploaded', { audio_url: body.file_id });
    await talker.next('task_progress', ({ status }) => status === 'inference');
    const { data } = await talker.next('task_result');
    const id = String(data['video_url']).split('/').pop();
    for (const { url } of [one, two]) {
      const answer = await fetch(`${url}/api/tempfile/download/${id}`);
      t.equal(answer.status, 200);
      t.ok((await answer.arrayBuffer()).byteLength > 0);
    }
    talker.send('stop_session');
    await talker.next('session_stopped_ack');
    const gone = await fetch(`${two.url}/api/tempfile/download/${id}`);
    t.equal(gone.status, 404, 'what one deletes is gone for all');
  });

  await t.test('a client may come back to either, and misses nothing', async (t) => {
    await worker.setDelay(2000);
    const first = await (await Talker.open(t, `${one.url}/ws`)).connect({ mode: 'video' });
    first.send('text_message', { text: 'A video, please.' });
    await first.next('task_progress', ({ status }) => status === 'inference');
    first.client.socket.terminate();
    await first.client.closed;
    const seen = lastSeq(first);

    const second = await Talker.open(t, `${two.url}/ws`);
    second.send('request_connection', { ...ticket(first, seen), resume_token: 'guessed' });
    await second.error('SESSION_UNKNOWN');
    await second.connect(ticket(first, seen));
    t.match(second.ack, { resumed: true, session_id: first.sessionId, mode: 'video' });
    await second.next('task_result');
    await worker.setDelay(0);
    const frames = [...first.frames, ...second.frames.slice(2)];
    t.same(
      frames.map(({ seq }) => seq),
      frames.map((_, i) => i + 1),
    );

    const third = await (await Talker.open(t, `${one.url}/ws`)).connect(ticket(first, seen));
    await second.error('SESSION_REPLACED');
    t.equal((await second.client.closed).code, 4409, 'and back again');
    const fourth = await (
      await Talker.open(t, `${two.url}/ws`)
    ).connect(ticket(first, lastSeq(third)));
    fourth.send('text_message', { text: 'Still here.' });
    await fourth.lastAudio();
    await third.client.closed;
    t.ok(inOrder(fourth.frames));
    fourth.send('stop_session');
    await fourth.next('session_stopped_ack');
    t.equal((await fourth.client.closed).code, 1000);
  });

  await t.test('a conversation is taken over from the other one', async (t) => {
    const client = await Client.register(one.url, 'talker', {
      ...{ nickname: 'A', birth_year: 1950, birth_place: 'B' },
      ...{ grew_up_place: 'C', occupation: 'D' },
    });
    const connect = async (url: string) => {
      const token = encodeURIComponent(client.token ?? '');
      const socket = await SocketClient.connect(`${url}/ws/conversation/evening?token=${token}`);
      t.teardown(() => socket.socket.terminate());
      await socket.next(({ type }) => type === 'connect', 'connect');
      return socket;
    };
    const say = (socket: SocketClient, text: string) =>
      socket.send({ type: 'text', conversation_id: 'evening', data: { text }, timestamp: '' });
    const answer = (socket: SocketClient, text: string) =>
      socket.next((frame) => JSON.stringify(frame).includes(text), text);
    const at = [await connect(one.url), await connect(two.url)] as const;
    t.match(await at[0].closed, { code: 4409, reason: /^SESSION_REPLACED/ });
    say(at[1], 'I grew up by the sea.');
    await answer(at[1], 'I grew up by the sea.');
    const many = await Promise.all([one, two, one, two].map(({ url }) => connect(url)));
    await until(
      () => many.filter(({ socket }) => socket.readyState === socket.OPEN).length === 1,
      'one of them has it',
    );
    const last = many.find(({ socket }) => socket.readyState === socket.OPEN);
    say(last!, 'And now by a lake.');
    await answer(last!, 'And now by a lake.');
    await last!.close(1000);
    await until(
      async () => (await redis.client.hlen('session_holders')) === 0,
      'nobody holds it any more',
    );
  });

  await t.test('sessions of a user and of an address are counted together', async (t) => {
    const { token } = await Client.register(one.url);
    const open = async (url: string) => Talker.open(t, `${url}/ws`);
    const own = [await (await open(one.url)).connect({ token })];
    own.push(await (await open(two.url)).connect({ token }));
    const third = await open(one.url);
    third.send('request_connection', { mode: 'voice', token });
    await third.error('TOO_MANY_SESSIONS');
    own[1]!.send('stop_session');
    await own[1]!.client.closed;
    await third.connect({ token });

    const more: Talker[] = [];
    await t.rejects(async () => {
      for (let i = 0; i < 12; i++) more.push(await open([one, two][i % 2]!.url));
    }, /429.*TOO_MANY_SESSIONS/);
    t.ok(more.length >= 5 && more.length <= 9, `${more.length} more`);
    const before = more.filter((_, i) => i % 2 === 1).length;
    t.ok(before > 0);
    await two.kill();
    await until(async () => {
      try {
        more.push(await open(one.url));
        return true;
      } catch {
        return false;
      }
    }, 'what the killed process had is given back');
  });

  await t.test('the session of a killed process goes on in the one that lives', async (t) => {
    const again = await startApi(t, redis, { ...settings, SESSIONS_PER_ADDRESS: '1000' });
    const first = await (await Talker.open(t, `${again.url}/ws`)).connect({ mode: 'voice' });
    first.send('text_message', { text: 'Remember me.' });
    await first.lastAudio();
    const kept = () => redis.client.get(`session:${first.sessionId}`);
    await until(async () => /Remember me/.test((await kept()) ?? ''), 'it is written down');
    await again.kill();
    const fresh = await startApi(t, redis, { ...settings, SESSIONS_PER_ADDRESS: '1000' });
    // whichever of the two noticed it first
    const second = await (
      await Talker.open(t, `${fresh.url}/ws`)
    ).connect(ticket(first, lastSeq(first)));
    t.match(second.ack, { resumed: true, chat_history: [{ text: 'Remember me.' }, {}] });
    second.send('text_message', { text: 'And me.' });
    await second.lastAudio();
  });
});

t.test('processes that do not fit each other say so at their start', async (t) => {
  const redis = await startRedis(t);
  const secret = { JWT_SECRET: randomUUID() };
  const files = await temporaryFolder(t);
  await startApi(t, redis, { ...secret, TEMP_FILE_STORE: files });
  await t.rejects(startApi(t, redis, { ...secret, TEMP_FILE_STORE: files }), {
    code: 'PROCESSES_DIFFER',
    message: /another database.*DATABASE_URL=postgres/,
  });
  await t.rejects(startApi(t, redis, {}), {
    code: 'PROCESSES_DIFFER',
    message: /another database.*keeps temp files elsewhere.*JWT_SECRET/s,
  });
});
