import t from 'tap';
import { Accounts, missingProfileFields } from '../../src/account/accounts.js';
import { createLog } from '../../src/log.js';
import { databases } from '../helpers/database.js';

const log = createLog('silent');
const here = '192.0.2.1';
const password = 'correct horse';

void t.test('names are unique however they are written', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      const accounts = new Accounts(db, database.config(), log);
      const { user } = await accounts.register({ username: 'Jürgen.Groß', password });
      t.match(user, {
        username: 'jürgen.groß',
        display_name: 'Jürgen.Groß',
        subscription_type: 'free',
        nickname: null,
      });
      for (const username of ['jürgen.groß', 'JU\u0308RGEN.Groß', 'ＪÜＲＧＥＮ.groß']) {
        await t.rejects(accounts.register({ username, password }), { code: 'USERNAME_TAKEN' });
        await accounts.login({ username, password }, here);
      }
      const both = await Promise.allSettled([
        accounts.register({ username: 'twice', password }),
        accounts.register({ username: 'TWICE', password }),
      ]);
      t.same(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
      t.same(
        (await accounts.list()).map(({ username }) => username),
        ['jürgen.groß', 'twice'],
      );
      const stored = await db.selectFrom('users').selectAll().execute();
      t.notMatch(JSON.stringify(stored), password);
    });
  }
});

void t.test('names and profiles that may not be are refused with what they may be', async (t) => {
  const [database] = await databases(t);
  const accounts = new Accounts(await database!.open(), database!.config(), log);
  for (const username of ['ab', 'a'.repeat(65), 'a b c', 'a\nb', 'a<b>', 'x/../y', '', '😀😀😀']) {
    await t.rejects(
      accounts.register({ username, password }),
      { code: 'BAD_REQUEST', message: /a username has 3 to 64 letters/ },
      JSON.stringify(username),
    );
  }
  const year = new Date().getUTCFullYear();
  const wrong = [
    { birth_year: 1899 },
    { birth_year: year + 1 },
    { birth_year: 1950.5 },
    { nickname: '   ' },
    { nickname: 'x'.repeat(65) },
    { occupation: 'x'.repeat(129) },
    { birth_place: 'a\0b' },
    { display_name: '' },
  ];
  for (const profile of wrong) {
    const [field = ''] = Object.keys(profile);
    await t.rejects(accounts.register({ username: 'ann', password, ...profile }), {
      code: 'BAD_REQUEST',
      message: new RegExp(`^${field} is`),
    });
  }
  await t.rejects(accounts.register({ username: 'ann', password: 'short' }), {
    code: 'BAD_REQUEST',
    message: /8 to 256/,
  });
  for (const username of ['王小明', 'иван', 'a.b_c-d@example.com', '123']) {
    t.ok(await accounts.register({ username, password }), username);
  }
});

void t.test('the profile fills up field by field', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const accounts = new Accounts(await database.open(), database.config(), log);
      const { user } = await accounts.register({
        username: 'ann',
        password,
        nickname: '  Annie   Mae ',
      });
      t.equal(user.nickname, 'Annie Mae');
      const missing = ['birth_year', 'birth_place', 'grew_up_place', 'occupation'];
      t.same(missingProfileFields(user), missing);
      const changed = await accounts.updateProfile(user.id, {
        birth_year: 1950,
        birth_place: '北京',
        grew_up_place: 'Reykjavík',
        occupation: 'teacher',
        display_name: 'Ann',
      });
      t.same(missingProfileFields(changed), []);
      t.match(changed, { nickname: 'Annie Mae', birth_year: 1950, birth_place: '北京' });
      const cleared = await accounts.updateProfile(user.id, { nickname: null });
      t.same(missingProfileFields(cleared), ['nickname']);
      t.same(await accounts.updateProfile(user.id, {}), cleared);
      await t.rejects(accounts.updateProfile('nobody', { birth_year: 1950 }), {
        code: 'TOKEN_INVALID',
      });
    });
  }
});

void t.test('a closed server takes no new accounts', async (t) => {
  const [database] = await databases(t);
  const accounts = new Accounts(
    await database!.open(),
    database!.config({ REGISTRATION: 'closed' }),
    log,
  );
  await t.rejects(accounts.register({ username: 'ann', password }), {
    code: 'REGISTRATION_CLOSED',
  });
  t.same(await accounts.list(), []);
});

void t.test('a deleted account takes everything of its own along', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      const accounts = new Accounts(db, database.config(), log);
      const { user, accessToken, refreshToken } = await accounts.register({
        username: 'ann',
        password,
      });
      const portraits = ['hers alone', 'shared', 'bundled'];
      for (const id of portraits) {
        await db
          .insertInto('portraits')
          .values({ id, mime: 'a', width: 1, height: 1, data: new Uint8Array(1), created_at: 1 })
          .execute();
      }
      const role = (id: string, owner_id: string | null, portrait_id: string) => ({
        ...{ id, owner_id, portrait_id, name: id, personality: '' },
        ...{ is_public: 1, created_at: 1, updated_at: 1 },
      });
      await db
        .insertInto('roles')
        .values([
          role('hers', user.id, 'hers alone'),
          role('hers too', user.id, 'shared'),
          role('ours', null, 'shared'),
          role('ours too', null, 'bundled'),
        ])
        .execute();
      await db
        .insertInto('conversations')
        .values({ id: 'c', user_id: user.id, role_id: 'ours', status: 'active', started_at: 1 })
        .execute();

      await t.rejects(accounts.remove(user, 'wrong one', here), { code: 'LOGIN_FAILED' });
      await accounts.remove(user, password, here);
      await t.rejects(accounts.verifyAccess(accessToken), { code: 'TOKEN_INVALID' });
      await t.rejects(accounts.refresh(refreshToken), { code: 'TOKEN_INVALID' });
      await t.rejects(accounts.login({ username: 'ann', password }, here), {
        code: 'LOGIN_FAILED',
      });
      const ids = async (table: 'roles' | 'portraits' | 'conversations' | 'users') =>
        (await db.selectFrom(table).select('id').orderBy('id').execute()).map(({ id }) => id);
      t.same(await ids('roles'), ['ours', 'ours too']);
      t.same(await ids('portraits'), ['bundled', 'shared']);
      t.same(await ids('conversations'), []);
      t.same(await ids('users'), []);
      await accounts.register({ username: 'ann', password });
    });
  }
});

void t.test('whoever runs the server sets subscriptions', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const accounts = new Accounts(await database.open(), database.config(), log);
      await accounts.register({ username: 'ann', password });
      t.match(await accounts.setSubscription('ANN', 'pro'), { subscription_type: 'pro' });
      t.match(await accounts.list(), [{ username: 'ann', subscription_type: 'pro' }]);
      await t.rejects(accounts.setSubscription('bob', 'pro'), {
        code: 'NOT_FOUND',
        message: 'there is no user "bob"',
      });
      await t.rejects(accounts.setSubscription('ann', 'Pro!'), { code: 'BAD_REQUEST' });
    });
  }
});
