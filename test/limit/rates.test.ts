import { once } from 'node:events';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import t, { type Test } from 'tap';
import { buildApp } from '../../src/app.js';
import { createCounter } from '../../src/limit/counter.js';
import { createLog } from '../../src/log.js';
import { connectRedis } from '../../src/queue/redis.js';
import { upload } from '../helpers/app.js';
import { Client } from '../helpers/client.js';
import { temporaryFolder } from '../helpers/folder.js';
import { type RunningRedis, startRedis, until } from '../helpers/redis.js';
import { tone } from '../helpers/samples.js';
import { startSessions } from '../session/session-helper.js';
import { RawLine } from './raw-line.js';

const log = createLog('silent');

void t.test('requests are counted by address and by user, over all processes', async (t) => {
  const redis = await startRedis(t);
  const one = await listen(t, redis, { REQUESTS_PER_MINUTE: '3', TRUST_PROXY: 'loopback' });
  const two = await listen(t, redis, { REQUESTS_PER_MINUTE: '3', TRUST_PROXY: 'loopback' });
  const from = (address: string) => ({ 'x-forwarded-for': address });

  const { token } = await Client.register(one);
  const ann = new Client(one, token);
  const first = await ann.get('/api/account', from('203.0.113.1'));
  t.equal(first.status, 200);
  t.match(Object.fromEntries(first.headers), {
    'ratelimit-limit': '3',
    'ratelimit-remaining': '2',
    'ratelimit-reset': /^[1-5]?[0-9]$|^60$/,
  });
  await new Client(two, token).get('/api/account', from('203.0.113.2'));
  await ann.get('/api/account', from('203.0.113.3'));
  const refused = await new Client(two, token).get('/api/account', from('203.0.113.4'));
  t.match(refused, { status: 429, body: { success: false, code: 'RATE_LIMITED' } });
  t.equal(refused.headers.get('retry-after'), refused.headers.get('ratelimit-reset'));
  const others = await new Client(two, (await Client.register(two)).token).get('/api/account');
  t.equal(others.status, 200, 'another user goes on');

  const statuses = async (address: string, count: number) => {
    const all = [];
    for (let i = 0; i < count; i++) {
      all.push((await new Client(i % 2 ? one : two).get('/nothing', from(address))).status);
    }
    return all;
  };
  t.same(await statuses('198.51.100.7', 30), Array(30).fill(404));
  t.same(await statuses('198.51.100.7', 1), [429], 'an address has ten times as many');
  t.same(await statuses('198.51.100.8', 1), [404], 'another address has its own');
  t.same(await statuses('2001:db8::1', 30), Array(30).fill(404));
  t.same(await statuses('2001:db8::ffff:2', 1), [429], 'a network of IPv6 is one address');
  for (const probe of ['/livez', '/readyz']) {
    t.not((await new Client(one).get(probe, from('198.51.100.7'))).status, 429, probe);
  }
});

void t.test('without TRUST_PROXY nobody chooses an address', async (t) => {
  const redis = await startRedis(t);
  const url = await listen(t, redis, { REQUESTS_PER_MINUTE: '1' });
  const statuses = [];
  for (let i = 0; i < 11; i++) {
    const answer = await new Client(url).get('/nothing', { 'x-forwarded-for': `198.51.100.${i}` });
    statuses.push(answer.status);
  }
  t.same(statuses, [...Array<number>(10).fill(404), 429]);
});

void t.test('who holds the API token, and workers, are not counted', async (t) => {
  const redis = await startRedis(t);
  const token = 'a-token-of-this-test';
  const url = await listen(t, redis, { REQUESTS_PER_MINUTE: '1', API_TOKEN: token });
  const missing = '/api/tempfile/download/550e8400-e29b-41d4-a716-446655440000';
  const statuses = async (headers: Record<string, string>) => {
    const all = new Set<number>();
    for (let i = 0; i < 12; i++) all.add((await new Client(url).get(missing, headers)).status);
    return [...all];
  };
  t.same(await statuses({ authorization: `Bearer ${token}` }), [404]);
  const key = String(await redis.client.get('worker_key'));
  t.match(key, /^[\w-]{32}$/);
  t.same(await statuses({ 'x-worker-key': key }), [401], 'a worker needs the token all the same');
  t.same(await statuses({ 'x-worker-key': `${key}x` }), [401, 429]);
});

void t.test('a Redis that is away, or hangs, leaves each process counting alone', async (t) => {
  const running = await startRedis(t);
  const redis = connectRedis(running.config(), log);
  t.teardown(() => redis.disconnect());
  await redis.ping();
  const counter = createCounter({ prefix: 'test', points: 2, windowMs: 60_000, redis });
  t.match(await counter.take('a'), { isOver: false, left: 1 });
  await running.client.call('CLIENT', 'PAUSE', '1000', 'ALL');
  t.match(await counter.take('b'), { isOver: false, left: 1 });
  t.match(await counter.take('b'), { isOver: false, left: 0 });
  t.match(await counter.take('b'), { isOver: true });
  await running.client.ping();
  await running.server.stop();
  await until(() => redis.status !== 'ready', 'Redis is away');
  t.match(await counter.take('b'), { isOver: true });
  t.match(await counter.take('c'), { isOver: false, left: 1 });
});

async function listen(
  t: Test,
  redis: RunningRedis,
  settings: Record<string, string>,
): Promise<string> {
  const { dataFolder } = redis.config();
  const config = redis.config({
    DATA_DIR: await temporaryFolder(t),
    DATABASE_URL: `sqlite:${join(dataFolder, 'shared.db')}`,
    TEMP_FILE_STORE: join(dataFolder, 'shared-files'),
    JWT_SECRET: 'the same for all processes of this test',
    ...settings,
  });
  const connection = connectRedis(config, log);
  await connection.ping();
  const app: FastifyInstance = await buildApp({ config, log, redis: connection });
  t.teardown(async () => {
    await app.close();
    connection.disconnect();
  });
  return app.listen({ host: '127.0.0.1', port: 0 });
}

void t.test('a client that is gone before its request was counted leaves no timer', async (t) => {
  const redis = await startRedis(t);
  const url = await listen(t, redis, { UPLOADS_PER_ADDRESS: '2' });
  const timers = () => process.getActiveResourcesInfo().filter((one) => one === 'Timeout').length;
  const before = timers();
  for (let i = 0; i < 20; i++) {
    const { socket } = await RawLine.open(t, url);
    const head = `POST /api/tempfile/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n`;
    socket.write(`${head}Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n`, () =>
      socket.destroy(),
    );
    await once(socket, 'close');
  }
  await until(() => timers() <= before, 'none is left');
  t.equal((await upload(url, tone(0.1))).status, 200, 'nor any place of an upload');
});

void t.test('turns of a user are counted over all sessions and processes', async (t) => {
  const settings = { AUTH: 'required', TURNS_PER_MINUTE: '3' };
  const one = await startSessions(t, settings);
  const data = { DATA_DIR: one.config.dataFolder };
  const two = await startSessions(t, { ...settings, ...data }, {}, one.redis);
  const { token } = await Client.register(one.url);
  const first = await (await one.client()).connect({ token });
  const second = await (await two.client()).connect({ token });
  for (const talker of [first, second, first]) {
    talker.send('text_message', { text: 'Hello.' });
    await talker.lastAudio();
  }
  for (const talker of [first, second]) {
    talker.send('text_message', { text: 'Hello once more.' });
    const { data } = await talker.error('RATE_LIMITED');
    t.ok(Number(data['retry_after']) >= 1 && Number(data['retry_after']) <= 60);
  }
  const other = await (
    await two.client()
  ).connect({
    token: (await Client.register(two.url)).token,
  });
  other.send('text_message', { text: 'Hello.' });
  await other.lastAudio();
  const answers = [first, second].map((talker) => talker.of('tts_audio').length);
  t.same(answers, [2, 1], 'what was refused was not answered');
});
