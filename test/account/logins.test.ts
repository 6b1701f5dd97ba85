import t from 'tap';
import { Accounts } from '../../src/account/accounts.js';
import { createLog } from '../../src/log.js';
import { databases } from '../helpers/database.js';

const log = createLog('silent');
const here = '192.0.2.1';
const password = 'correct horse';

void t.test('a wrong name and a wrong password look the same', async (t) => {
  const [database] = await databases(t);
  const accounts = new Accounts(await database!.open(), database!.config(), log);
  await accounts.register({ username: 'ann', password });
  const failure = (username: string, tried: string) =>
    accounts.login({ username, password: tried }, here).catch((error: Error) => error);
  const wrongPassword = await failure('ann', 'correct hors');
  const wrongName = await failure('bob', password);
  t.match(wrongPassword, {
    code: 'LOGIN_FAILED',
    message: 'the username or the password is wrong',
  });
  t.same((wrongName as Error).message, (wrongPassword as Error).message);
  t.match(await failure("' or 1=1 --", password), { code: 'LOGIN_FAILED' });
});

void t.test('too many wrong passwords stop the right one too', async (t) => {
  const [database] = await databases(t);
  const config = database!.config({ LOGIN_ATTEMPTS: '2', LOGIN_WINDOW_MINUTES: '10' });
  const accounts = new Accounts(await database!.open(), config, log);
  const { user } = await accounts.register({ username: 'ann', password });
  const wrong = { username: 'ANN', password: 'not that one' };
  await t.rejects(accounts.login(wrong, here), { code: 'LOGIN_FAILED' });
  await accounts.login({ username: 'ann', password }, here);
  for (let i = 0; i < 2; i++)
    await t.rejects(accounts.login(wrong, here), { code: 'LOGIN_FAILED' });
  const stopped = { code: 'LOGIN_THROTTLED', message: /try again in \d+ seconds/ };
  await t.rejects(accounts.login({ username: 'ann', password }, here), stopped);
  await t.rejects(
    accounts.changePassword(user, { current: password, next: password }, here),
    stopped,
  );
  await t.rejects(accounts.remove(user, password, here), stopped);
  await accounts.login({ username: 'ann', password }, '192.0.2.2');
});

void t.test('a login ends by itself, with all others, or with the old password', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const accounts = new Accounts(await database.open(), database.config(), log);
      const login = () => accounts.login({ username: 'ann', password }, here);
      const { user, ...first } = await accounts.register({ username: 'ann', password });
      const stranger = await accounts.register({ username: 'bob', password });
      const [second, third] = [await login(), await login()];
      const isOver = async (one: { accessToken: string; refreshToken: string }, what: string) => {
        await t.rejects(accounts.verifyAccess(one.accessToken), { code: 'TOKEN_INVALID' }, what);
        await t.rejects(accounts.refresh(one.refreshToken), { code: 'TOKEN_INVALID' }, what);
      };

      await accounts.logout({ access: first.accessToken });
      await isOver(first, 'ended by its access token');
      await accounts.logout({ refresh: second.refreshToken });
      await isOver(second, 'ended by its refresh token');
      await accounts.logout({ refresh: second.refreshToken });
      await t.rejects(accounts.logout({ access: first.accessToken }), { code: 'TOKEN_INVALID' });
      await accounts.verifyAccess(third.accessToken);

      const fourth = await login();
      await accounts.logout({ access: fourth.accessToken }, { everywhere: true });
      await isOver(third, 'ended by another');
      await isOver(fourth, 'ended with all');

      const [fifth, sixth] = [await login(), await login()];
      await accounts.logout({ refresh: fifth.refreshToken }, { everywhere: true });
      await isOver(sixth, 'ended by the refresh token of another');

      const seventh = await login();
      await t.rejects(
        accounts.changePassword(user, { current: 'wrong one', next: 'a new password' }, here),
        { code: 'LOGIN_FAILED' },
      );
      const next = 'a new password';
      const renewed = await accounts.changePassword(user, { current: password, next }, here);
      await isOver(seventh, 'ended by the new password');
      await t.rejects(login(), { code: 'LOGIN_FAILED' });
      await accounts.login({ username: 'ann', password: next }, here);
      await accounts.verifyAccess(renewed.accessToken);
      await accounts.refresh(renewed.refreshToken);
      await accounts.verifyAccess(stranger.accessToken);
    });
  }
});

void t.test('a hash of an older cost is renewed at the next login', async (t) => {
  const [database] = await databases(t);
  const db = await database!.open();
  const accounts = new Accounts(db, database!.config(), log);
  await accounts.register({ username: 'ann', password: 'an old password' });
  const old =
    '$scrypt$ln=14,r=8,p=1$BwcHBwcHBwcHBwcHBwcHBw$4vYISiUyXCjKp6KNzyjoQ+8CDAPlsRsqKreN7kJB0jg';
  await db.updateTable('users').set({ password_hash: old }).execute();
  const login = () => accounts.login({ username: 'ann', password: 'an old password' }, here);
  await login();
  const { password_hash } = await db
    .selectFrom('users')
    .select('password_hash')
    .executeTakeFirstOrThrow();
  t.match(password_hash, /^\$scrypt\$ln=15,r=8,p=3\$/);
  await login();
});
