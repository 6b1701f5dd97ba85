import { setTimeout as sleep } from 'node:timers/promises';
import { Kysely, Migrator, sql } from 'kysely';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import type { Log } from '../log.js';
import { migrations } from './migrations/index.js';
import type { Database } from './schema.js';
import { sqliteDialect, sqlitePath } from './sqlite.js';

/**
 * Opens the database that DATABASE_URL names and brings its tables up to date; `destroy()` closes
 * it. A Postgres that does not answer yet is asked again for `waitMs`. Fails with
 * DATABASE_UNAVAILABLE. Inside `db.transaction()`, use the transaction alone: SQLite has one
 * connection, and a query beside it would wait for the end of the transaction.
 */
export async function openDatabase(
  config: Config,
  log: Log,
  { waitMs = 10_000 }: { waitMs?: number } = {},
): Promise<Kysely<Database>> {
  const isSqlite = config.databaseUrl.startsWith('sqlite:');
  const dialect = isSqlite
    ? sqliteDialect(sqlitePath(config.databaseUrl))
    : (await import('./postgres.js')).postgresDialect(config.databaseUrl, log);
  const db = new Kysely<Database>({ dialect });
  try {
    await connect(db, log, isSqlite ? 0 : waitMs);
    await migrate(db, log);
    return db;
  } catch (error) {
    await db.destroy().catch(() => undefined);
    throw error;
  }
}

async function connect(db: Kysely<Database>, log: Log, waitMs: number): Promise<void> {
  const deadline = Date.now() + waitMs;
  for (let attempt = 0; ; attempt++) {
    try {
      await sql`select 1`.execute(db);
      return;
    } catch (error) {
      // Wrong names and passwords do not mend themselves.
      const mayCome = /ECONNREFUSED|ENOENT|EAI_AGAIN|starting up/.test((error as Error).message);
      if (!mayCome || Date.now() >= deadline) throw error;
      if (attempt === 0) log.warn('the database does not answer yet; trying again');
      await sleep(200);
    }
  }
}

async function migrate(db: Kysely<Database>, log: Log): Promise<void> {
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => ({ ...migrations }) },
  });
  const { error, results = [] } = await migrator.migrateToLatest();
  for (const { migrationName, status } of results) {
    if (status === 'Success') log.info({ migration: migrationName }, 'changed the database');
  }
  if (error === undefined) return;
  if (error instanceof CodedError) throw error;
  const reason = (error as Error).message;
  throw new CodedError(
    'DATABASE_UNAVAILABLE',
    /previously executed migration/.test(reason)
      ? 'the database was written by a later version of this server: run that version, or ' +
          `restore the backup made before it (${reason})`
      : `the tables of the database could not be brought up to date: ${reason}`,
    { cause: error },
  );
}
