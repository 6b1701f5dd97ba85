import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import type { Metadata, Sharp } from 'sharp';
import { CodedError } from '../errors.js';
import type { TempFileStore } from '../tempfile/store.js';

/** A picture as roles keep it: upright, in sRGB, without metadata, PNG or JPEG. */
export interface Portrait {
  readonly id: string;
  readonly mime: 'image/png' | 'image/jpeg';
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

const maxPixels = 40_000_000;
/** Shorter than this a side shows no face worth animating. */
const minSide = 64;
/** More than any model renders. */
const keptSide = 1024;
const decodeSeconds = 30;
const formats = ['jpeg', 'png', 'gif', 'webp'];

/** The uploaded picture with this file id, checked and made small. */
export async function portraitOf(files: TempFileStore, fileId: string): Promise<Portrait> {
  const record = await files.find(fileId);
  if (record === undefined) throw fileNotFound();
  if (record.type !== 'image') {
    throw new CodedError(
      'FILE_TYPE_UNSUPPORTED',
      `a portrait is a picture (png, jpg, gif or webp); the file ${fileId} is ${record.mime}`,
    );
  }
  return oneAtATime(async () => {
    const data = await buffer(await files.read(record));
    return decode(data, randomUUID());
  });
}

/** A picture that comes with the server, under an id that changes when it does. */
export async function bundledPortrait(path: string): Promise<Portrait> {
  const data = await readFile(path);
  return decode(data, bundledPortraitId(data));
}

export const bundledPrefix = 'bundled-';

export function bundledPortraitId(data: Uint8Array): string {
  return bundledPrefix + createHash('sha256').update(data).digest('hex').slice(0, 32);
}

async function decode(source: Uint8Array, id: string): Promise<Portrait> {
  const sharp = await loadSharp();
  try {
    const image = sharp(source, { limitInputPixels: maxPixels, failOn: 'error' }).timeout({
      seconds: decodeSeconds,
    });
    const metadata = await image.metadata();
    check(metadata);
    const upright = image
      .autoOrient()
      .resize(keptSide, keptSide, { fit: 'inside', withoutEnlargement: true })
      .toColourspace('srgb');
    const { data, info } = await encoded(upright, metadata).toBuffer({ resolveWithObject: true });
    if (Math.min(info.width, info.height) < minSide) {
      throw new CodedError(
        'IMAGE_TOO_SMALL',
        `a portrait of ${metadata.width}x${metadata.height} is too narrow: its longer side is ` +
          `reduced to ${keptSide} pixels, and then the shorter must have at least ${minSide}`,
      );
    }
    const mime = info.format === 'png' ? 'image/png' : 'image/jpeg';
    return { id, mime, width: info.width, height: info.height, data };
  } catch (error) {
    throw error instanceof CodedError ? error : unreadable(error);
  }
}

/** At first use: most processes that know portraits decode none, and start faster without. */
async function loadSharp() {
  const { default: sharp } = await import('sharp');
  // Every portrait is decoded once: libvips' cache of operations would only hold memory.
  sharp.cache(false);
  return sharp;
}

function check({ format, width, height }: Metadata): void {
  if (!formats.includes(format)) {
    throw new CodedError('IMAGE_UNREADABLE', `expected png, jpg, gif or webp, this is ${format}`);
  }
  if (Math.min(width, height) < minSide) {
    throw new CodedError(
      'IMAGE_TOO_SMALL',
      `a portrait has at least ${minSide}x${minSide} pixels, this one has ${width}x${height}`,
    );
  }
}

/** Photographs stay JPEG; drawings and what is transparent would suffer from it. */
function encoded(image: Sharp, { format, hasAlpha }: Metadata): Sharp {
  return format === 'jpeg' || (format === 'webp' && !hasAlpha)
    ? image.jpeg({ quality: 92, chromaSubsampling: '4:4:4' })
    : image.png();
}

function unreadable(error: unknown): CodedError {
  const reason = (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ');
  if (/pixel limit|dimensions? exceed|too large/i.test(reason)) {
    return tooLarge(error);
  }
  return new CodedError('IMAGE_UNREADABLE', `the picture cannot be decoded: ${reason}`, {
    cause: error,
  });
}

function tooLarge(cause: unknown): CodedError {
  const text = `a portrait has at most ${maxPixels / 1e6} million pixels, this picture has more`;
  return new CodedError('IMAGE_TOO_LARGE', text, { cause });
}

function fileNotFound(): CodedError {
  return new CodedError(
    'FILE_NOT_FOUND',
    'image_id names no uploaded file, or it has expired: upload the picture again',
  );
}

let last: Promise<unknown> = Promise.resolve();

/** A decoded picture may take 160 MB: never more than one of them. */
function oneAtATime<T>(work: () => Promise<T>): Promise<T> {
  const result = last.then(work);
  last = result.catch(() => undefined);
  return result;
}
