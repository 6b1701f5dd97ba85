import { once } from 'node:events';
import t from 'tap';
import { errorCodes, retryAfterOf, type ErrorCode } from '../../src/errors.js';
import { startApp } from '../helpers/app.js';
import { Client } from '../helpers/client.js';
import { until } from '../helpers/until.js';
import { RawLine } from './raw-line.js';

void t.test('every failure that passes says when to try again, and no other', async (t) => {
  for (const [code, { status }] of Object.entries(errorCodes)) {
    t.equal(retryAfterOf(code as ErrorCode) !== undefined, [429, 503].includes(status), code);
  }
});

void t.test('every answer carries the security headers', async (t) => {
  const { url } = await startApp(t);
  for (const [method, path, status] of [
    ['GET', '/livez', 200],
    ['GET', '/nothing', 404],
    ['GET', '/api/account', 401],
    ['POST', '/api/auth/login', 400],
    ['GET', '/api/roles', 200],
    ['GET', '/api/tempfile/download/550e8400-e29b-41d4-a716-446655440000', 404],
    ['GET', '/%zz', 400],
    ['GET', '/ws', 503],
  ] as const) {
    const answer = await new Client(url).request(method, path);
    const { headers } = answer;
    t.equal(answer.status, status, path);
    t.equal(headers.get('x-content-type-options'), 'nosniff', path);
    t.equal(headers.get('x-frame-options'), 'DENY');
    t.equal(headers.get('referrer-policy'), 'no-referrer');
    t.match(headers.get('content-security-policy'), /default-src 'none'; frame-ancestors 'none'/);
    t.equal(headers.has('retry-after'), status === 503);
    t.equal(headers.get('access-control-allow-origin'), null);
  }
});

void t.test('a 401 says how to log in', async (t) => {
  const { url } = await startApp(t);
  const challenge = async (client: Client) =>
    (await client.get('/api/account')).headers.get('www-authenticate');
  const realm = 'Bearer realm="EchoMimic Server"';
  t.equal(await challenge(new Client(url)), realm);
  t.equal(await challenge(new Client(url, 'nonsense')), `${realm}, error="invalid_token"`);
});

void t.test('pages of other origins get nothing', async (t) => {
  const { url } = await startApp(t, { WS_ALLOWED_ORIGINS: 'https://app.example' });
  const client = new Client(url);
  const ask = (method: string, origin: string, headers: Record<string, string> = {}) =>
    client.request(method, '/api/roles', undefined, { origin, ...headers });

  const ours = await ask('GET', 'https://app.example');
  t.equal(ours.status, 200);
  t.equal(ours.headers.get('access-control-allow-origin'), 'https://app.example');
  t.equal(ours.headers.get('access-control-allow-credentials'), null);
  t.equal(ours.headers.get('vary'), 'Origin');
  t.match(ours.headers.get('access-control-expose-headers'), /retry-after/);

  const preflight = { 'access-control-request-method': 'DELETE' };
  const asked = await ask('OPTIONS', 'https://app.example', preflight);
  t.equal(asked.status, 204);
  t.match(asked.headers.get('access-control-allow-methods'), /DELETE/);
  t.match(asked.headers.get('access-control-allow-headers'), /authorization/);

  for (const origin of ['https://evil.example', 'https://app.example.evil.example', 'null']) {
    for (const [method, more] of [
      ['GET', {}],
      ['POST', {}],
      ['OPTIONS', preflight],
    ] as const) {
      const refused = await ask(method, origin, more);
      t.match(refused, { status: 403, body: { code: 'ORIGIN_REFUSED' } }, `${method} ${origin}`);
      t.equal(refused.headers.get('access-control-allow-origin'), null);
    }
  }
  const { url: local } = await startApp(t);
  const page = (origin: string) => new Client(local).get('/api/roles', { origin });
  t.equal((await page('http://localhost:5173')).status, 200, 'on loopback, pages of this machine');
  t.equal((await page('https://rebound.example')).status, 403);
});

void t.test('JSON is looked at before it is parsed', async (t) => {
  const { url } = await startApp(t);
  const post = async (body: string) => {
    const answer = await fetch(`${url}/api/auth/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    return (await answer.json()) as { code: string; message: string };
  };
  t.match(await post(`${'['.repeat(8000)}${']'.repeat(8000)}`), {
    code: 'BAD_REQUEST',
    message: /nested deeper than 8 levels/,
  });
  t.match(await post(`[${'0,'.repeat(6000)}0]`), { message: /more than 5000 values/ });
  t.match(await post('{"username":"a","__proto__":{"a":1}}'), { code: 'BAD_REQUEST' });
  t.match(await post('{"username":"a","constructor":{"prototype":{}}}'), { code: 'BAD_REQUEST' });
  t.match(await post(`{"username":"${'x'.repeat(1024 * 1024)}"}`), { code: 'FORM_TOO_LARGE' });
});

void t.test('headers are bounded in size, number and time', async (t) => {
  const { url } = await startApp(t, { HEADER_SECONDS: '0.3' });
  const said = async (text: string) => {
    const line = await RawLine.open(t, url);
    line.send(text);
    return line.end();
  };
  t.match(
    await said(`GET /livez HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(17_000)}\r\n\r\n`),
    /^HTTP\/1\.1 431 [^]*"code":"HEADERS_TOO_LARGE"/,
  );
  t.match(await said('nonsense\r\n\r\n'), /^HTTP\/1\.1 400 [^]*"code":"BAD_REQUEST"/);
  const dripping = await RawLine.open(t, url);
  dripping.send('GET /livez HTTP/1.1\r\nHost: a\r\n');
  const drip = setInterval(() => dripping.send('X-Header: 1\r\n'), 50);
  t.match(await dripping.end(), /^HTTP\/1\.1 408 [^]*"code":"REQUEST_TIMEOUT"/);
  clearInterval(drip);
  const many = Array.from({ length: 150 }, (_, i) => `X-${i}: 1\r\n`).join('');
  const answer = await said(`GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${many}\r\n`);
  t.match(answer, /^HTTP\/1\.1 200/, 'headers over the number are passed over');
});

void t.test('a body that drips is cut, and leaves nothing', async (t) => {
  const { url, files } = await startApp(t, { BODY_STALL_SECONDS: '0.3' });
  for (const [path, type] of [
    ['/api/auth/login', 'application/json'],
    ['/api/tempfile/upload', 'multipart/form-data; boundary=b'],
  ] as const) {
    const line = await RawLine.open(t, url);
    line.send(
      `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: ${type}\r\nContent-Length: 2000\r\n\r\n`,
    );
    if (path.endsWith('upload')) {
      line.send('--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n');
    }
    const drip = setInterval(() => line.send('R'), 50);
    t.match(await line.end(), /^HTTP\/1\.1 408 [^]*"code":"REQUEST_TIMEOUT"/, path);
    clearInterval(drip);
  }
  await until(async () => (await files()).length === 0, 'nothing is left');
  t.equal((await new Client(url).get('/livez')).status, 200);
});

void t.test('connections of one address are limited', async (t) => {
  const { url } = await startApp(t, { CONNECTIONS_PER_ADDRESS: '3' });
  const idle = await Promise.all([1, 2, 3].map(() => RawLine.open(t, url)));
  const refused = await (await RawLine.open(t, url)).end();
  t.match(refused, /^HTTP\/1\.1 429 [^]*Retry-After: 5\r\n[^]*"code":"TOO_MANY_CONNECTIONS"/);
  const [first] = idle;
  first?.socket.destroy();
  if (first !== undefined) await once(first.socket, 'close');
  t.equal((await new Client(url).get('/livez')).status, 200, 'there is room again');
  for (const { socket } of idle) socket.destroy();
});

void t.test('lines that never asked anything do not hold up the close', async (t) => {
  const { app, url } = await startApp(t, { HEADER_SECONDS: '600' });
  const [silent, beginning, idle] = await Promise.all([1, 2, 3].map(() => RawLine.open(t, url)));
  beginning?.send('GET /livez HTTP/1.1\r\nHost: a\r\n');
  idle?.send('GET /livez HTTP/1.1\r\nHost: a\r\n\r\n');
  await until(() => idle?.text.endsWith('}') === true, 'the answer');
  await app.close();
  t.same([await silent?.end(), await beginning?.end()], ['', '']);
  t.match(await idle?.end(), /^HTTP\/1\.1 200/);
});
