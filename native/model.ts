import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { CodedError } from '../src/errors.js';
import { type Manifest, loadManifest } from '../weights/manifest.js';
import type { AddonConfig, AddonModel } from './addon.js';

export interface ModelFolder {
  folder: string;
  manifest: Manifest;
  config: AddonModel & Pick<AddonConfig, 'guidanceByDefault'>;
}

/** Graphs in 8 bits where there are some, if `int8` asks for them, else those of the CPU. */
function cpuFile(network: Manifest['networks']['denoiser'], int8: boolean): string {
  return (int8 ? network.int8File : undefined) ?? network.cpuFile ?? network.file;
}

/** Reads a model folder's manifest and makes of it what the addon wants to know. */
export async function openModel(path: string, { int8 = false } = {}): Promise<ModelFolder> {
  const folder = resolve(path);
  let manifest: Manifest;
  try {
    manifest = await loadManifest(folder);
  } catch (error) {
    throw new CodedError('ENGINE_MODEL_INVALID', `model: ${(error as Error).message}`, {
      cause: error,
    });
  }
  for (const file of manifest.files) {
    const found = await stat(join(folder, file.path)).catch(() => undefined);
    if (found?.size !== file.bytes) {
      throw new CodedError(
        'ENGINE_MODEL_INVALID',
        `model: ${join(folder, file.path)} ${found ? `has ${found.size} bytes instead of ${file.bytes}` : 'is missing'}`,
      );
    }
  }
  const { audio, networks } = manifest;
  const files = new Map(manifest.files.map((file) => [file.path, file]));
  const digestOf = ({ file, data }: { file: string; data: string }) =>
    createHash('sha256')
      .update(files.get(file)!.sha256)
      .update(files.get(data)!.sha256)
      .digest('hex');
  if (int8 && networks.denoiser.int8File === undefined) {
    throw new CodedError(
      'ENGINE_MODEL_INVALID',
      `model: ${folder} was imported before there were graphs in 8 bits; import it again, or take precision "exact"`,
    );
  }
  return {
    folder,
    manifest,
    config: {
      guidanceByDefault: manifest.defaults.cfg > 1,
      networks: Object.entries(networks).map(([name, network]) => ({
        name,
        path: join(folder, network.file),
        cpuPath: join(folder, cpuFile(network, int8)),
        digest: digestOf(network),
        weightBytes: network.memory?.weights ?? files.get(network.data)!.bytes,
        live: network.memory && { frames: network.memory.frames, sums: network.memory.live },
      })),
      float16: manifest.precision === 'fp16',
      unetChannels: manifest.unet.blockOutChannels,
      bank: manifest.bank,
      audio: {
        sampleRate: audio.sampleRate,
        hop: audio.hop,
        melBins: audio.melBins,
        blockFrames: audio.blockFrames,
        states: audio.layers + 1,
        width: audio.width,
        positionsPerSecond: audio.positionsPerSecond,
        windowBefore: audio.windowBefore,
        windowAfter: audio.windowAfter,
      },
      latent: manifest.latent,
      maxContext: manifest.motion.maxFrames,
      schedule: manifest.schedule,
    },
  };
}
