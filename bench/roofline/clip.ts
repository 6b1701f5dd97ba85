import { join } from 'node:path';
import type { Precision } from '../../weights/graph/builder.js';
import { loadManifest } from '../../weights/manifest.js';
import { audioWindow, melSizes, type NetworkName } from '../../weights/model/plan.js';
import { fullSize, planOf } from '../synthetic/checkpoint.js';
import { type NetworkCount, countGraph } from './count.js';
import { type GraphModel, graphOf, readGraph, unknown } from '../../weights/cost/graph.js';

/** The graphs of standard operators, or those with the CPU provider's own. */
export type Flavour = 'standard' | 'cpu';
export const stages = ['audio', 'reference', 'denoise', 'decode'] as const;
export type Stage = (typeof stages)[number];

export const stageOf: Readonly<Record<NetworkName, Stage>> = {
  mel: 'audio',
  audio: 'audio',
  faceLocator: 'reference',
  vaeEncoder: 'reference',
  reference: 'reference',
  denoiser: 'denoise',
  denoiserUncond: 'denoise',
  vaeDecoder: 'decode',
};

/** What decides which networks a clip calls, how often and how large. */
export interface CountedModel {
  readonly name: string;
  readonly precision: Precision;
  readonly downscale: number;
  readonly audio: {
    readonly sampleRate: number;
    readonly hop: number;
    readonly blockFrames: number;
    readonly positionsPerSecond: number;
    readonly windowAfter: number;
  };
  graph(network: NetworkName, flavour: Flavour): Promise<GraphModel>;
}

export interface ClipSizes {
  readonly frames: number;
  readonly fps: number;
  readonly width: number;
  readonly height: number;
  readonly steps: number;
  readonly cfg: number;
  readonly contextFrames: number;
  readonly contextOverlap: number;
}

export interface NetworkCalls {
  readonly network: NetworkName;
  readonly stage: Stage;
  readonly calls: number;
  /** One call; of those that differ in size, the first. */
  readonly each: NetworkCount;
  readonly flops: number;
  readonly matrixFlops: number;
  readonly weightBytes: number;
  readonly activationBytes: number;
  readonly leastBytes: number;
}

/** An imported model. */
export async function openCounted(folder: string): Promise<CountedModel> {
  const { name, precision, latent, audio, networks } = await loadManifest(folder);
  return {
    name,
    precision,
    downscale: latent.downscale,
    audio,
    graph: (network, flavour) => {
      const { file, cpuFile } = networks[network];
      return readGraph(join(folder, flavour === 'cpu' ? (cpuFile ?? file) : file));
    },
  };
}

/** The official release's sizes; its weights are not needed to count. */
export function fullSizeModel(precision: Precision): CountedModel {
  const { graphs, networks } = planOf(fullSize, precision);
  const { sampleRate, hop } = melSizes;
  return {
    name: 'full size',
    precision,
    downscale: 2 ** (fullSize.vaeChannels.length - 1),
    audio: {
      sampleRate,
      hop,
      blockFrames: 3000,
      positionsPerSecond: sampleRate / hop / 2,
      windowAfter: audioWindow / 2,
    },
    graph: async (network, flavour) => {
      const { file, cpuFile } = networks[network];
      const path = flavour === 'cpu' ? (cpuFile ?? file) : file;
      const found = graphs.find((graph) => graph.path === path);
      if (found === undefined) throw unknown(path, 'a graph that the plan lacks');
      return graphOf(found.model);
    },
  };
}

/** Windows of one step: one every `contextFrames - contextOverlap` frames, around the clip. */
export function windowsOf({ frames, contextFrames, contextOverlap }: ClipSizes): number {
  return frames <= contextFrames ? 1 : Math.ceil(frames / (contextFrames - contextOverlap));
}

/** Lengths of the audio network's blocks, in mel frames; see native/engine/audio.cc. */
function audioBlocks({ audio }: CountedModel, { frames, fps }: ClipSizes): number[] {
  const melFrames = Math.floor((frames / fps) * (audio.sampleRate / audio.hop));
  const centre = Math.floor(((frames - 1) * audio.positionsPerSecond) / fps);
  const needed = Math.min(Math.floor(melFrames / 2), centre + audio.windowAfter + 1);
  const blocks = Math.max(1, Math.ceil(needed / (audio.blockFrames / 2)));
  return Array.from({ length: blocks }, (_, i) =>
    Math.min(audio.blockFrames, melFrames - i * audio.blockFrames),
  );
}

/** Counts every network call of one clip whose sound is as long as its picture. */
export async function countClip(
  model: CountedModel,
  sizes: ClipSizes,
  flavour: Flavour,
): Promise<NetworkCalls[]> {
  const { width, height, steps, cfg, fps } = sizes;
  const [rows, columns] = [height / model.downscale, width / model.downscale];
  const latent = { latent_height: rows, latent_width: columns };
  const calls: NetworkCalls[] = [];
  const add = async (network: NetworkName, times: number, ...dims: Record<string, number>[]) => {
    const graph = await model.graph(network, flavour);
    const counts = dims.map((one) => countGraph(graph, one));
    const sum = (value: (count: NetworkCount) => number) =>
      times * counts.reduce((all, count) => all + value(count), 0);
    calls.push({
      network,
      stage: stageOf[network],
      calls: times * counts.length,
      each: counts[0]!,
      flops: sum((count) => count.matrixFlops + count.otherFlops),
      matrixFlops: sum((count) => count.matrixFlops),
      weightBytes: sum((count) => count.weightBytes),
      activationBytes: sum((count) => count.activationBytes),
      leastBytes: sum((count) => count.leastBytes),
    });
    return counts[0]!;
  };

  const samples = Math.round((sizes.frames / fps) * model.audio.sampleRate);
  await add('mel', 1, { samples });
  await add('audio', 1, ...audioBlocks(model, sizes).map((frames) => ({ frames })));
  await add('faceLocator', 1, { height, width });
  await add('vaeEncoder', 1, { images: 1, height, width });
  const bank = await add('reference', 1, { height: rows, width: columns });

  const tokens = [...bank.outputs].map(
    ([name, dims]) => [name.replace(/^bank\.(.*)\.\w+$/, 'tokens.$1'), dims[1]!] as const,
  );
  const window = {
    batch: 1,
    frames: Math.min(sizes.frames, sizes.contextFrames),
    height: rows,
    width: columns,
    ...Object.fromEntries(tokens),
  };
  const windows = windowsOf(sizes) * steps;
  await add('denoiser', windows, window);
  if (cfg > 1) await add('denoiserUncond', windows, window);
  await add('vaeDecoder', sizes.frames, { images: 1, ...latent });
  return calls;
}

/** Cost of a clip as a sum: what is paid once, per window of a step, and per frame. */
export interface Growth {
  readonly once: number;
  readonly perWindow: number;
  readonly perDecodedFrame: number;
}

/** Floating-point operations of a clip's parts. */
export function growthOf(calls: readonly NetworkCalls[]): Growth {
  const flops = (stage: Stage) =>
    calls.filter((one) => one.stage === stage).reduce((sum, one) => sum + one.flops, 0);
  const times = (network: NetworkName) => calls.find((one) => one.network === network)?.calls ?? 1;
  return {
    once: flops('audio') + flops('reference'),
    perWindow: flops('denoise') / times('denoiser'),
    perDecodedFrame: flops('decode') / times('vaeDecoder'),
  };
}
