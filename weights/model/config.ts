import { CodedError } from '../../src/errors.js';

export interface UNetConfig {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly channels: readonly number[];
  readonly layersPerBlock: readonly number[];
  /** Attention heads per level. */
  readonly heads: readonly number[];
  /** Which levels of the way down have attention. */
  readonly attention: readonly boolean[];
  readonly groups: number;
  readonly eps: number;
  readonly flipSinToCos: boolean;
  readonly freqShift: number;
  /** Height and width of the latents that it was trained on. */
  readonly sample: readonly [number, number];
}

export interface VaeConfig {
  readonly channels: readonly number[];
  readonly layersPerBlock: number;
  readonly groups: number;
  readonly latentChannels: number;
}

export interface WhisperConfig {
  readonly melBins: number;
  readonly positions: number;
  readonly width: number;
  readonly heads: number;
  readonly layers: number;
}

type Fields = Readonly<Record<string, unknown>>;

class Reader {
  constructor(
    readonly fields: Fields,
    readonly path: string,
  ) {}

  fail(name: string, expected: string): CodedError {
    const value = JSON.stringify(this.fields[name]) ?? 'missing';
    return new CodedError(
      'CHECKPOINT_FORMAT_INVALID',
      `${this.path}: ${name} must be ${expected}, it is ${value}`,
    );
  }

  size(name: string, fallback?: number): number {
    const value = Number(this.fields[name] ?? fallback);
    if (!Number.isSafeInteger(value) || value < 1 || value > 65536) {
      throw this.fail(name, 'a whole number from 1 to 65536');
    }
    return value;
  }

  sizes(name: string, count?: number): number[] {
    const value = this.fields[name];
    const list = Array.isArray(value) ? (value as unknown[]) : undefined;
    const good = (n: unknown) => Number.isSafeInteger(n) && Number(n) >= 1 && Number(n) <= 65536;
    if (!list || list.length === 0 || list.length > 16 || !list.every(good)) {
      throw this.fail(name, 'a list of whole numbers');
    }
    if (count !== undefined && list.length !== count) {
      throw this.fail(name, `a list of ${count} whole numbers`);
    }
    return list.map(Number);
  }

  /** One number for all levels or a list with one per level. */
  perLevel(name: string, count: number, fallback?: number): number[] {
    if (Array.isArray(this.fields[name])) return this.sizes(name, count);
    return new Array<number>(count).fill(this.size(name, fallback));
  }

  number(name: string, fallback: number): number {
    const value = this.fields[name] ?? fallback;
    if (typeof value !== 'number' || !Number.isFinite(value)) throw this.fail(name, 'a number');
    return value;
  }

  /** A feature that this engine knows in one setting only. */
  only(name: string, allowed: readonly unknown[]): void {
    const value = this.fields[name];
    if (value !== undefined && value !== null && !allowed.includes(value)) {
      throw this.fail(name, allowed.map((x) => JSON.stringify(x)).join(' or '));
    }
  }
}

function readerOf(json: unknown, path: string): Reader {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new CodedError('CHECKPOINT_FORMAT_INVALID', `${path}: a JSON object was expected`);
  }
  return new Reader(json as Fields, path);
}

function divides(reader: Reader, name: string, divisor: number, channels: readonly number[]) {
  for (const n of channels) {
    if (n % divisor !== 0) throw reader.fail(name, `a divisor of every channel count (${n})`);
  }
}

/** `sample_size`: one number, or height and width. */
function sampleOf(r: Reader): [number, number] {
  const sides = r.perLevel('sample_size', 2, 64);
  return [sides[0]!, sides[1]!];
}

/** `config.json` of the base UNet, which both UNets share. */
export function parseUNetConfig(json: unknown, path: string): UNetConfig {
  const r = readerOf(json, path);
  const channels = r.sizes('block_out_channels');
  const levels = channels.length;
  r.only('act_fn', ['silu', 'swish']);
  r.only('resnet_time_scale_shift', ['default']);
  r.only('transformer_layers_per_block', [1]);
  r.only('center_input_sample', [false]);
  r.only('dual_cross_attention', [false]);
  r.only('class_embed_type', []);
  r.only('downsample_padding', [1]);
  // The family's misnomer: `attention_head_dim` counts heads.
  const heads = r.perLevel(
    r.fields['num_attention_heads'] == null ? 'attention_head_dim' : 'num_attention_heads',
    levels,
    8,
  );
  const types = r.fields['down_block_types'];
  const attention =
    Array.isArray(types) && types.length === levels
      ? types.map((type) => String(type).startsWith('CrossAttn'))
      : channels.map((_, i) => i < levels - 1);
  const groups = r.size('norm_num_groups', 32);
  divides(r, 'norm_num_groups', groups, channels);
  channels.forEach((n, i) => divides(r, 'attention_head_dim', heads[i]!, [n]));
  if (channels[0]! % 2 !== 0) throw r.fail('block_out_channels', 'even in its first entry');
  return {
    inChannels: r.size('in_channels', 4),
    outChannels: r.size('out_channels', 4),
    channels,
    layersPerBlock: r.perLevel('layers_per_block', levels, 2),
    heads,
    attention,
    groups,
    eps: r.number('norm_eps', 1e-5),
    flipSinToCos: r.fields['flip_sin_to_cos'] !== false,
    freqShift: r.number('freq_shift', 0),
    sample: sampleOf(r),
  };
}

/** `config.json` of the VAE. */
export function parseVaeConfig(json: unknown, path: string): VaeConfig {
  const r = readerOf(json, path);
  const channels = r.sizes('block_out_channels');
  r.only('act_fn', ['silu', 'swish']);
  const groups = r.size('norm_num_groups', 32);
  divides(r, 'norm_num_groups', groups, channels);
  if (r.size('in_channels', 3) !== 3) throw r.fail('in_channels', '3');
  if (r.size('out_channels', 3) !== 3) throw r.fail('out_channels', '3');
  return {
    channels,
    layersPerBlock: r.size('layers_per_block', 2),
    groups,
    latentChannels: r.size('latent_channels', 4),
  };
}

/** `dims` of a Whisper checkpoint. */
export function parseWhisperDims(dims: unknown, path: string): WhisperConfig {
  const r = readerOf(dims, path);
  const config = {
    melBins: r.size('n_mels'),
    positions: r.size('n_audio_ctx'),
    width: r.size('n_audio_state'),
    heads: r.size('n_audio_head'),
    layers: r.size('n_audio_layer'),
  };
  if (config.melBins !== 80) throw r.fail('n_mels', '80');
  if (config.positions !== 1500) throw r.fail('n_audio_ctx', '1500');
  if (config.width % config.heads !== 0) throw r.fail('n_audio_head', 'a divisor of n_audio_state');
  return config;
}
