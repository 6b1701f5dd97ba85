import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdtemp, readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Writable } from 'node:stream';
import { promisify } from 'node:util';
import type { Kysely } from 'kysely';
import pg from 'pg';
import { type Test, t as root } from 'tap';
import { type Config, loadConfig } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { openDatabase } from '../../src/store/database.js';
import type { Database } from '../../src/store/schema.js';
import { temporaryFolder } from './folder.js';

const run = promisify(execFile);

/** An empty database of one suite. */
export interface TestDatabase {
  readonly engine: 'sqlite' | 'postgres';
  /** What DATABASE_URL says. */
  readonly url: string;
  /** A configuration whose data folder is the suite's own. */
  config(settings?: Record<string, string>): Config;
  /** Opens it; closed when the suite ends. */
  open(settings?: Record<string, string>): Promise<Kysely<Database>>;
}

/**
 * A SQLite file and a Postgres database for one suite, which runs once for each:
 *
 *     for (const database of await databases(t)) {
 *       await t.test(database.engine, async (t) => { const db = await database.open(); ... });
 *     }
 *
 * Fails when Postgres is not installed, unless TEST_POSTGRES=skip.
 */
export async function databases(t: Test): Promise<TestDatabase[]> {
  const folder = await temporaryFolder(t);
  const urls: [TestDatabase['engine'], string][] = [
    ['sqlite', `sqlite:${join(folder, 'test.db')}`],
  ];
  if (process.env['TEST_POSTGRES'] !== 'skip')
    urls.push(['postgres', await newPostgresDatabase(t)]);
  return urls.map(([engine, url]) => {
    const config = (settings: Record<string, string> = {}) =>
      loadConfig({ DATA_DIR: folder, LOG_LEVEL: 'silent', DATABASE_URL: url, ...settings });
    return {
      engine,
      url,
      config,
      open: async (settings) => {
        const db = await openDatabase(config(settings), createLog('silent'));
        t.teardown(() => db.destroy());
        return db;
      },
    };
  });
}

/** Does so in few words. */
export async function onBoth(
  t: Test,
  work: (t: Test, database: TestDatabase) => Promise<void>,
): Promise<void> {
  for (const database of await databases(t)) {
    await t.test(database.engine, (t) => work(t, database));
  }
}

/** A Postgres of this test process alone, started by the first suite that wants one. */
interface Cluster {
  /** URL of a database of this name. */
  url(database: string): string;
  stop(): Promise<void>;
}
let cluster: Promise<Cluster> | undefined;

/** A fresh database of the test's own cluster; its URL. */
export async function newPostgresDatabase(t: Test): Promise<string> {
  if (cluster === undefined) {
    cluster = startCluster();
    root.teardown(async () => (await cluster)?.stop());
  }
  const { url } = await cluster;
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await administer(url('postgres'), `create database ${name}`);
  t.teardown(() => administer(url('postgres'), `drop database ${name} with (force)`));
  return url(name);
}

async function administer(url: string, statement: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

/** Runs the server until file descriptor 3 closes, as it does when the test is killed. */
const guard = `"$0" "$@" & server=$!
(cat <&3 >/dev/null; kill -INT "$server") 2>/dev/null &
exec 3<&-
wait "$server"
rm -rf "\${PGDATA%/data}"`;

async function startCluster(): Promise<Cluster> {
  const programs = await postgresFolder();
  const folder = await mkdtemp(join(tmpdir(), 'echomimic-pg-'));
  const password = randomBytes(12).toString('hex');
  const passwordFile = join(folder, 'password');
  const data = join(folder, 'data');
  await writeFile(passwordFile, password);
  // Postgres refuses to run as root.
  const owner = process.getuid?.() === 0 ? await idsOf('postgres') : undefined;
  if (owner !== undefined) {
    for (const path of [folder, passwordFile]) await chown(path, owner.uid, owner.gid);
  }
  await chmod(folder, 0o700);
  const environment = { PATH: process.env['PATH'], LC_ALL: 'C', PGDATA: data };
  await run(
    join(programs, 'initdb'),
    ['-U', 'tester', '-A', 'scram-sha-256', '--pwfile', passwordFile, '-E', 'UTF8', '--no-sync'],
    { ...owner, cwd: folder, env: environment },
  );
  const settings = {
    listen_addresses: '',
    unix_socket_directories: folder,
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
    shared_buffers: '16MB',
    max_connections: '60',
  };
  const child = spawn(
    '/bin/sh',
    [
      ...['-c', guard, join(programs, 'postgres')],
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    { ...owner, cwd: folder, env: environment, stdio: ['ignore', 'ignore', 'pipe', 'pipe'] },
  );
  await isReady(child);
  return {
    url: (database) => `postgres://tester:${password}@${encodeURIComponent(folder)}/${database}`,
    stop: async () => {
      const ended = once(child, 'exit');
      (child.stdio[3] as Writable).end();
      await ended;
      await run('rm', ['-rf', folder]);
    },
  };
}

function isReady(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4000);
      if (output.includes('ready to accept connections')) resolve();
    });
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`Postgres did not start: ${output}`)));
  });
}

/** The folder of `initdb` and `postgres`: Debian keeps them out of PATH. */
async function postgresFolder(): Promise<string> {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? await readdir(debian) : [];
  const folders = [
    ...versions
      .sort((a, b) => Number(b) - Number(a))
      .map((version) => join(debian, version, 'bin')),
    ...(process.env['PATH'] ?? '').split(delimiter),
  ];
  const found = folders.find((folder) => existsSync(join(folder, 'initdb')));
  if (found !== undefined) return found;
  throw new Error(
    'the tests of the database need Postgres: install it (Debian, Ubuntu: apt install ' +
      'postgresql), or leave its half out with TEST_POSTGRES=skip',
  );
}

async function idsOf(user: string): Promise<{ uid: number; gid: number }> {
  const [uid, gid] = await Promise.all(
    ['-u', '-g'].map(async (option) => Number((await run('id', [option, user])).stdout)),
  );
  return { uid: uid as number, gid: gid as number };
}
