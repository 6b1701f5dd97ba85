import { type Dialect, PostgresDialect } from 'kysely';
import pg from 'pg';
import { CodedError } from '../errors.js';
import type { Log } from '../log.js';
import { toParameter } from './values.js';

/** 64-bit integers and sums of them: ours stay far below 2^53. */
const numericTypes: ReadonlySet<number> = new Set([
  pg.types.builtins.INT8,
  pg.types.builtins.NUMERIC,
]);
const types: pg.CustomTypesConfig = {
  getTypeParser: (id, format) =>
    numericTypes.has(id) ? Number : (pg.types.getTypeParser(id, format) as never),
};

/** The server's own limit of a query; it is told before ours, which is for a server that is silent. */
const statementMs = 60_000;

/**
 * Postgres by a pool of connections; a server that is away fails queries, never the process, and
 * one that does not answer for `silentMs` is away.
 */
export function postgresDialect(
  url: string,
  log: Log,
  { silentMs = statementMs + 5000 }: { silentMs?: number } = {},
): Dialect {
  const options: pg.PoolConfig = {
    connectionString: url,
    types,
    max: 10,
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 60_000,
    statement_timeout: statementMs,
    query_timeout: silentMs,
    keepAlive: true,
    application_name: 'echomimic-server',
  };
  const place = placeOf(options);
  const pool = new pg.Pool(options);
  const onLost = (error: Error) =>
    log.warn({ place, reason: error.message }, 'lost a connection to the database');
  pool.on('error', onLost);
  // Between two queries of a transaction nobody else listens, and the process would end.
  pool.on('connect', (client) => client.on('error', onLost));
  return new PostgresDialect({
    pool: {
      connect: async () => {
        const client = await pool.connect().catch((error: unknown) => {
          throw describeFailure(error, place);
        });
        let failure: Error | undefined;
        return {
          query: (async (text: string, parameters: readonly unknown[]) => {
            try {
              return await client.query(text, parameters.map(toParameter));
            } catch (error) {
              const described = describeFailure(error, place);
              if (described !== error) failure = described as Error;
              throw described;
            }
          }) as never,
          // A connection that failed is not kept for the next.
          release: () => client.release(failure),
        };
      },
      end: () => pool.end(),
    },
  });
}

/** `user@host:port/database`; the error of a wrong URL would quote the password. */
function placeOf(options: pg.PoolConfig): string {
  try {
    const { user, host, port, database } = new pg.Client(options);
    return `${user}@${host}:${port}/${database}`;
  } catch {
    throw new CodedError(
      'CONFIG_INVALID',
      'DATABASE_URL cannot be read: it looks like postgres://user:password@host:5432/database, ' +
        'with special characters of the password percent-encoded',
    );
  }
}

const advice: Readonly<Record<string, string>> = {
  '28P01': 'check user and password in DATABASE_URL',
  '28000': 'check user and pg_hba.conf of the server',
  '3D000': 'create the database, or name another one in DATABASE_URL',
  '42501': 'give the user the right to create tables in the schema',
  '53300': 'raise max_connections of the server',
};

/** Failures of the server or of the line to it; what a query did wrong stays as it is. */
function describeFailure(error: unknown, place: string): unknown {
  const { code, message } = error as { code?: unknown; message: string };
  const isOurs = typeof code === 'string' && code in advice;
  const isLine =
    /^(08...|57P0[1-5]|E[A-Z_]+)$/.test(String(code)) ||
    /connection terminated|connection timeout|query read timeout|timeout exceeded when trying to connect|not queryable|SSL|SASL/i.test(
      message,
    );
  if (!isOurs && !isLine) return error;
  const hint = isOurs ? advice[code] : 'check that it runs and that DATABASE_URL names it';
  return new CodedError(
    'DATABASE_UNAVAILABLE',
    `Postgres at ${place}: ${message || String(code)}: ${hint}`,
  );
}
