import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { Kysely, sql } from 'kysely';
import { isLoopback, toolEnvironment } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { connectRedis, neededRedis, readRedisFacts, whereIs } from '../../src/queue/redis.js';
import { postgresDialect } from '../../src/store/postgres.js';
import { sqlitePath } from '../../src/store/sqlite.js';
import type { Check } from './findings.js';
import { checkFolder } from './machine.js';

const silent = createLog('silent');
const mostSkewMs = 2000;

export const redis: Check = {
  name: 'Redis',
  fix: 'check that it runs and that REDIS_HOST, REDIS_PORT, REDIS_PASSWORD or REDIS_SENTINELS lead to it',
  run: async (config, report) => {
    const { named, serverProgram } = config.redis;
    if (!named) {
      const { stdout } = await promisify(execFile)(serverProgram, ['--version'], {
        env: toolEnvironment(),
      }).catch((error: NodeJS.ErrnoException) => ({ stdout: error.message }));
      const [, version] = /v=(\d+\.\d+\S*)/.exec(stdout) ?? [];
      if (version === undefined) {
        const fix =
          'install redis-server (Debian and Ubuntu: apt-get install redis-server; macOS: brew install redis), or name a Redis by REDIS_HOST';
        return report.fail(`the program ${serverProgram} does not run: ${stdout}`, fix);
      }
      if (neededRedis.isOlder(version)) {
        return report.fail(
          `${serverProgram} is ${version}`,
          `install ${neededRedis.text} or later`,
        );
      }
      return report.ok(`${serverProgram} ${version}, run by npm start`);
    }
    const connection = connectRedis(config, silent);
    // It would go on trying; a doctor says what the first attempt said.
    const refused = once(connection, 'error').then(([error]) => {
      throw error as Error;
    });
    try {
      const asked = readRedisFacts(connection);
      const { version, policy, appendOnly, timeMs } = await Promise.race([asked, refused]);
      const where = whereIs(config);
      if (neededRedis.isOlder(version)) {
        return report.fail(`${where} is ${version}`, `install ${neededRedis.text} or later`);
      }
      report.ok(`${where}, version ${version}`);
      if (policy !== undefined && policy !== 'noeviction') {
        const fix = 'CONFIG SET maxmemory-policy noeviction, and in redis.conf';
        report.warn(`maxmemory-policy is ${policy}: it may evict tasks`, fix);
      }
      if (appendOnly === 'no') {
        const fix = 'CONFIG SET appendonly yes, and in redis.conf';
        report.warn('it has no append-only file: it forgets tasks when it restarts', fix);
      }
      const skew = Math.abs(timeMs - Date.now());
      if (skew > mostSkewMs) {
        const fix = 'synchronise the clocks of both machines (NTP)';
        report.warn(`its clock differs from this one by ${(skew / 1000).toFixed(1)} s`, fix);
      }
    } finally {
      connection.disconnect();
    }
  },
};

export const database: Check = {
  name: 'database',
  fix: 'check DATABASE_URL, and that its server runs',
  run: async ({ databaseUrl }, report) => {
    if (databaseUrl.startsWith('sqlite:')) {
      const path = sqlitePath(databaseUrl);
      const found = await stat(path).catch(() => undefined);
      if (found === undefined) return checkFolder(dirname(path), report);
      await access(path, constants.R_OK | constants.W_OK);
      return report.ok(path);
    }
    // Not openDatabase, which would bring the tables up to date.
    const db = new Kysely<unknown>({ dialect: postgresDialect(databaseUrl, silent) });
    try {
      await sql`select 1`.execute(db);
      report.ok('Postgres answers');
    } finally {
      void db.destroy();
    }
  },
};

export const tempFiles: Check = {
  name: 'temp files',
  fix: 'check TEMP_FILE_STORE and the S3_… settings, and what the keys may do (docs/scaling.md)',
  run: async ({ tempFiles: { s3, folder, expiryMs } }, report) => {
    if (s3 === undefined) return checkFolder(folder, report);
    const { S3Shelf } = await import('../../src/tempfile/s3.js');
    await new S3Shelf({ ...s3, sweepAfterMs: expiryMs }).open();
    report.ok(`the bucket ${s3.bucket} answers`);
  },
};

const reachApi = 'start the service; BASE_URL names its API as workers reach it';

/** Workers of one machine may serve an API on another. */
export const api: Check = {
  name: 'API',
  fix: reachApi,
  run: async ({ baseUrl }, report) => {
    if (isLoopback(new URL(baseUrl).hostname)) return;
    const answer = await fetch(`${baseUrl}/livez`).catch((error: Error) => error);
    if (answer instanceof Error || !answer.ok) {
      const why = answer instanceof Error ? reasonOf(answer) : `it answers ${answer.status}`;
      report.warn(`${baseUrl} does not serve yet: ${why}`, reachApi);
    } else report.ok(`${baseUrl} answers`);
  },
};

export const providers: Check = {
  name: 'providers',
  fix: 'check the addresses in OPENAI_BASE_URL or DASHSCOPE_…_BASE_URL, and the way out of this machine',
  run: async ({ speech, dialogue, providers }, report) => {
    const chosen = new Set<string>([speech.asr, speech.tts, dialogue.provider]);
    const urls = [
      ...(chosen.has('openai') ? [providers.openai.url] : []),
      ...(chosen.has('dashscope') ? [providers.dashscope.httpUrl] : []),
    ];
    for (const url of urls) {
      // Any answer will do: without the key there is nothing to be had, and nothing to pay.
      await fetch(url, { redirect: 'manual' }).catch((error: Error) => {
        throw new Error(`${url}: ${reasonOf(error)}`);
      });
      report.ok(`${url} can be reached`);
    }
  },
};

/** fetch itself only says that it failed. */
function reasonOf(error: Error): string {
  const cause = error.cause as NodeJS.ErrnoException | undefined;
  return cause?.message || cause?.code || error.message;
}
