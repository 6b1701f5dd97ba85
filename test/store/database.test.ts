import { execFile } from 'node:child_process';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Kysely, sql } from 'kysely';
import Libsql from 'libsql';
import pg from 'pg';
import t from 'tap';
import { childEnvironment, loadConfig } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { openDatabase } from '../../src/store/database.js';
import { isForeignKeyViolation, isUniqueViolation } from '../../src/store/errors.js';
import { migrations } from '../../src/store/migrations/index.js';
import type { Database } from '../../src/store/schema.js';
import { postgresDialect } from '../../src/store/postgres.js';
import { sqliteDialect } from '../../src/store/sqlite.js';
import { temporaryFolder } from '../helpers/folder.js';
import { databases } from '../helpers/database.js';

const silent = createLog('silent');
const run = promisify(execFile);
const writer = fileURLToPath(new URL('./fixtures/writer.js', import.meta.url));

function addUser(db: Kysely<Database>, id: string) {
  return db
    .insertInto('users')
    .values({
      id,
      username: id,
      display_name: id,
      password_hash: '',
      subscription_type: 'free',
      created_at: 1795345392564,
    })
    .execute();
}

void t.test('both engines keep and answer the same', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      const bytes = new Uint8Array([0, 1, 255]);
      await db
        .insertInto('portraits')
        .values({ id: 'p', mime: 'a', width: 2, height: 1, data: bytes, created_at: 2 ** 45 })
        .execute();
      const again = await database.open();
      const row = await again.selectFrom('portraits').selectAll().executeTakeFirstOrThrow();
      t.match(row, { id: 'p', width: 2, created_at: 2 ** 45 });
      t.ok(row.data instanceof Uint8Array);
      t.same(new Uint8Array(row.data), bytes);

      await addUser(db, 'u');
      await db
        .insertInto('roles')
        .values({
          id: 'r',
          owner_id: 'u',
          name: 'nul \0, half \ud83d, whole 😀',
          gender: undefined,
          personality: '',
          is_public: true as unknown as number,
          created_at: 1,
          updated_at: 2,
        })
        .execute();
      const role = await db.selectFrom('roles').selectAll().executeTakeFirstOrThrow();
      t.match(role, { name: 'nul , half \ufffd, whole 😀', gender: null, is_public: 1 });
      const found = await db
        .selectFrom('roles')
        .select('id')
        .where('is_public', '=', true as unknown as number)
        .where('name', '=', 'nul \0, half \udfff, whole 😀')
        .execute();
      t.same(found, [{ id: 'r' }]);
      await t.rejects(
        db.updateTable('roles').set({ age: Number.NaN }).execute(),
        /a query parameter is a number, text, bytes or null, not NaN/,
      );

      await db
        .insertInto('usage')
        .values([
          { user_id: 'u', day: 'a', kind: 'x', amount: 1 },
          { user_id: 'u', day: 'b', kind: 'x', amount: 2 ** 40 },
        ])
        .execute();
      const sums = await db
        .selectFrom('usage')
        .select(({ fn }) => [fn.sum('amount').as('sum'), fn.countAll().as('count')])
        .executeTakeFirstOrThrow();
      t.strictSame({ ...sums }, { sum: 2 ** 40 + 1, count: 2 });
      const changed = await db.updateTable('usage').set({ amount: 7 }).executeTakeFirst();
      t.equal(changed.numUpdatedRows, 2n);
    });
  }
});

void t.test('broken rules are told apart, and a failed transaction leaves nothing', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      await addUser(db, 'u');
      const twice = await addUser(db, 'u').catch((error: unknown) => error);
      t.ok(isUniqueViolation(twice));
      t.notOk(isForeignKeyViolation(twice));
      const orphan = await db
        .insertInto('conversations')
        .values({ id: 'c', user_id: 'nobody', status: 'active', started_at: 1 })
        .execute()
        .catch((error: unknown) => error);
      t.ok(isForeignKeyViolation(orphan));
      t.notOk(isUniqueViolation(orphan));

      await t.rejects(
        db.transaction().execute(async (trx) => {
          await addUser(trx, 'v');
          throw new Error('changed my mind');
        }),
        /changed my mind/,
      );
      t.same(await db.selectFrom('users').select('id').execute(), [{ id: 'u' }]);

      await db
        .insertInto('conversations')
        .values({ id: 'c', user_id: 'u', status: 'active', started_at: 1 })
        .execute();
      await db
        .insertInto('conversation_messages')
        .values({
          id: 'm',
          conversation_id: 'c',
          position: 0,
          speaker: 'user',
          text: 'hello',
          turn_id: 't',
          created_at: 1,
        })
        .execute();
      await db.deleteFrom('users').where('id', '=', 'u').execute();
      t.same(await db.selectFrom('conversation_messages').select('id').execute(), []);
    });
  }
});

void t.test('several processes may start and write at the same time', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const env = childEnvironment({
        DATABASE_URL: database.url,
        DATA_DIR: database.config().dataFolder,
      });
      const times = 25;
      const children = await Promise.all(
        Array.from({ length: 3 }, () =>
          run(process.execPath, [writer, 'shared', String(times)], { env }),
        ),
      );
      const counts = children.map(
        ({ stdout }) => (JSON.parse(stdout) as { migrations: number }).migrations,
      );
      t.same(counts.sort(), [0, 0, Object.keys(migrations).length], 'one of them makes the tables');
      const db = await database.open();
      const { token_version } = await db
        .selectFrom('users')
        .select('token_version')
        .executeTakeFirstOrThrow();
      t.equal(token_version, 3 * times, 'no change was lost');
    });
  }
});

void t.test('one process may open a fresh database several times at once', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const all = await Promise.all([database.open(), database.open(), database.open()]);
      const names = await sql<{ name: string }>`select name from kysely_migration`.execute(all[0]);
      t.same(
        names.rows,
        Object.keys(migrations).map((name) => ({ name })),
      );
    });
  }
});

void t.test('a database of a later version is left alone', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      await sql`insert into kysely_migration (name, timestamp) values ('9999-later', 'x')`.execute(
        db,
      );
      await t.rejects(openDatabase(database.config(), silent), {
        code: 'DATABASE_UNAVAILABLE',
        message: /a later version of this server/,
      });
    });
  }
});

void t.test('consent that an earlier version recorded has its words', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      await db.schema.alterTable('roles').dropColumn('consent_statement').execute();
      await sql`insert into roles (id, name, personality, is_public, consent_at, created_at, updated_at)
        values ('shown', 'A', '', 0, 5, 5, 5), ('unseen', 'B', '', 0, null, 5, 5)`.execute(db);
      await migrations['0003-consent']!.up(db);
      t.match(await db.selectFrom('roles').selectAll().orderBy('id').execute(), [
        { id: 'shown', consent_at: 5, consent_statement: /^Whoever the picture shows agrees/ },
        { id: 'unseen', consent_at: null, consent_statement: null },
      ]);
    });
  }
});

void t.test('SQLite: waiting for another writer does not stop everything else', async (t) => {
  const [database] = await databases(t);
  const db = await database!.open();
  const other = new Libsql(database!.url.slice('sqlite:'.length));
  t.teardown(() => other.close());
  other.exec('begin immediate');
  let done = false;
  const adding = addUser(db, 'u').then(() => (done = true));
  for (let i = 0; i < 100; i++) await new Promise((resolve) => setImmediate(resolve));
  t.notOk(done);
  other.exec('commit');
  t.ok(await adding);
});

void t.test('SQLite: a write that waited in vain is no burden on those after it', async (t) => {
  const path = join(await temporaryFolder(t), 'test.db');
  await (await openDatabase(loadConfig({ DATABASE_URL: `sqlite:${path}` }), silent)).destroy();
  const db = new Kysely<Database>({ dialect: sqliteDialect(path, { busyMs: 30 }) });
  t.teardown(() => db.destroy());
  const other = new Libsql(path);
  t.teardown(() => other.close());
  other.exec('begin immediate');
  const locked = { code: 'DATABASE_UNAVAILABLE', message: /stays locked: end the other process/ };
  await t.rejects(addUser(db, 'u'), locked);
  await t.rejects(
    db.transaction().execute((trx) => addUser(trx, 'v')),
    locked,
  );
  t.same(await db.selectFrom('users').select('id').execute(), [], 'reading goes on');
  other.exec('commit');
  await db.transaction().execute((trx) => addUser(trx, 'w'));
  await sql`update users set nickname = 'x'`.execute(db);
  t.same(await db.selectFrom('users').select(['id', 'nickname']).execute(), [
    { id: 'w', nickname: 'x' },
  ]);
});

void t.test('SQLite: the file is for its owner alone, and its folder is made', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'a', 'b', 'data.db');
  const db = await openDatabase(loadConfig({ DATABASE_URL: `sqlite:${path}` }), silent);
  await addUser(db, 'u');
  for (const name of [path, `${path}-wal`]) t.equal((await stat(name)).mode & 0o777, 0o600, name);
  await db.destroy();
});

void t.test('SQLite: statements in a row do not pile up memory', async (t) => {
  const db = await openDatabase(loadConfig({ DATABASE_URL: 'sqlite::memory:' }), silent);
  await addUser(db, 'u');
  const native = () => process.memoryUsage().rss - process.memoryUsage().heapTotal;
  const before = native();
  for (let i = 0; i < 20_000; i++) {
    await db.selectFrom('users').selectAll().where('id', '=', 'u').execute();
  }
  const grown = (native() - before) / 1e6;
  t.ok(grown < 60, `${Math.round(grown)} MB`);
  await db.destroy();
});

void t.test('SQLite: what cannot be opened is said plainly', async (t) => {
  const folder = await temporaryFolder(t);
  const text = join(folder, 'letter.db');
  await writeFile(text, 'Dear Sir or Madam, '.repeat(500));
  await mkdir(join(folder, 'folder.db'));
  const open = (path: string) =>
    openDatabase(loadConfig({ DATABASE_URL: `sqlite:${path}` }), silent);
  await t.rejects(open(text), { code: 'DATABASE_UNAVAILABLE', message: /not a sound SQLite file/ });
  for (const path of [join(folder, 'folder.db'), join(text, 'inner.db')]) {
    await t.rejects(open(path), {
      code: 'DATABASE_UNAVAILABLE',
      message: /cannot be read and written/,
    });
  }
});

void t.test('Postgres: failures say what to do, and never the password', async (t) => {
  const url = (await databases(t)).find(({ engine }) => engine === 'postgres')?.url;
  if (url === undefined) return;
  const secret = /:([0-9a-f]{24})@/.exec(url)?.[1] as string;
  const lines: string[] = [];
  const log = createLog('trace', { write: (line: string) => void lines.push(line) });
  const failure = async (databaseUrl: string) => {
    const error = await openDatabase(loadConfig({ DATABASE_URL: databaseUrl }), log, { waitMs: 0 })
      .then(() => undefined)
      .catch((reason: unknown) => reason as Error & { code: string });
    log.error({ err: error }, 'it failed');
    return error;
  };
  t.match(await failure(url.replace(secret, `not-${secret}`)), {
    code: 'DATABASE_UNAVAILABLE',
    message: /check user and password in DATABASE_URL/,
  });
  t.match(await failure(url.replace(/[^/]+$/, 'nowhere')), {
    code: 'DATABASE_UNAVAILABLE',
    message: /create the database/,
  });
  t.match(await failure(`postgres://someone:${secret}@127.0.0.1:1/x`), {
    code: 'DATABASE_UNAVAILABLE',
    message: /someone@127\.0\.0\.1:1\/x: .*ECONNREFUSED.*check that it runs/,
  });
  t.match(await failure(`postgres://someone:${secret}@not a host:port/x`), {
    code: 'CONFIG_INVALID',
    message: /percent-encoded/,
  });
  t.equal(lines.filter((line) => line.includes('it failed')).length, 4);
  t.notMatch(lines.join(''), secret);
});

void t.test('Postgres: a lost line fails queries, not the process, and comes back', async (t) => {
  const database = (await databases(t)).find(({ engine }) => engine === 'postgres');
  if (database === undefined) return;
  const lines: string[] = [];
  const log = createLog('trace', { write: (line: string) => void lines.push(line) });
  const db = await openDatabase(database.config(), log);
  const admin = new pg.Client(database.url);
  await admin.connect();
  t.teardown(() => db.destroy());
  t.teardown(() => admin.end());
  const cut = () =>
    admin.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where pid <> pg_backend_pid() and datname = current_database()`,
    );
  await t.rejects(
    db.transaction().execute(async (trx) => {
      await addUser(trx, 'u');
      await cut();
      await addUser(trx, 'v');
    }),
    { code: 'DATABASE_UNAVAILABLE' },
  );
  t.same(await db.selectFrom('users').select('id').execute(), []);
  await cut();
  // Every connection of the pool is dead now, and may cost one query to find out.
  const read = () =>
    db
      .selectFrom('users')
      .select('id')
      .execute()
      .catch((error: unknown) => {
        t.match(error, { code: 'DATABASE_UNAVAILABLE' });
        return undefined;
      });
  let rows = await read();
  for (let i = 0; i < 3 && rows === undefined; i++) rows = await read();
  t.same(rows, []);
});

void t.test(
  'Postgres: a server that is silent is away, and its line is not used again',
  async (t) => {
    const database = (await databases(t)).find(({ engine }) => engine === 'postgres');
    if (database === undefined) return;
    const dialect = postgresDialect(database.url, silent, { silentMs: 300 });
    const db = new Kysely<Database>({ dialect });
    t.teardown(() => db.destroy());
    const line = async () => {
      const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db);
      return rows[0]?.pid;
    };
    const before = await line();
    await t.rejects(sql`select pg_sleep(20)`.execute(db), {
      code: 'DATABASE_UNAVAILABLE',
      message: /read timeout.*check that it runs/,
    });
    t.not(await line(), before);
  },
);
