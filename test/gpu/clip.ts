import { join } from 'node:path';
import { Engine, type LoadOptions, type RenderOptions } from '../../native/index.js';
import { decodeAudio } from '../../src/media/audio.js';
import { projectRoot } from '../../src/paths.js';
import { preparePortrait } from '../../worker/media/index.js';
import type { Clip } from './difference.js';

const samples = join(projectRoot, 'weights', 'bundled', 'samples');
export const portraitPath = join(samples, 'portrait.png');
export const speechPath = join(samples, 'speech.wav');
const sampleRate = 16_000;

/** The bundled portrait, all of it the face, and the beginning of the bundled speech. */
export async function bundledClip(size: number, seconds: number): Promise<RenderOptions> {
  const { image, faceMask } = await preparePortrait(portraitPath, { size, findFace: false });
  const audio = await decodeAudio(speechPath);
  return { image, faceMask, audio: audio.slice(0, Math.round(seconds * sampleRate)), seed: 1 };
}

/** Renders; keeps the last latents and all frames. */
export async function render(engine: Engine, options: RenderOptions): Promise<Clip> {
  let latents = new Float32Array();
  const frames: Uint8Array[] = [];
  await engine.render(options, {
    onLatents: ({ data }) => void (latents = Float32Array.from(data)),
    onFrames: ({ data }) => void frames.push(Uint8Array.from(data)),
  });
  return { latents, frames: Buffer.concat(frames) };
}

/** Loads an engine, lets `use` work with it, and frees it. */
export async function withEngine<T>(
  options: LoadOptions,
  use: (engine: Engine) => Promise<T>,
): Promise<T> {
  const engine = await Engine.load(options);
  try {
    return await use(engine);
  } finally {
    await engine.dispose();
  }
}
