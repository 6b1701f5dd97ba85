import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rename } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { EchoMimicClient } from '../src/client/index.js';

/** The id of a file of this machine, now on the server. */
export async function upload(client: EchoMimicClient, path: string): Promise<string> {
  const name = basename(path);
  return (await client.upload(new Blob([await readFile(path)]), { name })).file_id;
}

/** Saves a file of the server; `out` appears when it is complete. */
export async function download(
  client: EchoMimicClient,
  idOrUrl: string,
  out: string,
): Promise<void> {
  const { body } = await client.download(idOrUrl);
  await mkdir(dirname(out), { recursive: true });
  const part = `${out}.part`;
  await pipeline(Readable.fromWeb(body ?? new ReadableStream()), createWriteStream(part));
  await rename(part, out);
}
