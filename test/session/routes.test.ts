import { once } from 'node:events';
import type { Socket } from 'node:net';
import t from 'tap';
import { SocketClient } from '../../scripts/socket-client.js';
import { buildApp } from '../../src/app.js';
import { createLog } from '../../src/log.js';
import { connectRedis } from '../../src/queue/redis.js';
import { Client } from '../helpers/client.js';
import { startRedis } from '../helpers/redis.js';
import { upgrade } from './transport-helper.js';

t.test('both dialects on the real application, and its end', async (t) => {
  const redis = await startRedis(t);
  const config = redis.config({ DIALOGUE: 'echo' });
  const connection = connectRedis(config, createLog('silent'));
  const app = await buildApp({ config, log: createLog('silent'), redis: connection });
  t.teardown(async () => {
    await app.close();
    connection.disconnect();
  });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });

  for (const [path, status] of [
    ['/livez', 200],
    ['/nothing', 404],
    ['/api/roles', 200],
    ['/api/tempfile/download/none', 404],
    ['/ws/', 404],
    ['/ws/conversation/', 426],
    [`/ws/conversation/${'x'.repeat(301)}`, 414],
    ['/ws/conversation/%zz', 400],
  ] as const) {
    const { line, head } = await upgrade(url, path, { Connection: 'Upgrade' });
    t.match(head, new RegExp(`^HTTP/1.1 ${status} `), `${path} is no socket`);
    line.destroy();
  }
  for (const path of ['/ws', '/ws/conversation/c']) {
    const answer = await new Client(url).get(path);
    t.match(answer, { status: 426, body: { success: false, code: 'UPGRADE_REQUIRED' } });
    const { head, line } = await upgrade(url, path, { Origin: 'https://evil.example' });
    t.match(head, /^HTTP\/1.1 403 [^]*"code":"ORIGIN_REFUSED"/);
    if (!line.closed) await once(line, 'close');
  }

  const account = { username: 'someone', password: 'a long password' };
  const { body } = await new Client(url).post('/api/auth/register', account);
  const token = encodeURIComponent(String(body['access_token']));
  const lifeEcho = await SocketClient.connect(`${url}/ws/conversation/c?token=${token}`);
  t.match(await lifeEcho.next(() => true, 'a frame'), { type: 'connect' });
  lifeEcho.socket.send('{"type":"x"}');
  await lifeEcho.next(({ type }) => type === 'error', 'an error');
  const echoMimic = await SocketClient.connect(`${url}/ws?mode=voice`);
  t.match(await echoMimic.next(() => true, 'a frame'), { event: 'connection_ack' });

  await app.close();
  for (const client of [lifeEcho, echoMimic]) {
    t.match(await client.closed, { code: 1001, reason: /^SERVER_STOPPING: / });
  }
  t.strictSame(await connection.keys('session_*'), []);
});

t.test('clients that offer HTTP/2 are served as ever', async (t) => {
  const redis = await startRedis(t);
  const config = redis.config();
  const connection = connectRedis(config, createLog('silent'));
  const app = await buildApp({ config, log: createLog('silent'), redis: connection });
  t.teardown(async () => {
    await app.close();
    connection.disconnect();
  });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  const lines = new Set<Socket>();
  app.server.on('connection', (socket) => lines.add(socket));
  const offer = {
    Connection: 'Upgrade, HTTP2-Settings',
    Upgrade: 'h2c',
    'HTTP2-Settings': 'AAMAAABkAAQAAP__',
  };
  const { head, line } = await upgrade(url, '/livez', offer);
  t.match(head, /^HTTP\/1.1 200 [^]*"status":"ok"/);

  const body = JSON.stringify({ file_ids: ['none'] });
  const headers = [
    'POST /api/tempfile/batch-delete HTTP/1.1',
    'Host: localhost',
    ...Object.entries(offer).map(([name, value]) => `${name}: ${value}`),
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
  ];
  const answered = once(line, 'data') as Promise<[Buffer]>;
  line.write(`${headers.join('\r\n')}\r\n\r\n${body.slice(0, 5)}`);
  await new Promise((resolve) => setTimeout(resolve, 50));
  line.write(body.slice(5));
  const [answer] = await answered;
  t.match(answer.toString(), /^HTTP\/1.1 200 [^]*"deleted_count":0/, 'with its body, on one line');

  const ask = async (times: number): Promise<number> => {
    for (let i = 0; i < times; i++) {
      const answered = once(line, 'data');
      line.write(['GET /livez HTTP/1.1', ...headers.slice(1, -2), '', ''].join('\r\n'));
      await answered;
    }
    const served = [...lines].filter((socket) => socket.remotePort === line.localPort);
    return served
      .flatMap((socket) => socket.eventNames().map((name) => socket.listenerCount(name)))
      .reduce((sum, count) => sum + count, 0);
  };
  const before = await ask(2);
  t.equal(await ask(10), before, 'however often it is offered on a line, nothing piles up');
  line.destroy();
});
