import { fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import type { Test } from 'tap';
import { type Config, loadConfig } from '../../src/config.js';
import { projectRoot } from '../../src/paths.js';
import { FolderShelf } from '../../src/tempfile/folder.js';
import { S3Shelf } from '../../src/tempfile/s3.js';
import type { Shelf } from '../../src/tempfile/shelf.js';
import { temporaryFolder } from './folder.js';

const bucket = 'temp-files';

export interface S3Server {
  /** Settings of a store in it that nothing else uses, or one called `prefix`. */
  settings(prefix?: string): Record<string, string>;
  stop(): Promise<void>;
}

/** A real S3 server, in a process of its own. */
export async function startS3(t: Test): Promise<S3Server> {
  const server = fork(
    join(projectRoot, 'dist', 'test', 'fixtures', 's3-server.js'),
    [await temporaryFolder(t), bucket],
    { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] },
  );
  const exited = once(server, 'exit');
  const stop = async () => {
    server.kill('SIGKILL');
    await exited;
  };
  t.teardown(stop);
  const [{ port }] = (await once(server, 'message')) as [{ port: number }];
  return {
    stop,
    settings: (prefix = randomUUID()) => ({
      TEMP_FILE_STORE: `s3://${bucket}/${prefix}`,
      S3_ENDPOINT: `http://127.0.0.1:${port}`,
      S3_ACCESS_KEY_ID: 'S3RVER',
      S3_SECRET_ACCESS_KEY: 'S3RVER',
    }),
  };
}

/** What lies where the temp files are: ids, and the names of unfinished parts. */
export async function storedNames({ tempFiles }: Pick<Config, 'tempFiles'>): Promise<string[]> {
  const { s3, folder } = tempFiles;
  if (s3 === undefined) return readdir(folder);
  const names = (await storedObjects(s3)).map((key) => key.split('/')[1] as string);
  return [...new Set(names)];
}

export async function storedObjects(s3: NonNullable<Config['tempFiles']['s3']>): Promise<string[]> {
  const client = new S3Client({
    ...{ endpoint: s3.endpoint as string, region: s3.region, forcePathStyle: true },
    credentials: { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' },
  });
  const asked = new ListObjectsV2Command({ Bucket: s3.bucket, Prefix: `${s3.prefix}/` });
  const { Contents = [] } = await client.send(asked);
  client.destroy();
  return Contents.map(({ Key = '' }) => Key);
}

/** A way to keep temp files. */
export interface Place {
  readonly name: 'folder' | 's3';
  /** Settings of an app with files of its own, or those of the apps that were given `folder`. */
  settings(folder?: string): Record<string, string>;
  /** A shelf of its own, and what lies on it. */
  shelf(t: Test): Promise<{ shelf: Shelf; names: () => Promise<string[]> }>;
}

/**
 * Both ways to keep temp files, for suites that hold for either:
 *
 *     for (const place of await places(t)) t.test(place.name, async (t) => { ... });
 */
export async function places(t: Test): Promise<Place[]> {
  const server = await startS3(t);
  return [
    {
      name: 'folder',
      settings: () => ({}),
      shelf: async (t) => {
        const folder = await temporaryFolder(t);
        return { shelf: new FolderShelf(folder, 'here'), names: () => readdir(folder) };
      },
    },
    {
      name: 's3',
      settings: (folder) => server.settings(folder && basename(folder)),
      shelf: async (t) => {
        const { tempFiles } = loadConfig(server.settings());
        const s3 = tempFiles.s3 as NonNullable<typeof tempFiles.s3>;
        const shelf = new S3Shelf({ ...s3, sweepAfterMs: 0 });
        t.teardown(() => shelf.close());
        return { shelf, names: () => storedNames({ tempFiles }) };
      },
    },
  ];
}
