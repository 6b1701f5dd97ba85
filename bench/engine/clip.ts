import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RenderOptions } from '../../native/index.js';
import { decodeAudio } from '../../src/media/audio.js';
import { wavFile } from '../../src/media/wav.js';
import { projectRoot } from '../../src/paths.js';
import { closeFaceDetector, preparePortrait } from '../../worker/media/index.js';
import type { VideoRequest } from '../../worker/pipeline/video.js';
import type { Settings } from '../report/schema.js';

const samples = join(projectRoot, 'weights', 'bundled', 'samples');
const portraitPath = join(samples, 'portrait.png');
const sampleRate = 16_000;
const seed = 1;

/** The same portrait and words for every engine; longer clips repeat them. */
export class Clips {
  readonly #settings: Settings;
  readonly #folder: string;
  readonly #speech: Float32Array;
  readonly #portrait: Awaited<ReturnType<typeof preparePortrait>>;

  private constructor(
    settings: Settings,
    folder: string,
    speech: Float32Array,
    portrait: Awaited<ReturnType<typeof preparePortrait>>,
  ) {
    this.#settings = settings;
    this.#folder = folder;
    this.#speech = speech;
    this.#portrait = portrait;
  }

  static async open(settings: Settings): Promise<Clips> {
    const folder = await mkdtemp(join(tmpdir(), 'bench-'));
    try {
      const speech = await decodeAudio(join(samples, 'speech.wav'));
      const portrait = await preparePortrait(portraitPath, { size: settings.width });
      return new Clips(settings, folder, speech, portrait);
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    } finally {
      await closeFaceDetector();
    }
  }

  frames(seconds: number): number {
    return Math.max(1, Math.round(seconds * this.#settings.fps));
  }

  options(seconds: number): RenderOptions {
    const { steps, cfg, fps, contextFrames, contextOverlap } = this.#settings;
    const { image, faceMask } = this.#portrait;
    return {
      image,
      faceMask,
      audio: this.#sound(seconds),
      ...{ steps, cfg, fps, contextFrames, contextOverlap, seed },
      frames: this.frames(seconds),
    };
  }

  /** `name` keeps the files of engines apart that work at the same time. */
  async request(seconds: number, name: string): Promise<VideoRequest> {
    const { steps, cfg, width } = this.#settings;
    const path = (ending: string) => join(this.#folder, `${name}.${ending}`);
    const pcm = Int16Array.from(this.#sound(seconds), (x) => Math.round(32767 * x));
    await writeFile(path('wav'), wavFile(Buffer.from(pcm.buffer), sampleRate));
    return {
      imagePath: portraitPath,
      audioPath: path('wav'),
      outPath: path('mp4'),
      ...{ steps, cfg, seed, size: width },
      frames: this.frames(seconds),
    };
  }

  async close(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  #sound(seconds: number): Float32Array {
    const speech = this.#speech;
    return Float32Array.from(
      { length: Math.round(seconds * sampleRate) },
      (_, i) => speech[i % speech.length]!,
    );
  }
}
