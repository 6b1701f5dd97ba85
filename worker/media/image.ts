import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import { CodedError } from '../../src/errors.js';
import { decodePicture } from '../../src/media/picture.js';
import type { Pixels } from './crop.js';

/**
 * The picture as upright RGB: EXIF rotation applied, the first frame of an animation, colours in
 * sRGB, transparency over black.
 */
export async function loadImage(
  path: string,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<Pixels> {
  const read = () =>
    readFile(path).catch((error: NodeJS.ErrnoException) => {
      const text = `the picture could not be opened (${error.code ?? String(error)})`;
      throw new CodedError('IMAGE_UNREADABLE', text, { cause: error });
    });
  const { width, height, data } = await decodePicture(read, 'pixels', options);
  return { width, height, channels: 3, data };
}

/** A copy whose longer side has at most `side` pixels, for the face detector. */
export async function shrink(image: Pixels, side: number): Promise<Pixels> {
  if (Math.max(image.width, image.height) <= side) return image;
  const { data, info } = await sharp(image.data, {
    raw: { width: image.width, height: image.height, channels: 3 },
  })
    .resize(side, side, { fit: 'inside', kernel: 'linear' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, channels: 3, data };
}
