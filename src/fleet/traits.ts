import { createHash } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import type { Config } from '../config.js';

/** What one API process has to know of another. */
export interface Traits {
  /** Where the others reach it; undefined as long as it does not listen. */
  readonly url?: string | undefined;
  readonly host: string;
  /** Which database it uses; a file is that of one machine. */
  readonly database: string;
  /** Where its temp files lie; a folder of another machine may be the same, shared one. */
  readonly files: string;
  /** Of the key that signs access tokens, and of the API token: fingerprints. */
  readonly secrets: string;
}

/** `port`: where this process listens in fact, when it does. */
export function traitsOf(config: Config, port?: number): Traits {
  const { hostName: host, databaseUrl, account, apiToken, dataFolder, tempFiles } = config;
  const { s3, folder } = tempFiles;
  return {
    url:
      port === undefined
        ? undefined
        : (config.peerUrl ?? `http://${ownAddress(config.host)}:${port}`),
    host,
    database: databaseUrl.startsWith('sqlite:') ? `${databaseUrl} on ${host}` : 'Postgres',
    files: s3 === undefined ? `folder ${folder}` : `s3://${s3.bucket}/${s3.prefix}`,
    secrets: fingerprint([account.jwtSecret ?? `${dataFolder} on ${host}`, apiToken ?? '']),
  };
}

/** Why two processes cannot serve the same clients. */
export function differences(own: Traits, other: Traits): string[] {
  const who = `the API process at ${other.url ?? other.host}`;
  const found: string[] = [];
  if (own.database !== other.database) {
    found.push(
      `${who} uses another database (here ${own.database}, there ${other.database}): ` +
        'set the same DATABASE_URL=postgres://… for all',
    );
  }
  const isFolder = (files: string) => files.startsWith('folder ');
  const maybeShared = isFolder(own.files) && isFolder(other.files) && own.host !== other.host;
  if (own.files !== other.files && !maybeShared) {
    found.push(
      `${who} keeps temp files elsewhere (here ${own.files}, there ${other.files}): ` +
        'set the same TEMP_FILE_STORE for all, a bucket or a shared folder',
    );
  }
  if (own.secrets !== other.secrets) {
    found.push(`${who} has another JWT_SECRET or API_TOKEN: set the same for all`);
  }
  return found;
}

/** What this process has that only one machine, or one process, can use. */
export function privatePieces(config: Config, isRedisPrivate: boolean): string[] {
  return [
    ...(isRedisPrivate ? ['a private Redis (REDIS_HOST)'] : []),
    ...(config.databaseUrl.startsWith('sqlite:') ? ['SQLite (DATABASE_URL)'] : []),
    ...(config.tempFiles.s3 === undefined
      ? [
          `temp files in a folder, ${config.tempFiles.folder}, unless it is shared (TEMP_FILE_STORE)`,
        ]
      : []),
    ...(config.account.jwtSecret === undefined ? ['a secret of its own (JWT_SECRET)'] : []),
  ];
}

function fingerprint(parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}

/** How another machine reaches a server that listens on `host`. */
function ownAddress(host: string): string {
  if (host !== '0.0.0.0' && host !== '::') return host.includes(':') ? `[${host}]` : host;
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
}
