import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { CodedError } from '../errors.js';
import { decodePicture } from '../media/picture.js';
import type { User } from '../store/schema.js';
import { type TempFileStore, mayUse } from '../tempfile/store.js';

/** A picture as roles keep it: upright, in sRGB, without metadata, PNG or JPEG. */
export interface Portrait {
  readonly id: string;
  readonly mime: 'image/png' | 'image/jpeg';
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** More than any model renders. */
const keptSide = 1024;

/** The picture that the user uploaded under this file id, checked and made small. */
export async function portraitOf(
  files: TempFileStore,
  fileId: string,
  user?: Pick<User, 'id'>,
): Promise<Portrait> {
  const record = await files.find(fileId);
  if (record === undefined || !mayUse(record, user?.id)) throw fileNotFound();
  if (record.type !== 'image') {
    throw new CodedError(
      'FILE_TYPE_UNSUPPORTED',
      `a portrait is a picture (png, jpg, gif or webp); the file ${fileId} is ${record.mime}`,
    );
  }
  return decode(async () => buffer(await files.read(record)), randomUUID());
}

/** A picture that comes with the server, under an id that changes when it does. */
export async function bundledPortrait(path: string): Promise<Portrait> {
  const data = await readFile(path);
  return decode(async () => data, bundledPortraitId(data));
}

export const bundledPrefix = 'bundled-';

export function bundledPortraitId(data: Uint8Array): string {
  return bundledPrefix + createHash('sha256').update(data).digest('hex').slice(0, 32);
}

async function decode(read: () => Promise<Uint8Array>, id: string): Promise<Portrait> {
  const { format, ...picture } = await decodePicture(read, { side: keptSide });
  return { id, mime: format === 'png' ? 'image/png' : 'image/jpeg', ...picture };
}

function fileNotFound(): CodedError {
  return new CodedError(
    'FILE_NOT_FOUND',
    'image_id names no uploaded file, or it has expired: upload the picture again',
  );
}
