import sharp, { type Metadata, type Sharp } from 'sharp';
import { CodedError } from '../errors.js';
import type { PictureFormat, PictureReply, PictureRequest } from './picture.js';

/**
 * The program that decodes uploaded pictures for picture.ts. The libraries that do it can be kept
 * busy for hours by a small file and cannot be stopped by those who call them.
 */
const maxPixels = 40_000_000;
/** Shorter than this a side shows no face worth animating. */
const minSide = 64;

const expected = 'expected a picture as JPEG, PNG, WebP or GIF';

// every picture is decoded once: libvips' cache of operations would only hold memory
sharp.cache(false);
// libvips never gets to see SVG, PDF or any other format, and reads no JPEG as another kind of it
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({
  operation: ['Jpeg', 'Png', 'Webp', 'Nsgif'].map((name) => `VipsForeignLoad${name}`),
});

/** By the first bytes alone. */
function typeOf(data: Uint8Array): 'jpeg' | 'png' | 'gif' | 'webp' | undefined {
  const text = Buffer.from(data.subarray(0, 16)).toString('latin1');
  if (text.startsWith('\xff\xd8\xff')) return 'jpeg';
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return 'png';
  if (text.startsWith('GIF87a') || text.startsWith('GIF89a')) return 'gif';
  if (text.startsWith('RIFF') && text.slice(8, 12) === 'WEBP') return 'webp';
  return undefined;
}

function tooSmall(text: string): CodedError {
  return new CodedError('IMAGE_TOO_SMALL', text);
}

function unreadable(type: string, error: unknown): CodedError {
  const reason = (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ');
  if (/pixel limit|dimensions? exceed|too large/i.test(reason)) {
    const text = `the ${type} picture has more than the ${maxPixels / 1e6} million pixels accepted`;
    return new CodedError('IMAGE_TOO_LARGE', text);
  }
  const text = `${expected}; this ${type} file is damaged: ${reason.trim().slice(0, 300)}`;
  return new CodedError('IMAGE_UNREADABLE', text);
}

async function decoded({ data, as }: PictureRequest) {
  const type = typeOf(data);
  if (type === undefined) {
    const found = data.length === 0 ? 'the file has no bytes' : 'this file is none of them';
    throw new CodedError('IMAGE_UNREADABLE', `${expected}; ${found}`);
  }
  try {
    const picture = sharp(data, {
      limitInputPixels: maxPixels,
      failOn: 'error',
      sequentialRead: true,
      pages: 1,
    });
    const metadata = await picture.metadata();
    const { width, height } = metadata;
    if (Math.min(width, height) < minSide) {
      const least = `a picture of at least ${minSide}x${minSide} pixels is needed`;
      throw tooSmall(`${least}, this one has ${width}x${height}`);
    }
    const upright = picture.autoOrient();
    return await (as === 'pixels' ? pixels(upright) : smallFile(upright, metadata, as.side));
  } catch (error) {
    throw error instanceof CodedError ? error : unreadable(type, error);
  }
}

async function pixels(picture: Sharp) {
  const { data, info } = await picture
    .flatten({ background: '#000000' })
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  return { format: 'pixels', width, height, data: rgb(data, width * height, channels) } as const;
}

function rgb(data: Uint8Array, count: number, channels: number): Uint8Array {
  if (channels === 3) return data;
  const made = new Uint8Array(count * 3);
  const step = channels >= 3 ? 1 : 0;
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) made[i * 3 + c] = data[i * channels + c * step]!;
  }
  return made;
}

async function smallFile(picture: Sharp, metadata: Metadata, side: number) {
  const small = picture
    .resize(side, side, { fit: 'inside', withoutEnlargement: true })
    .toColourspace('srgb');
  const { data, info } = await encoded(small, metadata).toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  if (Math.min(width, height) < minSide) {
    throw tooSmall(
      `a picture of ${metadata.width}x${metadata.height} is too narrow: its longer side is ` +
        `reduced to ${side} pixels, and then the shorter must have at least ${minSide}`,
    );
  }
  const format: PictureFormat = info.format === 'png' ? 'png' : 'jpeg';
  return { format, width, height, data };
}

/** Photographs stay JPEG; drawings and what is transparent would suffer from it. */
function encoded(image: Sharp, { format, hasAlpha }: Metadata): Sharp {
  return format === 'jpeg' || (format === 'webp' && !hasAlpha)
    ? image.jpeg({ quality: 92, chromaSubsampling: '4:4:4' })
    : image.png();
}

const send = (reply: PictureReply) => process.send?.(reply);

process.on('message', (request: PictureRequest) => {
  decoded(request).then(
    (picture) => send({ picture }),
    (error: CodedError) => send({ code: error.code, message: error.message }),
  );
});
// an orderly end would wait for the picture at work
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
send('ready');
