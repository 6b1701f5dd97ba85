import { type Engine, type Tensor, parts } from '../../native/index.js';
import type { Manifest } from '../../weights/manifest.js';
import { type GoldenCase, type GoldenTensor, renderOptions } from './case.js';
import { relativeError } from './relative-error.js';

/** Relative errors of one network and of the whole loop, and levels of 255 of the frames. */
export interface Limits {
  readonly single: number;
  readonly whole: number;
  readonly meanLevels: number;
  readonly maxLevels: number;
}

/** What float32 reaches, whoever adds up in which order. */
export const exactLimits: Limits = { single: 1e-4, whole: 1e-3, meanLevels: 1, maxLevels: 6 };

/** How far one quantity of a case is from what the official pipeline made. */
export interface Row {
  quantity: string;
  /** Undefined when the case does not hold the quantity. */
  value?: number;
  limit: number;
  note?: string;
}

type Numbers = ArrayLike<number>;

const tensor = (shape: number[], data: Float32Array): Tensor => ({ shape, data });
const floats = (golden: GoldenTensor): Float32Array => Float32Array.from(golden.data);

/** Swaps the first two axes of a block: [a, b, rest] becomes [b, a, rest]. */
function swap(data: Numbers, a: number, b: number): Float32Array {
  const rest = data.length / (a * b);
  const out = new Float32Array(data.length);
  for (let i = 0; i < a; i++) {
    for (let j = 0; j < b; j++) {
      for (let k = 0; k < rest; k++) out[(j * a + i) * rest + k] = data[(i * b + j) * rest + k]!;
    }
  }
  return out;
}

/** Every quantity that a case holds. */
export async function checkCase(
  engine: Engine,
  manifest: Manifest,
  golden: GoldenCase,
  limits: Limits = exactLimits,
): Promise<Row[]> {
  const checker = new Checker(engine, manifest, golden, limits);
  await checker.schedule();
  await checker.networks();
  await checker.clip();
  return checker.rows;
}

export const holds = ({ value, limit }: Row) => value === undefined || value <= limit;

class Checker {
  readonly rows: Row[] = [];

  constructor(
    private readonly engine: Engine,
    private readonly manifest: Manifest,
    private readonly golden: GoldenCase,
    private readonly limits: Limits,
  ) {}

  private get(name: string): GoldenTensor | undefined {
    return this.golden.tensors.get(name);
  }

  /** Adds a row for `name`: how far `compute` is from it, or that the case lacks it. */
  private async check(
    quantity: string,
    name: string,
    limit: number,
    compute: (expected: GoldenTensor) => Promise<number>,
  ): Promise<void> {
    const expected = this.get(name);
    if (expected === undefined)
      this.rows.push({ quantity, limit, note: `no ${name} in this case` });
    else this.rows.push({ quantity, limit, value: await compute(expected) });
  }

  private async compare(quantity: string, name: string, run: () => Promise<Numbers>) {
    await this.check(quantity, name, this.limits.single, async (expected) =>
      relativeError(await run(), expected.data),
    );
  }

  async networks(): Promise<void> {
    const { engine, golden, manifest } = this;
    const { blockFrames, layers, width, melBins } = manifest.audio;
    const { fps } = golden.meta;

    await this.compare('log-mel', 'log_mel', async () => {
      const pcm = tensor([golden.audio.length], golden.audio);
      return (await engine.run('mel', { pcm }))['log_mel']!.data;
    });
    const logMel = this.get('log_mel');
    if (logMel !== undefined) {
      await this.compare('Whisper states', 'whisper_features', async () => {
        const total = logMel.shape[1]!;
        const states: number[] = [];
        for (let start = 0; start < total; start += blockFrames) {
          const count = Math.min(blockFrames, total - start);
          const mel = new Float32Array(melBins * blockFrames);
          for (let bin = 0; bin < melBins; bin++) {
            const row = logMel.data.subarray(bin * total + start, bin * total + start + count);
            mel.set(row, bin * blockFrames);
          }
          const block = await engine.run('audio', { mel: tensor([melBins, blockFrames], mel) });
          const kept = Math.floor(count / 2) * (layers + 1) * width;
          for (const x of block['features']!.data.subarray(0, kept)) states.push(x);
        }
        return states;
      });
    }
    await this.check('audio chunks', 'audio_chunks', this.limits.single, async (expected) => {
      const { shape, data } = await engine.audioTokens(golden.audio, fps);
      const frames = Math.min(shape[0]!, golden.meta.video_limit ?? Infinity);
      const used = data.subarray(0, (data.length / shape[0]!) * frames);
      return relativeError(used, expected.data);
    });
    const mask = this.get('face_mask');
    if (mask !== undefined) {
      await this.compare('face locator', 'face_locator_out', async () => {
        return (await engine.run('faceLocator', { mask: tensor(mask.shape, floats(mask)) }))[
          'face'
        ]!.data;
      });
    }
    const image = this.get('image');
    if (image !== undefined) {
      await this.compare('VAE encode', 'ref_latents', async () => {
        const [height, wide] = image.shape as [number, number];
        const pixels = swap(image.data, height * wide, 3).map((x) => (2 * x) / 255 - 1);
        const input = tensor([1, 3, height, wide], pixels);
        return (await engine.run('vaeEncoder', { image: input }))['latents']!.data;
      });
    }
    const latents = this.get('ref_latents');
    if (latents !== undefined) {
      await this.compare('VAE decode', 'vae_decode_of_ref', async () => {
        const input = tensor(latents.shape, floats(latents));
        return (await engine.run('vaeDecoder', { latents: input }))['image']!.data;
      });
      await this.compare('first denoiser call', 'unet_call0_out', () => this.firstCall(latents));
    }
  }

  /** The first denoiser call, on the arguments that the official pipeline gave it. */
  private async firstCall(reference: GoldenTensor): Promise<Numbers> {
    const { engine } = this;
    const [sample, audio, face, time] = ['sample', 'audio', 'face', 't'].map((name) => {
      const found = this.get(`unet_call0_${name}`);
      if (found === undefined) throw new Error(`unet_call0_${name} is missing`);
      return found;
    }) as [GoldenTensor, GoldenTensor, GoldenTensor, GoldenTensor];
    const [batch, channels, frames, rows, columns] = sample.shape as [
      number,
      number,
      number,
      number,
      number,
    ];
    // With guidance the batch is the unconditional half, then the conditional one.
    const half = (golden: GoldenTensor, index: number) => {
      const size = golden.data.length / golden.shape[0]!;
      return Float32Array.from(golden.data.subarray(index * size, (index + 1) * size));
    };
    const input = (index: number) =>
      tensor([1, frames, channels, rows, columns], swap(half(sample, index), channels, frames));
    const timestep = tensor([1], floats(time).slice(0, 1));
    const bank = await engine.run('reference', {
      latents: tensor(reference.shape, floats(reference)),
    });
    const last = batch - 1;
    const conditional = await engine.run('denoiser', {
      sample: input(last),
      timestep,
      audio: tensor([1, ...audio.shape.slice(1)], half(audio, last)),
      face: tensor([face.shape[1]!, rows, columns], half(face, last)),
      ...bank,
    });
    const halves = [swap(conditional['v']!.data, frames, channels)];
    if (batch === 2) {
      const other = await engine.run('denoiserUncond', { sample: input(0), timestep });
      halves.unshift(swap(other['v']!.data, frames, channels));
    }
    return halves.flatMap((part) => Array.from(part));
  }

  async schedule(): Promise<void> {
    const { steps } = this.golden.meta;
    const schedule = parts.schedule({ ...this.manifest.schedule, steps });
    await this.check('timesteps', 'timesteps', 0, async (expected) =>
      relativeError(
        schedule.steps.map(({ timestep }) => timestep),
        expected.data,
      ),
    );
    await this.check('alphas_cumprod', 'alphas_cumprod', this.limits.single, async (expected) =>
      relativeError(schedule.alphasCumprod, expected.data),
    );
  }

  async clip(): Promise<void> {
    const { engine, golden } = this;
    const { meta } = golden;
    const options = renderOptions(golden);
    if (options === undefined) {
      const note = 'image, face_mask or noise is missing';
      this.rows.push({ quantity: 'whole clip', limit: 0, note });
      return;
    }
    const { width, height } = options.image;
    const after: Tensor[] = [];
    const shown: Uint8Array[] = [];
    const result = await engine.render(options, {
      onLatents: (latents, step) => void (after[step] = latents),
      onFrames: ({ data }) => void shown.push(data),
    });
    if (meta.video_frames !== undefined) {
      const value = Math.abs(result.frames - meta.video_frames);
      this.rows.push({ quantity: 'number of frames', value, limit: 0 });
    }
    for (const step of new Set([0, meta.steps - 1])) {
      const name = `latents_after_step${step}`;
      await this.check(
        `latents after step ${step + 1}`,
        name,
        this.limits.whole,
        async (expected) => relativeError(after[step]?.data ?? [], expected.data),
      );
    }
    const video = this.get('video_u8');
    if (video === undefined) {
      this.rows.push({ quantity: 'video', limit: 0, note: 'no video_u8 in this case' });
      return;
    }
    this.compareVideo(video, Buffer.concat(shown), result.frames, height * width);
  }

  private compareVideo(video: GoldenTensor, shown: Buffer, frames: number, pixels: number): void {
    let sum = 0;
    let worst = shown.length === video.data.length ? 0 : Infinity;
    for (let frame = 0; frame < frames; frame++) {
      for (let i = 0; i < pixels; i++) {
        for (let c = 0; c < 3; c++) {
          const expected = video.data[(c * frames + frame) * pixels + i]!;
          const difference = Math.abs(shown[3 * (frame * pixels + i) + c]! - expected);
          sum += difference;
          worst = Math.max(worst, difference);
        }
      }
    }
    const value = worst === Infinity ? Infinity : sum / shown.length;
    this.rows.push({ quantity: 'video, mean levels', value, limit: this.limits.meanLevels });
    this.rows.push({ quantity: 'video, largest', value: worst, limit: this.limits.maxLevels });
  }
}
