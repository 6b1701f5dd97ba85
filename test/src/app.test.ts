import t from 'tap';
import { buildApp } from '../../src/app.js';
import { loadConfig } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { temporaryFolder } from '../helpers/folder.js';

t.test('the server is ready when everything that requests need answers in time', async (t) => {
  let answer: () => Promise<boolean> = async () => true;
  const config = loadConfig({ DATA_DIR: await temporaryFolder(t) });
  const app = await buildApp({ config, log: createLog('silent'), isReady: () => answer() });
  t.teardown(() => app.close());
  const status = async () => (await app.inject('/readyz')).statusCode;
  t.equal(await status(), 200);
  answer = async () => false;
  t.equal(await status(), 503);
  answer = () => Promise.reject(new Error('away'));
  t.equal(await status(), 503);
  answer = () => new Promise(() => undefined);
  t.equal(await status(), 503);
  t.equal((await app.inject('/livez')).statusCode, 200);
});

t.test('only a trusted proxy says who the client is', async (t) => {
  const addressSeen = async (settings: Record<string, string>) => {
    const config = loadConfig({ DATA_DIR: await temporaryFolder(t), ...settings });
    const app = await buildApp({ config, log: createLog('silent') });
    t.teardown(() => app.close());
    app.get('/address', async (request) => request.ip);
    const headers = { 'x-forwarded-for': '203.0.113.9' };
    return (await app.inject({ url: '/address', headers })).body;
  };
  t.equal(await addressSeen({}), '127.0.0.1');
  t.equal(await addressSeen({ TRUST_PROXY: '10.0.0.0/8' }), '127.0.0.1');
  t.equal(await addressSeen({ TRUST_PROXY: '10.0.0.0/8,loopback' }), '203.0.113.9');
  t.throws(() => loadConfig({ TRUST_PROXY: 'everyone' }), { code: 'CONFIG_INVALID' });
});

t.test('without a Redis there are no sessions, and the answer says why', async (t) => {
  const config = loadConfig({ DATA_DIR: await temporaryFolder(t) });
  const app = await buildApp({ config, log: createLog('silent') });
  t.teardown(() => app.close());
  for (const url of ['/ws', '/ws/conversation/a?token=b']) {
    const answer = await app.inject(url);
    t.equal(answer.statusCode, 503);
    t.match(answer.json(), { success: false, code: 'REDIS_UNAVAILABLE', message: /REDIS_HOST/ });
  }
});
