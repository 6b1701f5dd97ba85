import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { RenderOptions } from '../../native/index.js';
import { projectRoot } from '../../src/paths.js';

/** The imported model that the tests run: the bundled one, or the one that TEST_MODEL names. */
export const testModel = process.env['TEST_MODEL'] ?? join(projectRoot, 'weights', 'small');
if (!existsSync(testModel)) throw new Error(`${testModel} is missing; run: npm run setup`);

/** A clip so small that it takes a fraction of a second. */
export function smallClip(changes: Partial<RenderOptions> = {}): RenderOptions {
  const side = 64;
  const pixels = side * side;
  return {
    image: {
      width: side,
      height: side,
      data: Uint8Array.from({ length: 3 * pixels }, (_, i) => (i * 31) % 251),
    },
    faceMask: { width: side, height: side, data: new Uint8Array(pixels).fill(255) },
    audio: speech(0.6),
    fps: 24,
    steps: 2,
    cfg: 1,
    seed: 7,
    contextFrames: 8,
    contextOverlap: 2,
    ...changes,
  };
}

/** Something with changing loudness and pitch, `seconds` long. */
export function speech(seconds: number): Float32Array {
  return Float32Array.from(
    { length: Math.round(seconds * 16000) },
    (_, i) => 0.4 * Math.sin(i / 19 + 8 * Math.sin(i / 3000)) * Math.abs(Math.sin(i / 1900)),
  );
}
