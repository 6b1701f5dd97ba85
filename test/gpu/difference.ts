import { relativeError } from '../../scripts/golden/relative-error.js';
import type { Figure } from './check.js';

/** What two clips may differ by. */
export interface Tolerance {
  /** Relative error of the latents after the last step. */
  readonly latents: number;
  /** Of the frames, in levels of 255. */
  readonly meanLevels: number;
  readonly maxLevels: number;
  /** Decibels. */
  readonly psnr: number;
}

export interface Clip {
  /** After the last step. */
  readonly latents: Float32Array;
  /** RGB, all of them. */
  readonly frames: Uint8Array;
}

/** Peak signal over noise in decibels; Infinity for equal pictures. */
export function psnr(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length || a.length === 0) return Number.NaN;
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return sum === 0 ? Infinity : 10 * Math.log10((255 * 255 * a.length) / sum);
}

export function levels(a: Uint8Array, b: Uint8Array): { mean: number; max: number } {
  if (a.length !== b.length || a.length === 0) return { mean: Number.NaN, max: Number.NaN };
  let [sum, max] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    sum += difference;
    if (difference > max) max = difference;
  }
  return { mean: sum / a.length, max };
}

/** How far a clip is from the one that it ought to be. */
export function differences(found: Clip, wanted: Clip, tolerance: Tolerance): Figure[] {
  const { mean, max } = levels(found.frames, wanted.frames);
  return [
    {
      what: 'latents, relative error',
      value: relativeError(found.latents, wanted.latents),
      most: tolerance.latents,
    },
    { what: 'frames, mean', value: mean, unit: 'levels', most: tolerance.meanLevels },
    { what: 'frames, largest', value: max, unit: 'levels', most: tolerance.maxLevels },
    {
      what: 'frames, PSNR',
      value: psnr(found.frames, wanted.frames),
      unit: 'dB',
      least: tolerance.psnr,
    },
  ];
}
