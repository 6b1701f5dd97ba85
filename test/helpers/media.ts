import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import type { Test } from 'tap';
import type { CodedError } from '../../src/errors.js';

export { wav } from './samples.js';

/** A folder of the test's own, removed when it ends. */
export function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'echomimic-media-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function ffmpeg(...args: string[]): void {
  execFileSync('ffmpeg', ['-v', 'error', '-y', ...args]);
}

export interface Probed {
  streams: Record<string, string | number>[];
  format: { duration: string; tags: Record<string, string> };
}

export function ffprobe(path: string): Probed {
  const args = ['-v', 'error', '-export_xmp', '1', '-of', 'json', '-show_format', '-show_streams'];
  return JSON.parse(execFileSync('ffprobe', [...args, '-count_frames', path]).toString()) as Probed;
}

/** The brightness of each pixel of a video, frame after frame. */
export function brightness(path: string): Buffer {
  const args = ['-v', 'error', '-i', path, '-f', 'rawvideo', '-pix_fmt', 'gray', 'pipe:1'];
  return execFileSync('ffmpeg', args, { maxBuffer: 1e9 });
}

/** Whether the lower right corner of a square video shows what is as dark and bright as the mark. */
export function isMarked(path: string, side: number): boolean {
  const first = brightness(path).subarray(0, side * side);
  const corner = first.filter((_, at) => at / side > 0.85 * side && at % side > 0.6 * side);
  return Math.max(...corner) > 200 && Math.min(...corner) < 120;
}

export function sine(samples: number, amplitude = 8000, rate = 16000): Buffer {
  const data = Buffer.alloc(samples * 2);
  for (let i = 0; i < samples; i++) {
    data.writeInt16LE(Math.round(amplitude * Math.sin((2 * Math.PI * 440 * i) / rate)), i * 2);
  }
  return data;
}

/** The code and message of what was thrown; fails when nothing was. */
export async function refusal(work: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await work;
  } catch (error) {
    const { code, message } = error as CodedError;
    return { code: String(code), message };
  }
  return { code: 'accepted', message: '' };
}

/** A drawn face in the middle of a square picture; `lean` moves it to one side. */
export async function drawnPortrait(side = 512, lean = 0): Promise<Buffer> {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 128 128" width="${side}" height="${side}">
    <defs><radialGradient id="skin" cx=".45" cy=".4" r=".75">
      <stop offset="0" stop-color="#f2cbb0"/><stop offset="1" stop-color="#c08a6c"/></radialGradient>
    </defs>
    <rect width="128" height="128" fill="#a9c3cf"/>
    <g transform="translate(${lean} 0)">
      <path d="M14 128 Q30 106 64 106 Q98 106 114 128z" fill="#385a80"/>
      <rect x="53" y="92" width="22" height="22" fill="#b27f62"/>
      <ellipse cx="64" cy="40" rx="36" ry="32" fill="#4a2f1f"/>
      <ellipse cx="64" cy="64" rx="31" ry="42" fill="url(#skin)"/>
      <path d="M33 52 Q34 20 64 20 Q94 20 95 52 Q84 34 64 34 Q44 34 33 52z" fill="#4a2f1f"/>
      <g fill="none" stroke="#4a2f1f" stroke-width="2.6">
        <path d="M42 50 Q50 46 57 50"/><path d="M71 50 Q78 46 86 50"/></g>
      <g fill="#fff"><ellipse cx="50" cy="58" rx="6.5" ry="4"/><ellipse cx="78" cy="58" rx="6.5" ry="4"/></g>
      <g fill="#5b3a1c"><circle cx="50" cy="58" r="3.6"/><circle cx="78" cy="58" r="3.6"/></g>
      <g fill="#111"><circle cx="50" cy="58" r="1.8"/><circle cx="78" cy="58" r="1.8"/></g>
      <path d="M64 60 L60 76 Q64 79 68 76" fill="#d9a285"/>
      <path d="M60 76 Q64 79 68 76" fill="none" stroke="#9c6a50" stroke-width="1.6"/>
      <path d="M52 88 Q58 85 64 87 Q70 85 76 88 Q64 95 52 88z" fill="#b0524e"/>
      <path d="M52 88 Q64 90 76 88" fill="none" stroke="#6f2b2a" stroke-width="1"/>
    </g></svg>`;
  return sharp(Buffer.from(svg)).png().toBuffer();
}

/** Where `SHARED_DIR` holds the official results; the comparisons with them skip without it. */
export const sharedFolder = process.env['SHARED_DIR'];
