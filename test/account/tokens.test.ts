import { createSecretKey, generateKeyPairSync } from 'node:crypto';
import { SignJWT, UnsecuredJWT, decodeJwt, decodeProtectedHeader } from 'jose';
import t from 'tap';
import { Accounts } from '../../src/account/accounts.js';
import { createLog } from '../../src/log.js';
import { signIn } from '../helpers/account.js';
import { databases } from '../helpers/database.js';

const JWT_SECRET = 'the secret of these tests, 32 or more';
const log = createLog('silent');

void t.test('only our own signature over our own claims is an access token', async (t) => {
  const [database] = await databases(t);
  const db = await database!.open();
  const config = database!.config({ JWT_SECRET });
  const accounts = new Accounts(db, config, log);
  const { user, token } = await signIn(db, config);
  const verified = await accounts.verifyAccess(token);
  t.match(verified.user, { id: user.id, username: user.username });
  t.notOk('password_hash' in verified.user);
  t.equal(verified.expiresAt, (decodeJwt(token).exp ?? 0) * 1000);
  const inAnHour = Date.now() + 3_600_000;
  t.ok(Math.abs(verified.expiresAt - inAnHour) < 60_000);
  t.same(decodeProtectedHeader(token), { alg: 'HS256', typ: 'JWT' });

  const claims = decodeJwt(token);
  const secret = createSecretKey(JWT_SECRET, 'utf8');
  const sign = (more: Record<string, unknown>, alg = 'HS256', key = secret) =>
    new SignJWT({ ...claims, ...more }).setProtectedHeader({ alg }).sign(key);
  const now = Math.floor(Date.now() / 1000);
  t.equal((await accounts.verifyAccess(await sign({}))).user.id, user.id, 'the helper signs well');
  await t.rejects(accounts.verifyAccess(await sign({ exp: now - 1 })), { code: 'TOKEN_EXPIRED' });

  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const [header = '', payload = '', signature = ''] = token.split('.');
  const altered = Buffer.from(JSON.stringify({ ...claims, sub: 'somebody else' }));
  const without = ({ [0]: name }: string[]) =>
    Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name));
  const forged: Record<string, string> = {
    'alg none': new UnsecuredJWT(claims).encode(),
    'alg none with our signature': `${new UnsecuredJWT(claims).encode()}${signature}`,
    'alg RS256': await sign({}, 'RS256', rsa),
    'alg HS512 with our secret': await sign(
      {},
      'HS512',
      createSecretKey(JWT_SECRET.repeat(2), 'utf8'),
    ),
    'alg HS384 with our secret': await sign(
      {},
      'HS384',
      createSecretKey(JWT_SECRET + ' '.repeat(20), 'utf8'),
    ),
    'another secret': await sign({}, 'HS256', createSecretKey(`${JWT_SECRET}!`, 'utf8')),
    'expired under another secret': await sign(
      { exp: now - 1 },
      'HS256',
      createSecretKey(`${JWT_SECRET}!`, 'utf8'),
    ),
    'another payload': `${header}.${altered.toString('base64url')}.${signature}`,
    'no signature': `${header}.${payload}.`,
    'another issuer': await sign({ iss: 'somebody' }),
    'another audience': await sign({ aud: 'somebody' }),
    'not an access token': await sign({ type: 'refresh' }),
    'an unknown user': await sign({ sub: 'nobody' }),
    'a number as user': await sign({ sub: 5 }),
    'another login': await sign({ sid: 'x' }),
    'an old version': await sign({ ver: 5 }),
    'a version as text': await sign({ ver: '0' }),
    'not yet valid': await sign({ nbf: now + 60 }),
    'no expiry': await new SignJWT(without(['exp']))
      .setProtectedHeader({ alg: 'HS256' })
      .sign(secret),
    'no type': await new SignJWT(without(['type']))
      .setProtectedHeader({ alg: 'HS256' })
      .sign(secret),
    'two parts': 'a.b',
    'five parts': 'a.b.c.d.e',
    nothing: '',
  };
  for (const [what, text] of Object.entries(forged)) {
    await t.rejects(accounts.verifyAccess(text), { code: 'TOKEN_INVALID' }, what);
  }
});

void t.test('a refresh token is good for one use; a second use ends the login', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      const config = database.config();
      const accounts = new Accounts(db, config, log);
      const first = await signIn(db, config);
      const other = await signIn(db, config);

      const second = await accounts.refresh(first.refreshToken);
      const third = await accounts.refresh(second.refreshToken);
      t.equal(third.user.id, first.user.id);
      t.not(third.refreshToken, second.refreshToken);
      await accounts.verifyAccess(first.token);
      await accounts.verifyAccess(third.accessToken);
      const kept = await db.selectFrom('refresh_tokens').selectAll().execute();
      t.notMatch(JSON.stringify(kept), third.refreshToken, 'kept as a hash only');

      await t.rejects(accounts.refresh(first.refreshToken), {
        code: 'TOKEN_INVALID',
        message: /was used before, so its login was ended/,
      });
      await t.rejects(accounts.refresh(third.refreshToken), { code: 'TOKEN_INVALID' });
      for (const token of [first.token, third.accessToken]) {
        await t.rejects(accounts.verifyAccess(token), { code: 'TOKEN_INVALID' });
      }
      await accounts.verifyAccess(other.token);
      await accounts.refresh(other.refreshToken);
    });
  }
});

void t.test('of many uses of one refresh token at once, one counts', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const [db, other] = [await database.open(), await database.open()];
      const config = database.config();
      const both = [new Accounts(db, config, log), new Accounts(other, config, log)] as const;
      const { refreshToken } = await signIn(db, config);
      const results = await Promise.allSettled(
        Array.from({ length: 8 }, (_, i) => both[i % 2 === 0 ? 0 : 1].refresh(refreshToken)),
      );
      const good = results.flatMap((result) =>
        result.status === 'fulfilled' ? [result.value] : [],
      );
      t.equal(good.length, 1);
      for (const result of results) {
        if (result.status === 'rejected') t.match(result.reason, { code: 'TOKEN_INVALID' });
      }
      t.same(await db.selectFrom('refresh_tokens').select('id').execute(), []);
      await t.rejects(both[0].verifyAccess(good[0]!.accessToken), { code: 'TOKEN_INVALID' });
    });
  }
});

void t.test('refresh tokens expire, and expired ones are forgotten', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      const config = database.config();
      const accounts = new Accounts(db, config, log);
      const { refreshToken, user, token } = await signIn(db, config);
      const expireAt = (time: number) =>
        db.updateTable('refresh_tokens').set({ expires_at: time }).execute();
      await expireAt(Date.now() - 1);
      await t.rejects(accounts.refresh(refreshToken), { code: 'TOKEN_EXPIRED' });
      await accounts.verifyAccess(token);

      await expireAt(Date.now() - config.account.accessTokenMs - 1);
      const { username, password } = { username: 'somebody', password: 'a password' };
      await accounts.register({ username, password });
      await accounts.login({ username, password }, '192.0.2.1');
      const left = await db.selectFrom('refresh_tokens').select('user_id').execute();
      t.notOk(left.some(({ user_id }) => user_id === user.id));
      await t.rejects(accounts.refresh(refreshToken), { code: 'TOKEN_INVALID' });
      await t.rejects(accounts.refresh('made up'), { code: 'TOKEN_INVALID' });
    });
  }
});
