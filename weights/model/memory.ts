import type { Manifest } from '../manifest.js';
import { graphOf } from '../cost/graph.js';
import { liveSums, weightBytesOf } from '../cost/memory.js';
import type { UNetConfig } from './config.js';
import { attentionPlaces } from './denoiser.js';
import type { ModelConfig, ModelPlan, NetworkName } from './plan.js';

type Dims = Readonly<Record<string, number>>;

/** The level of a place in the UNet, such as `up_blocks.1.attentions.0`; the first one is 0. */
function levelOf(name: string, levels: number): number {
  const [block, number] = name.split('.');
  if (block === 'mid_block') return levels - 1;
  return block === 'up_blocks' ? levels - 1 - Number(number) : Number(number);
}

/** Tokens of every attention that takes keys and values from the reference. */
export function bankTokens(unet: UNetConfig, side: number): Dims {
  const levels = unet.channels.length;
  const tokens = (name: string) => (side / 2 ** levelOf(name, levels)) ** 2;
  return Object.fromEntries(
    attentionPlaces(unet).map(({ name }) => [`tokens.${name}`, tokens(name)]),
  );
}

/** The networks of a plan with what they need of a GPU's memory; the log-mel never runs on one. */
export function withMemory(
  plan: ModelPlan,
  { unet, vae, whisper }: ModelConfig,
  contextFrames: number,
): Manifest['networks'] {
  const downscale = 2 ** (vae.channels.length - 1);
  const pixels = (side: number) => ({ height: downscale * side, width: downscale * side });
  const latents = (side: number) => ({ height: side, width: side });
  const window = (side: number) => ({ batch: 1, frames: contextFrames, ...latents(side) });
  const calls: Partial<Record<NetworkName, (side: number) => Dims>> = {
    audio: () => ({ frames: 2 * whisper.positions }),
    faceLocator: pixels,
    vaeEncoder: (side) => ({ images: 1, ...pixels(side) }),
    vaeDecoder: (side) => ({ images: 1, latent_height: side, latent_width: side }),
    reference: latents,
    denoiser: (side) => ({ ...window(side), ...bankTokens(unet, side) }),
    denoiserUncond: window,
  };
  const graphs = new Map(plan.graphs.map(({ path, model }) => [path, model]));
  const side = 2 ** unet.channels.length;
  const networks = Object.entries(plan.networks).map(([name, files]) => {
    const dimsOf = calls[name as NetworkName];
    if (dimsOf === undefined) return [name, files] as const;
    const graph = graphOf(graphs.get(files.file)!);
    const memory = {
      weights: weightBytesOf(graph),
      frames: name.startsWith('denoiser') ? contextFrames : 1,
      live: liveSums(graph, side, dimsOf),
    };
    return [name, { ...files, memory }] as const;
  });
  return Object.fromEntries(networks) as Manifest['networks'];
}
