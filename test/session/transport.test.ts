import { once } from 'node:events';
import t from 'tap';
import { WebSocket } from 'ws';
import { SocketClient } from '../../scripts/socket-client.js';
import { until } from '../helpers/redis.js';
import { startEcho, upgrade } from './transport-helper.js';

const isError = (code: string) => (frame: Record<string, unknown>) =>
  frame['event'] === 'error' && (frame['data'] as { code: string }).code === code;
const isEvent = (name: string) => (frame: Record<string, unknown>) => frame['event'] === name;

t.test('frames go both ways, in order, with query and path', async (t) => {
  const server = await startEcho(t);
  const client = await SocketClient.connect(`${server.url}/ws/conversation/abc?token=x&token=y`);
  client.send({ event: 'slow' });
  client.send({ event: 'after', n: 1 });
  await client.next(isEvent('slow done'), 'the slow answer');
  const echo = await client.next(isEvent('echo'), 'the echo');
  t.strictSame(echo['frame'], { event: 'after', n: 1 });
  const [seen] = server.seen;
  t.strictSame({ ...seen?.socket.params }, { id: 'abc' });
  t.strictSame({ ...seen?.socket.query }, { token: 'x' });
  t.equal(seen?.socket.address, '127.0.0.1');
  client.send({ event: 'close' });
  t.strictSame(await client.closed, { code: 1000, reason: 'as asked' });
  await until(() => seen?.end !== undefined, 'the end is told');
  t.strictSame(seen?.end, { code: 1000, reason: 'as asked', byServer: true });
  await until(() => server.openCount() === 0, 'nothing is open');
});

t.test('a frame right behind the upgrade is heard', async (t) => {
  const server = await startEcho(t, { ready: () => new Promise((r) => setTimeout(r, 30)) });
  const client = new WebSocket(server.url.replace('http', 'ws') + '/ws');
  client.on('open', () => client.send('{"event":"first"}'));
  const [data] = (await once(client, 'message')) as [Buffer];
  t.strictSame(JSON.parse(data.toString()), { event: 'echo', frame: { event: 'first' } });
  client.close();
});

t.test('what a client sent before it closed properly is heeded', async (t) => {
  const server = await startEcho(t);
  const client = await SocketClient.connect(`${server.url}/ws`);
  client.send({ event: 'slow' });
  client.send({ event: 'last words' });
  await client.close(1000);
  await until(() => server.seen[0]?.end !== undefined, 'the end is told');
  t.strictSame(
    server.seen[0]?.frames.map((frame) => frame['event']),
    ['slow', 'last words'],
  );
  t.strictSame(server.seen[0]?.end, { code: 1000, reason: '', byServer: false });
});

t.test('a bad frame is answered with a code and the socket stays open', async (t) => {
  const server = await startEcho(t);
  const client = await SocketClient.connect(`${server.url}/ws`);
  const bad: [string, RegExp][] = [
    ['{"event"', /no JSON/],
    ['[1]', /an array/],
    ['null', /null/],
    ['"text"', /a string/],
    ['{"a":'.repeat(9) + '1' + '}'.repeat(9), /nested deeper than 8/],
    [JSON.stringify({ a: Array.from({ length: 1001 }, () => 0) }), /more than 1000 values/],
  ];
  for (const [frame, expected] of bad) {
    client.socket.send(frame);
    const error = await client.next(isError('FRAME_MALFORMED'), String(expected));
    t.match((error['data'] as { message: string }).message, expected);
  }
  client.send({ event: 'refused' });
  t.match(await client.next(isError('FRAME_INVALID'), 'refusal'), {
    data: { message: 'data.x: expected a number' },
  });
  client.send({ event: 'fine' });
  await client.next(isEvent('echo'), 'an answer');
  await client.close();
});

t.test('a binary frame is refused', async (t) => {
  const server = await startEcho(t);
  const client = await SocketClient.connect(`${server.url}/ws`);
  client.socket.send(Buffer.from('{"event":"x"}'));
  const error = await client.next(isError('FRAME_MALFORMED'), 'the refusal');
  t.match((error['data'] as { message: string }).message, /13 bytes of a binary one/);
  t.match(await client.closed, { code: 1003, reason: /^FRAME_MALFORMED: / });
  t.equal(server.seen[0]?.frames.length, 0);
});

t.test('ten bad frames in a row end it; a good one between starts anew', async (t) => {
  const server = await startEcho(t);
  const client = await SocketClient.connect(`${server.url}/ws`);
  for (let i = 0; i < 9; i++) client.socket.send('nonsense');
  client.send({ event: 'fine' });
  for (let i = 0; i < 9; i++) client.socket.send('nonsense');
  client.send({ event: 'busy' });
  client.send({ event: 'fine' });
  for (let i = 0; i < 10; i++) client.socket.send('nonsense');
  const { code, reason } = await client.closed;
  t.equal(code, 1008);
  t.match(reason, /^FRAME_MALFORMED: /);
  t.equal(client.received.filter(isError('FRAME_MALFORMED')).length, 28);
});

t.test('a failure of ours is INTERNAL, without its detail', async (t) => {
  const server = await startEcho(t);
  const client = await SocketClient.connect(`${server.url}/ws`);
  client.send({ event: 'broken' });
  const error = await client.next(isError('INTERNAL'), 'an error');
  t.notMatch(JSON.stringify(error), /secret/);
  client.send({ event: 'fine' });
  await client.next(isEvent('echo'), 'an answer');
  await client.close();

  const failing = await SocketClient.connect(`${server.url}/ws?fail=1`);
  t.match(await failing.closed, { code: 1011, reason: /^INTERNAL/ });
});

t.test('too many frames a second', async (t) => {
  const server = await startEcho(t, { settings: { WS_FRAMES_PER_SECOND: '5' } });
  const client = await SocketClient.connect(`${server.url}/ws`);
  for (let i = 0; i < 12; i++) client.send({ event: 'x', i });
  await client.next(isError('FRAME_RATE_EXCEEDED'), 'the refusal');
  t.match(await client.closed, { code: 1008, reason: /^FRAME_RATE_EXCEEDED: / });
  const echoes = client.received.filter(isEvent('echo'));
  t.ok(echoes.length <= 11, 'no more than the burst and what a moment earns');

  const pinging = await SocketClient.connect(`${server.url}/ws`);
  for (let i = 0; i < 12; i++) pinging.socket.ping();
  t.match(await pinging.closed, { code: 1008, reason: /^FRAME_RATE_EXCEEDED: / });
});

t.test('a frame over the size limit: 1009', async (t) => {
  const server = await startEcho(t, { settings: { WS_MAX_FRAME_KB: '128' } });
  const client = await SocketClient.connect(`${server.url}/ws`);
  client.send({ event: 'x', padding: 'x'.repeat(120 * 1024) });
  await client.next(isEvent('echo'), 'one that fits');
  client.send({ event: 'x', padding: 'x'.repeat(128 * 1024) });
  t.match(await client.closed, { code: 1009 });
  await until(() => server.seen[0]?.end !== undefined, 'the end is told');
  t.equal(server.seen[0]?.end?.code, 1009);
});

t.test('a stranger may send little', async (t) => {
  const server = await startEcho(t, { isOpenToAll: false });
  const client = await SocketClient.connect(`${server.url}/ws`);
  client.send({ event: 'x', padding: 'x'.repeat(5 * 1024 * 1024) });
  await client.next(isError('FRAME_TOO_LARGE'), 'the refusal');
  t.match(await client.closed, { code: 1009, reason: /^FRAME_TOO_LARGE: / });
  t.equal(server.seen[0]?.frames.length, 0);

  const known = await SocketClient.connect(`${server.url}/ws`);
  known.send({ event: 'hello' });
  known.send({ event: 'x', padding: 'x'.repeat(1024 * 1024) });
  await known.next(isEvent('echo'), 'the same from a known client');
  await known.close();
});

t.test('while it is checked who connects, the rest waits', async (t) => {
  let admitted = () => {};
  const ready = new Promise<void>((resolve) => (admitted = resolve));
  const server = await startEcho(t, { isOpenToAll: false, ready: () => ready });
  const client = await SocketClient.connect(`${server.url}/ws`);
  client.send({ event: 'x', padding: 'x'.repeat(4 * 1024 * 1024) });
  await until(() => client.socket.bufferedAmount > 0, 'the server reads no further');
  server.seen[0]?.socket.welcome();
  admitted();
  await client.next(isEvent('echo'), 'the answer');
  await client.close();
});

t.test('deadlines: who, idle, token', async (t) => {
  const strict = await startEcho(t, {
    isOpenToAll: false,
    settings: { WS_AUTH_SECONDS: '0.2', WS_IDLE_SECONDS: '30' },
  });
  const stranger = await SocketClient.connect(`${strict.url}/ws`);
  const server = await startEcho(t, { settings: { WS_IDLE_SECONDS: '1' } });
  const connect = () => SocketClient.connect(`${server.url}/ws`);
  const [idle, expiring, renewed] = await Promise.all([connect(), connect(), connect()]);
  expiring.send({ event: 'hello', expiresAt: Date.now() + 150 });
  renewed.send({ event: 'hello', expiresAt: Date.now() + 500 });
  renewed.send({ event: 'hello', expiresAt: Date.now() + 3_600_000 });
  t.match(await stranger.closed, { code: 4401, reason: /^AUTH_TIMEOUT: / });
  t.ok(stranger.received.some(isError('AUTH_TIMEOUT')));
  t.match(await expiring.closed, { code: 4401, reason: /^TOKEN_EXPIRED: / });
  t.ok(expiring.received.some(isError('TOKEN_EXPIRED')));
  t.match(await idle.closed, { code: 1008, reason: /^IDLE_TIMEOUT: / });
  t.ok(idle.received.some(isError('IDLE_TIMEOUT')));
  t.match(await renewed.closed, { reason: /^IDLE_TIMEOUT: / });
});

t.test('what the server sends keeps a connection from being idle', async (t) => {
  const server = await startEcho(t, { settings: { WS_IDLE_SECONDS: '0.3' } });
  const client = await SocketClient.connect(`${server.url}/ws`);
  const started = performance.now();
  const timer = setInterval(() => server.seen[0]?.socket.send({ event: 'progress' }), 50);
  t.teardown(() => clearInterval(timer));
  await until(() => performance.now() - started > 700, 'more than the limit has passed');
  t.equal(client.socket.readyState, WebSocket.OPEN);
  clearInterval(timer);
  t.match(await client.closed, { reason: /^IDLE_TIMEOUT/ });
});

t.test('a client that answers no ping is dropped, one that does stays', async (t) => {
  const server = await startEcho(t, { settings: { WS_HEARTBEAT_SECONDS: '0.1' } });
  const alive = await SocketClient.connect(`${server.url}/ws`);
  const { line, head } = await upgrade(server.url);
  t.match(head, /101 Switching Protocols/);
  line.resume();
  await once(line, 'close');
  await until(() => server.seen[1]?.end !== undefined, 'the end is told');
  t.match(server.seen[1]?.end, { code: 1006, byServer: false, reason: /heartbeat/ });
  alive.send({ event: 'still here' });
  await alive.next(isEvent('echo'), 'an answer');
  await alive.close();
});

t.test('a large frame that comes slowly is a sign of life', async (t) => {
  const server = await startEcho(t, { settings: { WS_HEARTBEAT_SECONDS: '0.1' } });
  const { line } = await upgrade(server.url);
  line.resume();
  const text = Buffer.from(JSON.stringify({ event: 'slowly' }));
  line.write(Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]));
  for (const byte of text) {
    await new Promise((resolve) => setTimeout(resolve, 30));
    line.write(Buffer.from([byte]));
  }
  await until(() => server.seen[0]?.frames.length === 1, 'the frame arrived');
  line.destroy();
});

t.test('a slow reader: progress coalesces, then it is dropped', async (t) => {
  const server = await startEcho(t, {
    settings: { WS_COALESCE_KB: '64', WS_MAX_BUFFER_KB: '16384' },
    stuckMs: 60_000,
  });
  const client = await SocketClient.connect(`${server.url}/ws`);
  const ask = (frame: object) => client.socket.send(JSON.stringify(frame));
  client.socket.pause();
  // Fill what lies between: the kernel's buffers of both sides.
  ask({ event: 'many', count: 800, bytes: 10_000 });
  ask({ event: 'many', count: 2000, bytes: 10_000, key: 'task' });
  await until(() => server.seen[0]?.frames.length === 2, 'the server sent all');
  t.equal(server.seen[0]?.end, undefined, 'twenty megabytes of progress drop nobody');
  client.socket.resume();
  await client.next(isEvent('all sent'), 'the first end');
  await client.next(isEvent('all sent'), 'the second end');
  const parts = client.received.filter(isEvent('part')).map((part) => Number(part['i']));
  t.strictSame(
    parts.slice(0, 800),
    Array.from({ length: 800 }, (_, i) => i),
    'what may not be replaced came whole and in order',
  );
  const progress = parts.slice(800);
  t.ok(progress.length < 100, `${progress.length} of 2000 came`);
  t.equal(progress.at(-1), 1999, 'the latest is the last');
  t.strictSame(
    progress,
    [...progress].sort((a, b) => a - b),
  );

  client.socket.pause();
  ask({ event: 'many', count: 4000, bytes: 10_000 });
  await until(() => server.seen[0]?.end !== undefined, 'it is dropped');
  t.match(server.seen[0]?.end, { code: 1008, byServer: true, reason: /^CLIENT_TOO_SLOW: / });
  client.socket.resume();
  await client.closed;
  await until(() => server.openCount() === 0, 'nothing is open');
});

t.test('a reader that takes nothing for long is dropped', async (t) => {
  const server = await startEcho(t, { stuckMs: 200 });
  const client = await SocketClient.connect(`${server.url}/ws`);
  client.socket.pause();
  client.socket.send(JSON.stringify({ event: 'many', count: 700, bytes: 10_000 }));
  await until(() => server.seen[0]?.end !== undefined, 'it is dropped');
  t.match(server.seen[0]?.end, { reason: /^CLIENT_TOO_SLOW: the client took nothing/ });
  client.socket.terminate();
});

t.test('a client that vanishes', async (t) => {
  const server = await startEcho(t);
  const client = await SocketClient.connect(`${server.url}/ws`);
  client.socket.terminate();
  await until(() => server.seen[0]?.end !== undefined, 'the end is told');
  t.match(server.seen[0]?.end, { code: 1006, byServer: false });
});

t.test('protocol errors are closed with their code', async (t) => {
  const server = await startEcho(t);
  const { line } = await upgrade(server.url);
  line.write(Buffer.from([0x81, 0x02, 0x68, 0x69])); // not masked
  const chunks: Buffer[] = [];
  for await (const chunk of line) chunks.push(chunk as Buffer);
  t.strictSame([...Buffer.concat(chunks).subarray(0, 4)], [0x88, 0x02, 0x03, 0xea], '1002');
});
