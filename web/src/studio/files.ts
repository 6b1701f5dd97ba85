import type { TaskOptions } from '../../../src/client/index.js';
import { t } from '../i18n/index.js';
import { type Failure, describe } from '../failure.js';

/** A file that somebody chose, or that the server has already. */
export interface Chosen {
  readonly name: string;
  /** Where this page shows or plays it from. */
  readonly url: string;
  readonly file?: Blob | undefined;
  /** Once the server has it. */
  readonly fileId?: string | undefined;
  /** Of a recording, as far as the browser can tell. */
  readonly seconds?: number | undefined;
  /** A small picture of it, as a JPEG in base64. */
  readonly thumbnail?: string | undefined;
}

type Limits = TaskOptions['limits'] | undefined;

const MiB = 1024 * 1024;
const leastSide = 64;
const mostPixels = 40_000_000;
const thumbnailSide = 112;
/** A browser that has not said by then how long a recording is will not. */
const metadataMs = 4000;

/** What is wrong with a file, as the server would say it, but before it is sent. */
export class Unfit extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

const unfit = (code: string, message = '') => new Unfit({ code, message });

/** Throws Unfit for a picture that the server would refuse. */
export async function choosePortrait(file: File, limits: Limits): Promise<Chosen> {
  checkSize(file, limits?.image_bytes);
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    const isPicture = /^image\/(png|jpeg|webp|gif)$/.test(file.type);
    throw unfit(isPicture ? 'IMAGE_UNREADABLE' : 'FILE_TYPE_UNSUPPORTED');
  }
  const { width, height } = bitmap;
  try {
    if (Math.min(width, height) < leastSide) throw unfit('IMAGE_TOO_SMALL');
    if (width * height > mostPixels) throw unfit('IMAGE_TOO_LARGE');
    const thumbnail = await thumbnailOf(bitmap);
    return { name: file.name, file, url: URL.createObjectURL(file), thumbnail };
  } finally {
    bitmap.close();
  }
}

/** Throws Unfit for a recording that the server would refuse; what no browser plays it may read. */
export async function chooseAudio(
  file: Blob,
  name: string,
  limits: Limits,
  knownSeconds?: number,
): Promise<Chosen> {
  const isFilm = file.type.startsWith('video/');
  checkSize(file, isFilm ? limits?.video_bytes : limits?.audio_bytes);
  if (/^(image|text|font)\//.test(file.type)) throw unfit('FILE_TYPE_UNSUPPORTED');
  const url = URL.createObjectURL(file);
  const seconds = knownSeconds ?? (await secondsOf(url));
  if (seconds !== undefined && limits !== undefined && seconds > limits.audio_seconds) {
    URL.revokeObjectURL(url);
    throw unfit('AUDIO_TOO_LONG', t().studio.audioAtMost(limits.audio_seconds));
  }
  return { name, file, url, seconds };
}

function checkSize({ size }: Blob, most = Infinity): void {
  if (size === 0) throw unfit('FILE_EMPTY');
  if (size > most) throw unfit('FILE_TOO_LARGE', t().studio.fileAtMost(Math.floor(most / MiB)));
}

function secondsOf(url: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const audio = new Audio();
    const timer = setTimeout(() => resolve(undefined), metadataMs);
    audio.preload = 'metadata';
    audio.addEventListener('loadedmetadata', () => {
      clearTimeout(timer);
      resolve(Number.isFinite(audio.duration) ? audio.duration : undefined);
    });
    audio.addEventListener('error', () => {
      clearTimeout(timer);
      resolve(undefined);
    });
    audio.src = url;
  });
}

async function thumbnailOf(bitmap: ImageBitmap): Promise<string | undefined> {
  const side = Math.min(bitmap.width, bitmap.height);
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = thumbnailSide;
  const [x, y] = [(bitmap.width - side) / 2, (bitmap.height - side) / 2];
  const context = canvas.getContext('2d');
  context?.drawImage(bitmap, x, y, side, side, 0, 0, thumbnailSide, thumbnailSide);
  return /^data:image\/jpeg;base64,(.+)$/.exec(canvas.toDataURL('image/jpeg', 0.75))?.[1];
}

/** What is wrong with a file, with the limit where there is one. */
export function explain(failure: Failure): string {
  return [...new Set([describe(failure), failure.message])].filter(Boolean).join(' ');
}

/** The address of a thumbnail: the policy of the pages allows no data: addresses. */
export function thumbnailUrl(base64: string): string {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: 'image/jpeg' }));
}
