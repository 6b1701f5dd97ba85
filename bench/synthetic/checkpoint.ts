import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { elementCount, floatToHalf, type WeightSource } from '../../weights/checkpoint/index.js';
import { parseUNetConfig, parseVaeConfig, parseWhisperDims } from '../../weights/model/config.js';
import type { Precision } from '../../weights/graph/builder.js';
import { planModel, type ModelPlan } from '../../weights/model/plan.js';
import { writeSafetensors, writeTorchArchive, type TensorSpec } from './torch-archive.js';

/** What a checkpoint of the family may choose. */
export interface Sizes {
  readonly channels: readonly number[];
  readonly layersPerBlock: number;
  readonly heads: number;
  readonly groups: number;
  readonly vaeChannels: readonly number[];
  readonly vaeLayers: number;
  readonly vaeGroups: number;
  readonly faceChannels: readonly number[];
  readonly audioWidth: number;
  readonly audioHeads: number;
  readonly audioLayers: number;
  readonly vocabulary: number;
  readonly motionFrames: number;
  /** Side of the latents, an eighth of the picture's. */
  readonly sampleSize: number;
}

/** The official release. */
export const fullSize: Sizes = {
  channels: [320, 640, 1280, 1280],
  layersPerBlock: 2,
  heads: 8,
  groups: 32,
  vaeChannels: [128, 256, 512, 512],
  vaeLayers: 2,
  vaeGroups: 32,
  faceChannels: [16, 32, 96, 256],
  audioWidth: 384,
  audioHeads: 6,
  audioLayers: 4,
  vocabulary: 51865,
  motionFrames: 32,
  sampleSize: 64,
};

/** Small enough for tests: two levels, a few hundred thousand weights. */
export const smallSize: Sizes = {
  channels: [32, 32],
  layersPerBlock: 1,
  heads: 4,
  groups: 8,
  vaeChannels: [8, 8, 8, 8],
  vaeLayers: 1,
  vaeGroups: 4,
  faceChannels: [4, 4, 8, 8],
  audioWidth: 16,
  audioHeads: 2,
  audioLayers: 1,
  vocabulary: 8,
  motionFrames: 16,
  sampleSize: 8,
};

type Shapes = Map<string, readonly number[]>;
export type FileName = 'denoising' | 'motion' | 'reference' | 'face' | 'vae' | 'whisper';

/** The configuration files of a checkpoint. */
export function configsOf(sizes: Sizes) {
  const levels = sizes.channels.length;
  const types = (kind: string) =>
    sizes.channels.map((_, i) => (i < levels - 1 ? `CrossAttn${kind}` : kind));
  const unet = {
    _class_name: 'UNet2DConditionModel',
    act_fn: 'silu',
    attention_head_dim: sizes.heads,
    block_out_channels: sizes.channels,
    cross_attention_dim: 768,
    down_block_types: types('DownBlock2D'),
    flip_sin_to_cos: true,
    freq_shift: 0,
    in_channels: 4,
    layers_per_block: sizes.layersPerBlock,
    norm_eps: 1e-5,
    norm_num_groups: sizes.groups,
    out_channels: 4,
    sample_size: sizes.sampleSize,
    up_block_types: types('UpBlock2D').reverse(),
  };
  const vae = {
    _class_name: 'AutoencoderKL',
    act_fn: 'silu',
    block_out_channels: sizes.vaeChannels,
    in_channels: 3,
    latent_channels: 4,
    layers_per_block: sizes.vaeLayers,
    norm_num_groups: sizes.vaeGroups,
    out_channels: 3,
  };
  const dims = {
    n_mels: 80,
    n_audio_ctx: 1500,
    n_audio_state: sizes.audioWidth,
    n_audio_head: sizes.audioHeads,
    n_audio_layer: sizes.audioLayers,
    n_vocab: sizes.vocabulary,
  };
  return { unet, vae, dims };
}

/**
 * Answers the importer's own builders as if every key were there, and notes which shape they want:
 * so the shapes of a checkpoint stand nowhere but in the builders.
 */
class Recorder implements WeightSource {
  readonly shapes: Shapes = new Map();

  constructor(
    readonly path: string,
    private readonly sizes: Sizes,
  ) {}

  /** Keys that builders count come as often as in the official release. */
  has(key: string): boolean {
    const index = (pattern: RegExp) => Number(pattern.exec(key)?.[1] ?? 0);
    if (this.path === 'face')
      return index(/^blocks\.(\d+)\./) < 2 * (this.sizes.faceChannels.length - 1);
    return index(/transformer_blocks\.(\d+)\./) < 1 && index(/attention_blocks\.(\d+)\./) < 2;
  }

  /** Shapes that builders take from the file; of all others only the number of axes counts. */
  shape(key: string): readonly number[] {
    const { faceChannels: face, channels, motionFrames } = this.sizes;
    if (this.path === 'face') {
      const block = /^blocks\.(\d+)\./.exec(key);
      if (!block) return [face[0]!, 1, 3, 3];
      const i = Number(block[1]);
      return [face[(i + 1) >> 1]!, face[i >> 1]!, 3, 3];
    }
    if (key.endsWith('pos_encoder.pe')) return [1, motionFrames, channels[0]!];
    const kernel =
      this.path === 'vae'
        ? /quant_conv\.weight$/.test(key)
        : /attentions\.\d+\.proj_(in|out)\.weight$/.test(key);
    return new Array<number>(kernel ? 4 : 2).fill(1);
  }

  fileOf(): string {
    return this.path;
  }

  expect(key: string, shape: readonly number[]): void {
    this.shapes.set(key, shape);
  }

  read(): Promise<Float32Array> {
    return Promise.reject(new Error(`${this.path} holds no values`));
  }
}

function recorded(sizes: Sizes, precision: Precision) {
  const { unet, vae, dims } = configsOf(sizes);
  const recorder = (path: string) => new Recorder(path, sizes);
  const sources = {
    denoising: recorder('denoising'),
    reference: recorder('reference'),
    face: recorder('face'),
    vae: recorder('vae'),
    whisper: recorder('whisper'),
  };
  const config = {
    unet: parseUNetConfig(unet, 'unet'),
    vae: parseVaeConfig(vae, 'vae'),
    whisper: parseWhisperDims(dims, 'whisper'),
    motionHeads: sizes.heads,
  };
  return { sources, plan: planModel(config, sources, { precision }) };
}

/** The graphs of a model of these sizes; there are no weights that could be written. */
export function planOf(sizes: Sizes, precision: Precision): ModelPlan {
  return recorded(sizes, precision).plan;
}

/** Keys and shapes of every file of a checkpoint of these sizes. */
export function shapesOf(sizes: Sizes): Record<FileName, Shapes> {
  const { sources } = recorded(sizes, 'fp32');
  const isMotion = ([key]: [string, unknown]) => key.includes('motion_modules.');
  const all = [...sources.denoising.shapes];
  const { audioWidth: width, vocabulary } = sizes;
  return {
    denoising: new Map(all.filter((entry) => !isMotion(entry))),
    motion: new Map(all.filter(isMotion)),
    reference: sources.reference.shapes,
    face: sources.face.shapes,
    vae: sources.vae.shapes,
    // with some of what the importer must ignore
    whisper: new Map([
      ...sources.whisper.shapes,
      ['encoder.ln_post.weight', [width]],
      ['encoder.ln_post.bias', [width]],
      ['decoder.token_embedding.weight', [vocabulary, width]],
    ]),
  };
}

const blockBits = 20;
const pieceElements = 1 << 22;
let normals: Float32Array | undefined;

/** A million deterministic standard normal values, repeated by every tensor at its own offset. */
function noise(): Float32Array {
  if (normals) return normals;
  normals = new Float32Array(1 << blockBits);
  let state = 0x9e3779b9;
  const uniform = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return ((state >>> 0) + 0.5) / 2 ** 32;
  };
  for (let i = 0; i < normals.length; i++) {
    normals[i] = Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  }
  return normals;
}

function* values(
  shape: readonly number[],
  seed: number,
  mean: number,
  deviation: number,
  dtype: 'float32' | 'float16',
): Iterable<Uint8Array> {
  const block = noise();
  const count = elementCount(shape);
  const piece = new Float32Array(Math.min(count, pieceElements));
  const halves = dtype === 'float16' ? new Uint16Array(piece.length) : undefined;
  for (let at = 0; at < count; at += pieceElements) {
    const n = Math.min(pieceElements, count - at);
    const from = seed * 7919 + at;
    for (let i = 0; i < n; i++) {
      piece[i] = mean + deviation * block[(from + i) & (block.length - 1)]!;
    }
    if (!halves) yield new Uint8Array(piece.buffer, 0, n * 4);
    else {
      floatToHalf(piece.subarray(0, n), halves);
      yield new Uint8Array(halves.buffer, 0, n * 2);
    }
  }
}

/** Values that keep a network's states in range: gains near one, weights by their fan-in. */
export function tensorsOf(shapes: Shapes, dtype: 'float32' | 'float16'): TensorSpec[] {
  return [...shapes].map(([key, shape], seed) => {
    const gain = shape.length === 1 && key.endsWith('weight');
    const fanIn = elementCount(shape.slice(1));
    const deviation = shape.length === 1 ? 0.05 : 1 / Math.sqrt(fanIn);
    return {
      key,
      shape,
      dtype,
      bytes: () => values(shape, seed, gain ? 1 : 0, deviation, dtype),
    };
  });
}

export interface CheckpointOptions {
  readonly dtype?: 'float32' | 'float16';
  readonly accelerated?: boolean;
  /** Where the VAE's weights go; the release has both forms. */
  readonly vaeFormat?: 'safetensors' | 'bin';
}

/** Writes a synthetic checkpoint in the layout of the official release. */
export async function writeCheckpoint(
  folder: string,
  sizes: Sizes,
  options: CheckpointOptions = {},
): Promise<void> {
  const { dtype = 'float32', accelerated = true, vaeFormat = 'safetensors' } = options;
  const vaeFolder = join(folder, 'sd-vae-ft-mse');
  const base = join(folder, 'sd-image-variations-diffusers', 'unet');
  const audio = join(folder, 'audio_processor');
  for (const path of [vaeFolder, base, audio]) await mkdir(path, { recursive: true });
  const shapes = shapesOf(sizes);
  const configs = configsOf(sizes);
  const suffix = accelerated ? '_acc' : '';
  const torch = (path: string, name: FileName) =>
    writeTorchArchive(join(folder, path), tensorsOf(shapes[name], dtype));
  await writeFile(join(base, 'config.json'), JSON.stringify(configs.unet, null, 2));
  await writeFile(join(vaeFolder, 'config.json'), JSON.stringify(configs.vae, null, 2));
  await torch(`denoising_unet${suffix}.pth`, 'denoising');
  await torch(`motion_module${suffix}.pth`, 'motion');
  await torch('reference_unet.pth', 'reference');
  await torch('face_locator.pth', 'face');
  const vae = tensorsOf(shapes.vae, dtype);
  const vaePath = join(vaeFolder, `diffusion_pytorch_model.${vaeFormat}`);
  if (vaeFormat === 'bin') await writeTorchArchive(vaePath, vae);
  else await writeSafetensors(vaePath, vae);
  await writeTorchArchive(join(audio, 'whisper_tiny.pt'), tensorsOf(shapes.whisper, 'float16'), {
    wrapper: 'model_state_dict',
    scalars: { dims: configs.dims },
  });
}
