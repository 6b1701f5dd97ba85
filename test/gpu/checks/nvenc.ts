import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { createLog } from '../../../src/log.js';
import { codeOf } from '../../../src/errors.js';
import { chooseEncoder, openVideo, type VideoEncoder } from '../../../worker/media/index.js';
import type { Check, Context, Figure } from '../check.js';
import { speechPath } from '../clip.js';
import { psnr } from '../difference.js';

const fps = 24;
/** Larger than the least that hardware takes. */
const size = { side: 512, frames: 48 };

/** A picture that moves, with edges and smooth parts. */
function picture(frame: number, side: number): Uint8Array {
  const rgb = new Uint8Array(side * side * 3);
  const wave = (at: number, length: number) => 128 + 90 * Math.sin(at / length);
  const columns = Array.from({ length: side }, (_, x) => wave(x + 3 * frame, 40));
  const middle = side / 2;
  for (let y = 0; y < side; y++) {
    const row = wave(y - 2 * frame, 55);
    for (let x = 0; x < side; x++) {
      const at = 3 * (y * side + x);
      rgb[at] = columns[x]!;
      rgb[at + 1] = row;
      rgb[at + 2] = (x - middle - frame) ** 2 + (y - middle) ** 2 < (side / 4) ** 2 ? 200 : 60;
    }
  }
  return rgb;
}

async function encode(
  context: Context,
  encoder: VideoEncoder,
  film: readonly Uint8Array[],
  side: number,
) {
  const path = join(context.folder, `${encoder.name}.mp4`);
  const writer = await openVideo({
    ...{ path, width: side, height: side, fps, audioPath: speechPath },
    ...{ seconds: film.length / fps, encoder },
  });
  const start = performance.now();
  for (const frame of film) await writer.write(frame);
  await writer.finish();
  const ms = performance.now() - start;
  const probe = (...entries: string[]) =>
    execFileSync('ffprobe', ['-v', 'error', '-of', 'csv=p=0', ...entries, path])
      .toString()
      .trim();
  const stream = probe(
    ...['-select_streams', 'v:0', '-count_frames', '-show_entries'],
    'stream=codec_name,profile,pix_fmt,color_range,color_space,nb_read_frames',
  );
  const bytes = Number(probe('-show_entries', 'format=size'));
  const args = ['-v', 'error', '-i', path, '-f', 'rawvideo', '-pix_fmt', 'rgb24', 'pipe:1'];
  const shown = execFileSync('ffmpeg', args, { maxBuffer: 2 ** 31 });
  return { ms, stream, bytes, quality: psnr(shown, Buffer.concat(film)) };
}

/** NVENC may be worse than x264 by so many decibels, and its files so many times larger. */
const worse = 3;
const larger = 4;

/** The file that an encoder makes, against x264's. */
export async function compareEncoders(
  context: Context,
  encoder: VideoEncoder,
  { side, frames }: typeof size = size,
): Promise<Figure[]> {
  const film = Array.from({ length: frames }, (_, i) => picture(i, side));
  const software = await encode(context, { name: 'x264' }, film, side);
  const own = await encode(context, encoder, film, side);
  return [
    { what: 'stream', value: own.stream, isGood: own.stream === software.stream },
    { what: 'PSNR', value: own.quality, unit: 'dB', least: software.quality - worse },
    { what: 'size, times that of x264', value: own.bytes / software.bytes, most: larger },
    { what: `${frames} frames of ${side}x${side}`, value: own.ms, unit: 'ms' },
    { what: 'by x264', value: software.ms, unit: 'ms' },
  ];
}

export const nvenc: Check = {
  name: 'nvenc',
  what: 'the GPU encodes files of the same kind and quality as x264 does, or says why it cannot',
  needs: ['devices'],
  run: async (context) => {
    const { side } = size;
    const wish = {
      wanted: 'nvenc',
      device: context.device,
      width: side,
      height: side,
      fps,
    } as const;
    let hardware: VideoEncoder;
    try {
      hardware = await chooseEncoder(wish, createLog('silent'));
    } catch (error) {
      const code = codeOf(error);
      if (code !== 'VIDEO_ENCODER_UNAVAILABLE') throw error;
      return { figures: [], doesNotApply: (error as Error).message };
    }
    return { figures: await compareEncoders(context, hardware) };
  },
};
