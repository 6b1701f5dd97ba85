import { createWriteStream } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CodedError } from '../src/errors.js';

/** The temp-file API as any client uses it. The answer is the file's id. */
export async function upload(
  baseUrl: string,
  content: Uint8Array<ArrayBuffer>,
  name: string,
): Promise<string> {
  const form = new FormData();
  form.append('file', new Blob([content]), name);
  const response = await fetch(`${baseUrl}/api/tempfile/upload`, { method: 'POST', body: form });
  const answer = (await response.json()) as { file_id?: string; message?: string };
  if (answer.file_id === undefined) {
    throw new CodedError('BAD_REQUEST', `${name} was refused: ${answer.message}`);
  }
  return answer.file_id;
}

export const downloadUrl = (baseUrl: string, id: string): string =>
  `${baseUrl}/api/tempfile/download/${id}`;

/** Saves what `url` names; `out` appears when it is complete. */
export async function download(url: string, out: string): Promise<void> {
  const response = await fetch(url);
  if (!response.ok || response.body === null) {
    throw new CodedError('INTERNAL', `the download answered ${response.status}`);
  }
  await mkdir(dirname(out), { recursive: true });
  const part = `${out}.part`;
  await pipeline(Readable.fromWeb(response.body), createWriteStream(part));
  await rename(part, out);
}
