import { type FileHandle, open } from 'node:fs/promises';
import sharp from 'sharp';
import { CodedError } from '../../src/errors.js';
import type { Pixels } from './crop.js';
import { throwIfCancelled } from '../../src/media/process.js';

export const MAX_PIXELS = 40_000_000;
/** Shorter than this a side shows no face worth animating. */
export const MIN_SIDE = 64;
const DECODE_SECONDS = 30;

// every portrait is decoded once: libvips' cache of operations would only hold memory
sharp.cache(false);

const EXPECTED = 'expected a picture as JPEG, PNG, WebP or GIF';

/** Judged by the first bytes alone: libvips never gets to see SVG, PDF or any other format. */
function imageType(head: Buffer): 'jpeg' | 'png' | 'gif' | 'webp' | null {
  const text = head.toString('latin1');
  if (text.startsWith('\xff\xd8\xff')) return 'jpeg';
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return 'png';
  if (text.startsWith('GIF87a') || text.startsWith('GIF89a')) return 'gif';
  if (text.startsWith('RIFF') && text.slice(8, 12) === 'WEBP') return 'webp';
  return null;
}

async function readHead(path: string): Promise<Buffer> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    const { buffer, bytesRead } = await file.read(Buffer.alloc(16), 0, 16, 0);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? String(error);
    const text = `the picture could not be opened (${why})`;
    throw new CodedError('IMAGE_UNREADABLE', text, { cause: error });
  } finally {
    await file?.close();
  }
}

function unreadable(type: string, error: unknown): CodedError {
  const reason = String(error instanceof Error ? error.message : error).replace(/\s*\n\s*/g, ' ');
  if (/pixel limit|dimensions? exceed|too large/i.test(reason)) {
    const text = `the ${type} picture has more than the ${MAX_PIXELS / 1e6} million pixels accepted`;
    return new CodedError('IMAGE_TOO_LARGE', text, { cause: error });
  }
  const text = `${EXPECTED}; this ${type} file is damaged: ${reason.replace(/\/(?:[^\s/:]+\/)+/g, '')}`;
  return new CodedError('IMAGE_UNREADABLE', text, { cause: error });
}

function checkSize(width: number, height: number): void {
  if (width * height > MAX_PIXELS) {
    const text = `at most ${MAX_PIXELS / 1e6} million pixels are accepted, this picture has ${width}x${height}`;
    throw new CodedError('IMAGE_TOO_LARGE', text);
  }
  if (Math.min(width, height) < MIN_SIDE) {
    const text = `a picture of at least ${MIN_SIDE}x${MIN_SIDE} is needed, this one has ${width}x${height}`;
    throw new CodedError('IMAGE_TOO_SMALL', text);
  }
}

/**
 * The picture as upright RGB: EXIF rotation applied, the first frame of an animation, colours in
 * sRGB, transparency over black.
 */
export async function loadImage(
  path: string,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<Pixels> {
  throwIfCancelled(options.signal);
  const head = await readHead(path);
  const type = imageType(head);
  if (type === null) {
    const found = head.length === 0 ? 'the file has no bytes' : 'this file is none of them';
    throw new CodedError('IMAGE_UNREADABLE', `${EXPECTED}; ${found}`);
  }
  const picture = sharp(path, {
    limitInputPixels: MAX_PIXELS,
    failOn: 'error',
    sequentialRead: true,
    pages: 1,
  }).timeout({ seconds: DECODE_SECONDS });
  try {
    const { width, height } = await picture.metadata();
    checkSize(width, height);
    throwIfCancelled(options.signal);
    const { data, info } = await picture
      .autoOrient()
      .flatten({ background: '#000000' })
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    throwIfCancelled(options.signal);
    return rgb({ width: info.width, height: info.height, channels: info.channels, data });
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw unreadable(type, error);
  }
}

function rgb(pixels: Pixels): Pixels {
  if (pixels.channels === 3) return pixels;
  const count = pixels.width * pixels.height;
  const data = new Uint8Array(count * 3);
  const step = pixels.channels >= 3 ? 1 : 0;
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) data[i * 3 + c] = pixels.data[i * pixels.channels + c * step]!;
  }
  return { ...pixels, channels: 3, data };
}

/** A copy whose longer side has at most `side` pixels, for the face detector. */
export async function shrink(image: Pixels, side: number): Promise<Pixels> {
  if (Math.max(image.width, image.height) <= side) return image;
  const { data, info } = await sharp(image.data, {
    raw: { width: image.width, height: image.height, channels: 3 },
    limitInputPixels: MAX_PIXELS,
  })
    .resize(side, side, { fit: 'inside', kernel: 'linear' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, channels: 3, data };
}
