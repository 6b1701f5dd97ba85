import { once } from 'node:events';
import t from 'tap';
import { SocketClient } from '../../scripts/socket-client.js';
import { until } from '../helpers/redis.js';
import { startEcho, upgrade } from './transport-helper.js';

t.test('what is checked before the upgrade is answered over HTTP', async (t) => {
  const server = await startEcho(t, { settings: { SESSIONS_PER_ADDRESS: '2' } });
  const body = (head: string) => JSON.parse(head.split('\r\n\r\n')[1] ?? '') as unknown;

  const foreign = await upgrade(server.url, '/ws', { Origin: 'https://evil.example' });
  t.match(foreign.head, /^HTTP\/1.1 403 /);
  t.match(body(foreign.head), { success: false, code: 'ORIGIN_REFUSED' });
  if (!foreign.line.closed) await once(foreign.line.resume(), 'close');

  const page = await SocketClient.connect(`${server.url}/ws`, { Origin: 'http://localhost:8080' });
  const other = await SocketClient.connect(`${server.url}/ws`);
  const third = await upgrade(server.url);
  t.match(third.head, /^HTTP\/1.1 429 /);
  t.match(body(third.head), { code: 'TOO_MANY_SESSIONS' });
  const forwarded = await upgrade(server.url, '/ws', { 'X-Forwarded-For': '203.0.113.7' });
  t.match(forwarded.head, /^HTTP\/1.1 429 /, 'anybody can write X-Forwarded-For');
  await page.close();
  await until(() => server.openCount() === 1, 'one went');
  const fourth = await SocketClient.connect(`${server.url}/ws`);
  await Promise.all([other.close(), fourth.close()]);

  const plain = await fetch(`${server.url}/ws`);
  t.equal(plain.status, 426);
  t.equal(plain.headers.get('upgrade'), 'websocket');
  t.match(await plain.json(), { success: false, code: 'UPGRADE_REQUIRED' });

  const elsewhere = await upgrade(server.url, '/plain');
  t.match(elsewhere.head, /^HTTP\/1.1 200 /);
  elsewhere.line.destroy();
});

t.test('many at once cannot slip past the limit', async (t) => {
  const server = await startEcho(t, { settings: { SESSIONS_PER_ADDRESS: '5' } });
  const all = await Promise.allSettled(
    Array.from({ length: 30 }, () => SocketClient.connect(`${server.url}/ws`)),
  );
  const open = all.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  t.equal(open.length, 5);
  t.equal(server.openCount(), 5);
  await Promise.all(open.map((client) => client.close()));
});

t.test('a proxy that is trusted names the address', async (t) => {
  const server = await startEcho(t, { server: { trustProxy: '127.0.0.1' } });
  const client = await SocketClient.connect(`${server.url}/ws`, {
    'X-Forwarded-For': '203.0.113.7',
  });
  t.equal(server.seen[0]?.socket.address, '203.0.113.7');
  await client.close();
});

t.test('no subprotocol is echoed', async (t) => {
  const server = await startEcho(t);
  const { line, head } = await upgrade(server.url, '/ws', {
    'Sec-WebSocket-Protocol': 'bearer.secret-token',
  });
  t.match(head, /^HTTP\/1.1 101 /);
  t.notMatch(head, /secret-token/);
  line.destroy();
});

t.test('the end of the server: goodbye, sessions, stragglers', async (t) => {
  const order: string[] = [];
  const server = await startEcho(t, {
    settings: { SHUTDOWN_SECONDS: '1' },
    stop: async () => {
      order.push(`stop, ${server.seen.filter((seen) => seen.end !== undefined).length} told`);
    },
  });
  const clients = await Promise.all([1, 2, 3].map(() => SocketClient.connect(`${server.url}/ws`)));
  await server.close();
  for (const client of clients) {
    t.match(await client.closed, { code: 1001, reason: /^SERVER_STOPPING: / });
  }
  t.strictSame(order, ['stop, 3 told']);
  t.strictSame(server.seen[0]?.end?.byServer, true);
});

t.test('a client that ignores the goodbye is cut, an upgrade meanwhile refused', async (t) => {
  const server = await startEcho(t, { settings: { SHUTDOWN_SECONDS: '0.5' } });
  const { line } = await upgrade(server.url);
  line.resume();
  await until(() => server.seen.length === 1, 'it is open');
  const started = performance.now();
  const closed = server.close();
  const late = await upgrade(server.url);
  t.match(late.head, /^HTTP\/1.1 503 /);
  t.match(late.head, /"code":"SERVER_STOPPING"/);
  await closed;
  t.ok(performance.now() - started < 20_000, 'ws itself would wait for 30 s');
  if (!line.closed) await once(line, 'close');
});

t.test('nothing is left of connections that are over', async (t) => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const server = await startEcho(t);
  const before = timers();
  const clients = await Promise.all(
    Array.from({ length: 50 }, () => SocketClient.connect(`${server.url}/ws`)),
  );
  t.ok(timers() > before, 'open ones have deadlines');
  for (const [i, client] of clients.entries()) {
    if (i % 3 === 0) client.socket.terminate();
    else if (i % 3 === 1) client.send({ event: 'close' });
    else client.socket.close();
  }
  await Promise.all(clients.map((client) => client.closed));
  await until(() => server.openCount() === 0, 'nothing is open');
  await until(() => timers() <= before, 'no timer is left');
});
