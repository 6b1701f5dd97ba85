import { connect } from 'node:net';
import { Writable } from 'node:stream';
import t from 'tap';
import { buildApp } from '../../src/app.js';
import { CodedError } from '../../src/errors.js';
import { createLog } from '../../src/log.js';
import { connectRedis } from '../../src/queue/redis.js';
import { Client } from '../helpers/client.js';
import { startRedis } from '../helpers/redis.js';
import { openWorker } from '../helpers/tasks.js';
import { until } from '../helpers/until.js';
import { ScriptedDialogue, Talker } from '../session/session-helper.js';

interface Line extends Record<string, unknown> {
  readonly msg: string;
}

void t.test('every line says what it is about', async (t) => {
  const redis = await startRedis(t);
  const config = redis.config();
  const texts: string[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      texts.push(...chunk.toString().split('\n').filter(Boolean));
      done();
    },
  });
  const log = createLog('debug', sink).child({ process: 'api' });
  const lines = () => texts.map((text) => JSON.parse(text) as Line);
  const line = async (fits: (line: Line) => boolean, what: string): Promise<Line> => {
    await until(() => lines().some(fits), what);
    return lines().find(fits) as Line;
  };
  const connection = connectRedis(config, log);
  const dialogue = new ScriptedDialogue(async function* ({ text }) {
    log.info('from deep within');
    if (text === 'fail') throw new CodedError('DIALOGUE_FAILED', 'no');
    yield 'Yes.';
  });
  const app = await buildApp({ config, log, redis: connection, services: { dialogue } });
  t.teardown(async () => {
    await app.close();
    connection.disconnect();
  });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  const client = new Client(url);

  await t.test('requests', async (t) => {
    const named = await client.get('/livez', { 'x-request-id': 'proxy-7.a' });
    t.equal(named.headers.get('x-request-id'), 'proxy-7.a');
    const answered = await line(({ request }) => request === 'proxy-7.a', 'the request');
    t.match(answered, { msg: 'answered', status: 200, process: 'api' });
    for (const odd of ['', 'a b', 'a"b', 'x'.repeat(129)]) {
      const { headers } = await client.get('/livez', { 'x-request-id': odd });
      t.match(headers.get('x-request-id'), /^[0-9a-f-]{36}$/, JSON.stringify(odd));
    }
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.write(
      'POST /api/tempfile/upload HTTP/1.1\r\nHost: x\r\nX-Request-Id: cut\r\n' +
        'Content-Length: 1000\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n',
      () => socket.destroy(),
    );
    const cut = await line(({ request, code }) => request === 'cut' && !!code, 'the cut upload');
    t.match(cut, { level: 30, code: 'BAD_REQUEST', msg: /went away/ });
    const account = { username: 'ann', password: 'the password of ann' };
    const failed = await client.post('/api/auth/login', account);
    t.equal(failed.status, 401);
    const id = failed.headers.get('x-request-id');
    const refusal = await line(({ code }) => code === 'LOGIN_FAILED', 'the refusal');
    t.equal(refusal['request'], id, 'also after the body was read');
    const unread = await client.request('GET', '/%zz');
    t.match(unread.headers.get('x-request-id'), /^[0-9a-f-]{36}$/, 'of no route at all');
  });

  await t.test('sessions, turns and tasks', async (t) => {
    await openWorker(t, redis);
    const talker = await (await Talker.open(t, `${url}/ws`)).connect({ mode: 'video' });
    const { sessionId: session } = talker;
    const opened = await line(({ msg }) => msg === 'session opened', 'the opening');
    t.match(opened, { session, mode: 'video', connection: /^[0-9a-f-]{36}$/ });
    talker.send('text_message', { text: 'fail' });
    await talker.error('DIALOGUE_FAILED');
    const deep = await line(({ msg }) => msg === 'from deep within', 'what the dialogue says');
    t.match(deep, { session, turn: 1 });
    t.match(await line(({ msg }) => msg === 'a turn failed', 'the failure'), { session, turn: 1 });
    talker.send('text_message', { text: 'render' });
    const { data } = await talker.next('task_submitted');
    const queued = await line(({ msg }) => msg === 'task queued', 'the task');
    t.match(queued, { session, turn: 2, task: data['task_id'], device: 0, position: 0 });
    talker.client.socket.close(1000);
    const ended = await line(({ msg }) => msg === 'session ended', 'the end');
    t.match(ended, { session, reason: 'goodbye' });
  });

  for (const text of texts) {
    const names = [...text.matchAll(/[{,]"(request|session|turn|task|connection|process)":/g)];
    const unique = new Set(names.map(([, name]) => name));
    if (unique.size !== names.length) t.equal(text, undefined, 'a line names something twice');
  }
  t.ok(texts.length > 10);
});
