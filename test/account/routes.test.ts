import t, { type Test } from 'tap';
import { startApp } from '../helpers/app.js';
import { type TestDatabase, databases } from '../helpers/database.js';

const password = 'correct horse';
type Body = Record<string, unknown>;

async function start(t: Test, database: TestDatabase, settings: Record<string, string> = {}) {
  const { url } = await startApp(t, { DATABASE_URL: database.url, ...settings });
  const call = async (method: string, path: string, body?: Body, token?: string) => {
    const response = await fetch(`${url}/api${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as Body & {
        access_token: string;
        refresh_token: string;
        user: Body;
      },
    };
  };
  return { url, call };
}

void t.test('an account from its first day to its last', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const { call } = await start(t, database, { QUOTAS: 'free:messages=7' });
      const registered = await call('POST', '/auth/register', {
        username: 'Ann',
        password,
        nickname: 'Annie',
        birth_year: 1950,
      });
      t.equal(registered.status, 201);
      t.equal(registered.headers.get('cache-control'), 'no-store');
      t.match(registered.body, {
        success: true,
        access_token: /^[\w-]+\.[\w-]+\.[\w-]+$/,
        refresh_token: /^[\w-]{43}$/,
        token_type: 'Bearer',
        expires_in: 3600,
      });
      t.same(Object.keys(registered.body).sort(), [
        'access_token',
        'expires_in',
        'refresh_token',
        'success',
        'token_type',
        'user',
      ]);
      const user = {
        id: String(registered.body.user['id']),
        username: 'ann',
        display_name: 'Ann',
        subscription_type: 'free',
        nickname: 'Annie',
        birth_year: 1950,
        birth_place: null,
        grew_up_place: null,
        occupation: null,
        created_at: String(registered.body.user['created_at']),
      };
      t.same(registered.body.user, user);
      t.ok(Math.abs(Date.parse(user.created_at) - Date.now()) < 60_000);

      const login = await call('POST', '/auth/login', { username: 'ANN', password });
      t.match(login, { status: 200, body: { success: true, user } });
      const token = login.body.access_token;
      t.same((await call('GET', '/account', undefined, token)).body, { success: true, user });

      const patched = await call(
        'PATCH',
        '/account',
        { nickname: null, birth_place: 'Oslo' },
        token,
      );
      t.same(patched.body, {
        success: true,
        user: { ...user, nickname: null, birth_place: 'Oslo' },
      });

      const usage = await call('GET', '/account/usage', undefined, token);
      t.match(usage.body, {
        success: true,
        subscription_type: 'free',
        day: /^\d{4}-\d\d-\d\d$/,
        resets_at: /T00:00:00\.000Z$/,
        usage: {
          messages: { used: 0, limit: 7 },
          audio_seconds: { used: 0, limit: null },
          video_seconds: { used: 0, limit: null },
        },
      });

      const refreshed = await call('POST', '/auth/refresh', {
        refresh_token: login.body.refresh_token,
      });
      t.equal(refreshed.status, 200);
      t.match(
        await call('POST', '/auth/refresh', { refresh_token: registered.body.refresh_token }),
        { status: 200 },
        'another login goes on',
      );

      const changed = await call(
        'POST',
        '/account/password',
        { current_password: password, new_password: 'a new password' },
        refreshed.body.access_token,
      );
      t.match(changed, { status: 200, body: { success: true, token_type: 'Bearer' } });
      t.match(await call('GET', '/account', undefined, token), {
        status: 401,
        body: { success: false, code: 'TOKEN_INVALID' },
      });

      const out = await call('POST', '/auth/logout', undefined, changed.body.access_token);
      t.same(out.body, { success: true, message: 'the login has ended' });
      t.equal((await call('GET', '/account', undefined, changed.body.access_token)).status, 401);

      const last = await call('POST', '/auth/login', {
        username: 'ann',
        password: 'a new password',
      });
      const everywhere = await call('POST', '/auth/logout', {
        refresh_token: last.body.refresh_token,
        everywhere: true,
      });
      t.match(everywhere, {
        status: 200,
        body: { message: 'every login of the account has ended' },
      });

      const again = await call('POST', '/auth/login', {
        username: 'ann',
        password: 'a new password',
      });
      const gone = await call(
        'DELETE',
        '/account',
        { password: 'a new password' },
        again.body.access_token,
      );
      t.match(gone, { status: 200, body: { success: true } });
      t.match(await call('GET', '/account', undefined, again.body.access_token), {
        status: 401,
        body: { code: 'TOKEN_INVALID' },
      });
    });
  }
});

void t.test('requests that are wrong are told what is wrong, without what was sent', async (t) => {
  const [database] = await databases(t);
  const { call, url } = await start(t, database!);
  const secret = 'hunter2-hunter2';
  const wrong: [method: string, path: string, body: Body | undefined][] = [
    ['POST', '/auth/register', { username: 'ann' }],
    ['POST', '/auth/register', { username: 'ann', password: 5 }],
    ['POST', '/auth/register', { username: ['ann'], password: secret }],
    ['POST', '/auth/register', { username: 'ann', password: secret.repeat(40) }],
    ['POST', '/auth/register', { username: 'ann', password: secret, birth_year: 'old' }],
    ['POST', '/auth/register', { username: 'ann', password: secret, subscription_type: 'pro' }],
    ['POST', '/auth/register', { username: 'ann', password: secret, token_version: 0 }],
    ['POST', '/auth/login', { username: 'ann', password: secret, extra: 1 }],
    ['POST', '/auth/login', undefined],
    ['POST', '/auth/refresh', { refresh_token: '' }],
    ['POST', '/auth/refresh', { refresh_token: secret.repeat(40) }],
    ['POST', '/auth/logout', { refresh_token: secret, other: true }],
    ['POST', '/auth/logout', { everywhere: 'perhaps', refresh_token: secret }],
    ['PATCH', '/account', {}],
    ['PATCH', '/account', { username: 'bob' }],
    ['PATCH', '/account', { subscription_type: 'pro' }],
    ['PATCH', '/account', { display_name: null }],
    ['DELETE', '/account', {}],
    ['POST', '/account/password', { current_password: secret }],
  ];
  for (const [method, path, body] of wrong) {
    const answer = await call(method, path, body);
    const what = `${method} ${path} ${JSON.stringify(body)?.slice(0, 80)}`;
    t.match(answer, { status: 400, body: { success: false, code: 'BAD_REQUEST' } }, what);
    t.notMatch(JSON.stringify(answer.body), secret, what);
  }
  t.match(await call('POST', '/auth/login', { username: 'a', password: 'x'.repeat(20_000) }), {
    status: 413,
    body: { code: 'FORM_TOO_LARGE' },
  });
  const broken = await fetch(`${url}/api/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: `{"password": "${secret}`,
  });
  t.equal(broken.status, 400);
  // as curl -d sends without a header
  const form = await fetch(`${url}/api/auth/login`, {
    method: 'POST',
    body: new URLSearchParams({ password: secret }),
  });
  t.equal(form.status, 415);
  t.match(await form.text(), /send Content-Type: application\/json/);
  t.notMatch(await broken.text(), secret);
});

void t.test('what needs an account says so', async (t) => {
  const [database] = await databases(t);
  const { call, url } = await start(t, database!);
  const needed: [string, string, Body | undefined][] = [
    ['GET', '/account', undefined],
    ['PATCH', '/account', { nickname: 'x' }],
    ['DELETE', '/account', { password }],
    ['POST', '/account/password', { current_password: password, new_password: password }],
    ['GET', '/account/usage', undefined],
    ['POST', '/auth/logout', undefined],
  ];
  for (const [method, path, body] of needed) {
    t.match(await call(method, path, body), { status: 401, body: { code: 'UNAUTHORIZED' } }, path);
    t.match(
      await call(method, path, body, 'not.a.token'),
      { status: 401, body: { code: 'TOKEN_INVALID' } },
      path,
    );
  }
  for (const authorization of ['Basic abc', 'Bearer', 'Bearer a b', `Bearer ${'x'.repeat(5000)}`]) {
    const response = await fetch(`${url}/api/account`, { headers: { authorization } });
    t.match(await response.json(), { code: 'TOKEN_INVALID' }, authorization.slice(0, 20));
  }
});

void t.test('refusals to let in', async (t) => {
  const [database] = await databases(t);
  const { call } = await start(t, database!, {
    LOGIN_ATTEMPTS: '1',
    LOGIN_WINDOW_MINUTES: '10',
  });
  await call('POST', '/auth/register', { username: 'ann', password });
  t.match(await call('POST', '/auth/register', { username: 'ann', password }), {
    status: 409,
    body: { success: false, code: 'USERNAME_TAKEN' },
  });
  const wrong = { username: 'ann', password: 'not that one' };
  t.match(await call('POST', '/auth/login', wrong), {
    status: 401,
    body: { success: false, code: 'LOGIN_FAILED' },
  });
  const throttled = await call('POST', '/auth/login', { username: 'ann', password });
  t.match(throttled, { status: 429, body: { success: false, code: 'LOGIN_THROTTLED' } });
  const seconds = Number(throttled.headers.get('retry-after'));
  t.ok(seconds > 590 && seconds <= 600);
  t.match(throttled.body['message'], new RegExp(`in ${seconds} seconds`));

  const closed = await start(t, database!, { REGISTRATION: 'closed' });
  t.match(await closed.call('POST', '/auth/register', { username: 'bob', password }), {
    status: 403,
    body: { code: 'REGISTRATION_CLOSED' },
  });
});
