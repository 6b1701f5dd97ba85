import fastify from 'fastify';
import t from 'tap';
import { createLog } from '../../src/log.js';
import { webRoutes } from '../../src/web/routes.js';
import { startApp } from '../helpers/app.js';

t.test('pages and their files come with what browsers need to know', async (t) => {
  const { url } = await startApp(t);
  for (const path of ['/', '/studio', '/operator']) {
    const page = await fetch(url + path);
    t.equal(page.status, 200);
    t.match(page.headers.get('content-type'), /^text\/html/);
    t.equal(page.headers.get('cache-control'), 'no-cache');
    const policy = page.headers.get('content-security-policy') ?? '';
    t.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/);
    t.notMatch(policy, /unsafe|sandbox/);
    t.equal(page.headers.get('x-content-type-options'), 'nosniff');
    const script = /src="(\/assets\/[^"]+\.js)"/.exec(await page.text())?.[1];
    const file = await fetch(url + script);
    t.equal(file.status, 200);
    t.match(file.headers.get('content-type'), /javascript/);
    t.equal(file.headers.get('cache-control'), 'public, max-age=31536000, immutable');
  }
  t.equal((await fetch(`${url}/icon.svg`)).headers.get('content-type'), 'image/svg+xml');
  t.equal((await fetch(`${url}/manifest.webmanifest`)).status, 200);
});

t.test('what is no page is not answered with one', async (t) => {
  const { url } = await startApp(t);
  for (const path of ['/api/nothing', '/else', '/assets/none.js', '/assets/..%2Findex.html']) {
    const answer = await fetch(url + path);
    t.equal(answer.status >= 400, true, path);
    t.equal(((await answer.json()) as { success: boolean }).success, false);
  }
});

t.test('a client is told what it has to know', async (t) => {
  const settings = { AUTH: 'required', REGISTRATION: 'closed', MAX_IMAGE_MB: '2' };
  const { url } = await startApp(t, settings);
  const answer = (await (await fetch(`${url}/api/info`)).json()) as Record<string, unknown>;
  t.match(answer, {
    ...{ success: true, auth: 'required', registration: 'closed', api_token: false },
    ...{ recognises_words: false, max_bytes: { image: 2 * 1024 * 1024 }, max_text: 4000 },
  });
});

t.test('a server whose client is not built says so, and serves', async (t) => {
  const { config } = await startApp(t);
  const lines: string[] = [];
  const log = createLog('warn', { write: (line) => void lines.push(line) });
  const bare = fastify();
  t.teardown(() => bare.close());
  await bare.register(webRoutes, { config, log, folder: config.dataFolder });
  t.match(lines.join(''), /the web client is not built/);
  const page = await bare.inject('/');
  t.match(page.json(), { message: /^the web client is not built: run/ });
  t.equal((await bare.inject('/api/info')).statusCode, 200);
});
