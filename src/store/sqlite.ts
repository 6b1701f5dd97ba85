import { mkdirSync, openSync, closeSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SelectQueryNode,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import Libsql from 'libsql';
import { CodedError } from '../errors.js';
import { projectRoot } from '../paths.js';
import { toParameter } from './values.js';

const statementsKept = 256;

/** `sqlite:PATH`, relative to the project, or `sqlite::memory:`. */
export function sqlitePath(url: string): string {
  const path = url.replace(/^sqlite:(\/\/)?/, '');
  return path === ':memory:' || isAbsolute(path) ? path : join(projectRoot, path);
}

/**
 * SQLite by libsql; the file and its folder are made when they do not exist. While another process
 * writes, a writer waits for `busyMs`.
 */
export function sqliteDialect(path: string, { busyMs = 10_000 } = {}): Dialect {
  return {
    createDriver: () => new LibsqlDriver(path, busyMs),
    createQueryCompiler: () => new SqliteQueryCompiler(),
    createAdapter: () => new TransactionalAdapter(),
    createIntrospector: (db) => new SqliteIntrospector(db),
  };
}

/** Migrations run in one write transaction, so that a second process waits for the first. */
class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

/** One connection, lent to one borrower at a time. */
class LibsqlDriver implements Driver {
  readonly #path: string;
  readonly #busyMs: number;
  #connection: LibsqlConnection | undefined;
  #lent: Promise<void> = Promise.resolve();
  #giveBack: () => void = () => undefined;

  constructor(path: string, busyMs: number) {
    this.#path = path;
    this.#busyMs = busyMs;
  }

  async init(): Promise<void> {
    this.#connection = new LibsqlConnection(open(this.#path), this.#path, this.#busyMs);
    await this.#connection.command(
      'pragma journal_mode = wal; pragma synchronous = normal; pragma foreign_keys = on',
    );
  }

  async acquireConnection(): Promise<LibsqlConnection> {
    const before = this.#lent;
    let giveBack = () => {};
    this.#lent = new Promise((resolve) => (giveBack = resolve));
    await before;
    this.#giveBack = giveBack;
    if (this.#connection === undefined) {
      giveBack();
      throw new CodedError('DATABASE_UNAVAILABLE', 'the database was closed');
    }
    return this.#connection;
  }

  async releaseConnection(): Promise<void> {
    this.#giveBack();
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as LibsqlConnection).begin();
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as LibsqlConnection).command('commit');
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as LibsqlConnection).command('rollback');
  }

  async destroy(): Promise<void> {
    await this.#lent;
    this.#connection?.close();
    this.#connection = undefined;
  }
}

class LibsqlConnection implements DatabaseConnection {
  readonly #database: Libsql.Database;
  readonly #path: string;
  readonly #busyMs: number;
  /** Statements hold native memory until a garbage collection that they do not cause: kept and reused. */
  readonly #statements = new Map<string, Libsql.Statement>();

  constructor(database: Libsql.Database, path: string, busyMs: number) {
    this.#database = database;
    this.#path = path;
    this.#busyMs = busyMs;
  }

  /** A deferred transaction that reads first cannot wait for a writer: it fails at its first write. */
  begin(): Promise<void> {
    return this.command('begin immediate');
  }

  command(sql: string): Promise<void> {
    return this.#inTurn(() => void this.#database.exec(sql));
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const parameters = query.parameters.map(toParameter);
    const execute = () => this.#execute<R>(query.sql, parameters);
    if (this.#database.inTransaction || SelectQueryNode.is(query.query)) {
      return this.#inTurn(execute);
    }
    // A write that found the file locked stays "in progress" in libsql, and no transaction could
    // be committed beside it: so the command that begins one is all that ever waits.
    await this.begin();
    try {
      const result = await this.#inTurn(execute);
      await this.command('commit');
      return result;
    } catch (error) {
      if (this.#database.inTransaction) await this.command('rollback');
      throw error;
    }
  }

  /** Does it when no other process writes. SQLite's own waiting would hold up everything of ours. */
  async #inTurn<T>(work: () => T): Promise<T> {
    const deadline = Date.now() + this.#busyMs;
    for (;;) {
      try {
        return work();
      } catch (error) {
        const waits = isBusy(error) && !this.#database.inTransaction && Date.now() < deadline;
        if (!waits) throw describeFailure(error, this.#path);
        await sleep(2 + Math.random() * 20);
      }
    }
  }

  #execute<R>(sql: string, parameters: unknown[]): QueryResult<R> {
    const statement = this.#statement(sql);
    if (statement.reader) {
      return { rows: (statement.all(parameters) as Record<string, unknown>[]).map(toRow) as R[] };
    }
    const { changes } = statement.run(parameters);
    return { numAffectedRows: BigInt(changes), rows: [] };
  }

  #statement(sql: string): Libsql.Statement {
    const statement = this.#statements.get(sql) ?? this.#database.prepare(sql);
    this.#statements.delete(sql);
    this.#statements.set(sql, statement);
    if (this.#statements.size > statementsKept) {
      this.#statements.delete(this.#statements.keys().next().value as string);
    }
    return statement;
  }

  // eslint-disable-next-line require-yield
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('queries are not streamed: read in pages');
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }
}

function open(path: string): Libsql.Database {
  try {
    if (path !== ':memory:') {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      closeSync(openSync(path, 'a', 0o600));
    }
    return new Libsql(path);
  } catch (error) {
    throw describeFailure(error, path);
  }
}

function toRow(row: Record<string, unknown>): Record<string, unknown> {
  for (const key in row) {
    const value = row[key];
    if (value instanceof ArrayBuffer) row[key] = Buffer.from(value);
  }
  return row;
}

function isBusy(error: unknown): boolean {
  return /^SQLITE_(BUSY|LOCKED)/.test(String((error as { code?: unknown }).code));
}

function describeFailure(error: unknown, path: string): unknown {
  const { code, message } = error as { code?: unknown; message?: string };
  const unavailable = (what: string) =>
    new CodedError('DATABASE_UNAVAILABLE', `the database ${path} ${what}`, { cause: error });
  if (isBusy(error)) {
    return unavailable('stays locked: end the other process that writes to it');
  }
  if (code === 'SQLITE_FULL' || code === 'ENOSPC') {
    return new CodedError('STORAGE_FULL', 'the disk of the database is full', { cause: error });
  }
  if (code === 'SQLITE_NOTADB' || code === 'SQLITE_CORRUPT') {
    return unavailable(
      `is not a sound SQLite file (${message ?? code}): restore a backup, or move it away`,
    );
  }
  if (/^(SQLITE_(CANTOPEN|READONLY|IOERR|PERM)|E[A-Z]+$)/.test(String(code))) {
    return unavailable(
      `cannot be read and written (${message ?? String(code)}): check its folder and permissions, ` +
        'or set DATABASE_URL',
    );
  }
  return error;
}
