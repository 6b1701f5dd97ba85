import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { wavFile } from '../../src/media/wav.js';

type Bytes = Uint8Array<ArrayBuffer>;

/** A PNG of one colour. */
export async function picture(width = 64, height = 64): Promise<Bytes> {
  const data = await sharp({
    create: { width, height, channels: 3, background: { r: 200, g: 150, b: 120 } },
  })
    .png()
    .toBuffer();
  return new Uint8Array(data);
}

/** A 16-bit mono WAV whose header claims `claimed` bytes, and `data` after it. */
export function wav(claimed: number, data: Buffer, rate = 16000): Buffer {
  return wavFile(data, rate, { claimed });
}

/** A 16-bit mono WAV file of a tone. */
export function tone(seconds: number, sampleRate = 16000, frequency = 220): Bytes {
  const samples = Math.round(seconds * sampleRate);
  const data = Buffer.alloc(samples * 2);
  for (let i = 0; i < samples; i++) {
    const value = frequency === 0 ? 0 : Math.sin((2 * Math.PI * frequency * i) / sampleRate) * 8000;
    data.writeInt16LE(Math.round(value), i * 2);
  }
  return new Uint8Array(wav(data.length, data, sampleRate));
}

/**
 * Files that one run of ffmpeg makes of half a second of tone (stream 0:a) and test picture (1:v):
 * a name and the output arguments of each.
 */
export function encoded(folder: string, outputs: [string, string[]][]): Bytes[] {
  execFileSync('ffmpeg', [
    ...['-v', 'error', '-y', '-f', 'lavfi', '-i', 'sine=d=0.5'],
    ...['-f', 'lavfi', '-i', 'testsrc=d=0.5:s=64x64:r=25'],
    ...outputs.flatMap(([name, args]) => [...args, join(folder, name)]),
  ]);
  return outputs.map(([name]) => new Uint8Array(readFileSync(join(folder, name))));
}
