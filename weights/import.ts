import { writeFile } from 'node:fs/promises';
import { basename, join, relative, resolve, sep } from 'node:path';
import { Worker } from 'node:worker_threads';
import { CodedError } from '../src/errors.js';
import { projectRoot } from '../src/paths.js';
import { elementCount, MergedSource, openCheckpoint, type Checkpoint } from './checkpoint/index.js';
import { writeModel } from './graph/writer.js';
import { ignoredKeys, type IgnoredKeys } from './ignored-keys.js';
import { filesOf, findLayout, readExtras, readJson, type Extras, type Layout } from './layout.js';
import { checkManifest, manifestFormat, manifestName, type Manifest } from './manifest.js';
import { parseUNetConfig, parseVaeConfig, parseWhisperDims } from './model/config.js';
import { windowFrames } from './model/denoiser.js';
import { withMemory } from './model/memory.js';
import { audioWindow, melSizes, planModel } from './model/plan.js';
import type { ModelConfig, ModelPlan, ModelSources } from './model/plan.js';
import { ModelFolder, writeError } from './model-folder.js';

export interface ImportOptions {
  /** A checkpoint in the official release's layout. */
  readonly folder: string;
  /** Default: the name of the folder. */
  readonly name?: string | undefined;
  /** The model folder; default: weights/NAME of the project. */
  readonly out?: string | undefined;
  readonly precision?: 'fp32' | 'fp16' | undefined;
  /** Take the plain weights although accelerated ones are there. */
  readonly plain?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((written: number, total: number) => void) | undefined;
}

export interface Imported {
  readonly folder: string;
  readonly manifest: Manifest;
}

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Where imported models live, unless `out` says otherwise. */
export const modelsRoot = join(projectRoot, 'weights');

/** The files of a checkpoint, open, with their configs. */
class Opened {
  private readonly checkpoints: Checkpoint[] = [];
  denoising!: Checkpoint;
  motion!: Checkpoint;
  reference!: Checkpoint;
  face!: Checkpoint;
  vae!: Checkpoint;
  whisper!: Checkpoint;
  base: Checkpoint | undefined;
  sources!: ModelSources;

  private constructor(readonly layout: Layout) {}

  static async open(layout: Layout): Promise<Opened> {
    const opened = new Opened(layout);
    const open = async (path: string) => {
      const checkpoint = await openCheckpoint(path);
      opened.checkpoints.push(checkpoint);
      return checkpoint;
    };
    try {
      opened.denoising = await open(layout.denoising);
      opened.motion = await open(layout.motion);
      opened.reference = await open(layout.reference);
      opened.face = await open(layout.faceLocator);
      opened.vae = await open(layout.vae);
      opened.whisper = await open(layout.whisper);
      if (layout.base !== undefined) opened.base = await open(layout.base);
    } catch (error) {
      await opened.close();
      throw error;
    }
    const base = opened.base ? [opened.base] : [];
    opened.sources = {
      denoising: new MergedSource([opened.denoising, opened.motion, ...base], (key) =>
        key.includes('motion_modules.') ? layout.motion : layout.denoising,
      ),
      reference: new MergedSource([opened.reference, ...base]),
      face: new MergedSource([opened.face]),
      vae: new MergedSource([opened.vae]),
      whisper: new MergedSource([opened.whisper]),
    };
    return opened;
  }

  async close(): Promise<void> {
    await Promise.all(this.checkpoints.map((checkpoint) => checkpoint.close()));
  }
}

function refuseUnknown(
  checkpoint: Checkpoint,
  known: ReadonlySet<string>,
  ignored: readonly IgnoredKeys[],
): void {
  const unknown = checkpoint
    .keys()
    .filter((key) => !known.has(key) && !ignored.some(({ pattern }) => pattern.test(key)));
  if (unknown.length === 0) return;
  const more = unknown.length > 1 ? ` (and ${unknown.length - 1} more)` : '';
  throw new CodedError(
    'CHECKPOINT_KEY_UNKNOWN',
    `${checkpoint.path}: key ${unknown[0]!}${more} is not part of the model that the configuration describes`,
  );
}

function checkKeys(opened: Opened, { known }: ModelPlan): void {
  const { denoising, motion, reference, face, vae, whisper } = opened;
  refuseUnknown(denoising, known.denoising, ignoredKeys.denoising);
  refuseUnknown(motion, known.denoising, ignoredKeys.denoising);
  refuseUnknown(reference, known.reference, ignoredKeys.reference);
  refuseUnknown(face, known.face, ignoredKeys.faceLocator);
  refuseUnknown(vae, known.vae, ignoredKeys.vae);
  refuseUnknown(whisper, known.whisper, ignoredKeys.whisper);
}

async function readConfig(opened: Opened, extras: Extras): Promise<ModelConfig> {
  const { layout, whisper, face } = opened;
  const unet = parseUNetConfig(await readJson(layout.unetConfig), layout.unetConfig);
  const vae = parseVaeConfig(await readJson(layout.vaeConfig), layout.vaeConfig);
  const dims = whisper.scalars['dims'];
  if (dims === undefined) {
    throw new CodedError('CHECKPOINT_FORMAT_INVALID', `${layout.whisper}: dims are missing`);
  }
  if (unet.inChannels !== vae.latentChannels || unet.outChannels !== vae.latentChannels) {
    throw new CodedError(
      'CHECKPOINT_SHAPE_MISMATCH',
      `${layout.unetConfig}: ${unet.inChannels} channels in and ${unet.outChannels} out do not fit the ${vae.latentChannels} latent channels of ${layout.vaeConfig}`,
    );
  }
  const blocks = face.keys().filter((key) => /^blocks\.\d+\.weight$/.test(key)).length;
  const downscale = 2 ** (vae.channels.length - 1);
  if (2 ** Math.floor(blocks / 2) !== downscale) {
    throw new CodedError(
      'CHECKPOINT_SHAPE_MISMATCH',
      `${layout.faceLocator}: ${blocks} blocks do not scale by ${downscale}, as ${layout.vaeConfig} does`,
    );
  }
  const motionHeads = extras.motionHeads ?? unet.heads[0]!;
  return { unet, vae, whisper: parseWhisperDims(dims, layout.whisper), motionHeads };
}

function defaultsOf(
  { accelerated }: Layout,
  extras: Extras,
  [height, width]: readonly [number, number],
  downscale: number,
  maxFrames: number,
): Manifest['defaults'] {
  const contextFrames = Math.min(windowFrames, maxFrames);
  return {
    steps: accelerated ? 6 : 30,
    cfg: accelerated ? 1 : 2.5,
    width: width * downscale,
    height: height * downscale,
    fps: 24,
    contextFrames,
    contextOverlap: Math.min(3, contextFrames - 1),
    ...extras.defaults,
  };
}

type Sources = Manifest['sources'];

/** Hashes the source files on a thread of its own while the model is written. */
function hashSources(layout: Layout, signal: AbortSignal | undefined): Promise<Sources> {
  const { folder } = layout;
  const files = filesOf(layout);
  return new Promise((done, fail) => {
    const worker = new Worker(new URL('./hash-worker.js', import.meta.url), { workerData: files });
    const stop = () => void worker.terminate();
    signal?.addEventListener('abort', stop, { once: true });
    worker.once('message', (hashes: { bytes: number; sha256: string }[]) => {
      done(
        files.map((path, i) => ({
          path: relative(folder, path).split(sep).join('/'),
          ...hashes[i]!,
        })),
      );
    });
    worker.once('error', fail);
    worker.once('exit', () => {
      signal?.removeEventListener('abort', stop);
      fail(new Error(`hashing of ${folder} was stopped`));
    });
  });
}

function parametersOf(sources: ModelSources, known: ModelPlan['known']): number {
  let sum = 0;
  for (const name of Object.keys(known) as (keyof ModelSources)[]) {
    for (const key of known[name]) sum += elementCount(sources[name].shape(key));
  }
  return sum;
}

function describe(
  opened: Opened,
  config: ModelConfig,
  plan: ModelPlan,
  extras: Extras,
  name: string,
  precision: 'fp32' | 'fp16',
): Omit<Manifest, 'files' | 'sources'> {
  const { unet, vae, whisper, motionHeads } = config;
  const downscale = 2 ** (vae.channels.length - 1);
  const defaults = defaultsOf(opened.layout, extras, unet.sample, downscale, plan.maxFrames);
  return {
    format: manifestFormat,
    name,
    precision,
    opset: plan.opset,
    accelerated: opened.layout.accelerated,
    parameters: parametersOf(opened.sources, plan.known),
    networks: withMemory(plan, config, defaults.contextFrames),
    audio: {
      sampleRate: melSizes.sampleRate,
      hop: melSizes.hop,
      melBins: whisper.melBins,
      blockFrames: 2 * whisper.positions,
      layers: whisper.layers,
      width: whisper.width,
      positionsPerSecond: melSizes.sampleRate / melSizes.hop / 2,
      windowBefore: audioWindow / 2 - 1,
      windowAfter: audioWindow / 2,
    },
    latent: { channels: vae.latentChannels, downscale },
    unet: {
      channels0: unet.channels[0]!,
      blockOutChannels: [...unet.channels],
      layersPerBlock: unet.layersPerBlock[0]!,
      heads: unet.heads[0]!,
      normGroups: unet.groups,
    },
    motion: { heads: motionHeads, maxFrames: plan.maxFrames },
    bank: [...plan.bank],
    schedule: { trainSteps: 1000, betaStart: 0.00085, betaEnd: 0.012 },
    defaults,
  };
}

function targetOf(options: ImportOptions): { name: string; target: string } {
  const name = options.name ?? basename(resolve(options.folder));
  if (!namePattern.test(name)) {
    throw new CodedError(
      'BAD_REQUEST',
      `${JSON.stringify(name)} is not a model name: letters, digits, dot, dash and underscore`,
    );
  }
  return { name, target: resolve(options.out ?? join(modelsRoot, name)) };
}

/**
 * Turns a checkpoint in the official layout into a model folder. Everything about the checkpoint is
 * checked before a byte is written, and the folder appears complete or not at all.
 */
export async function importModel(options: ImportOptions): Promise<Imported> {
  const { signal, precision = 'fp32' } = options;
  const { name, target } = targetOf(options);
  const layout = await findLayout(resolve(options.folder), options.plain ?? false);
  const extras = await readExtras(layout.extras);
  const opened = await Opened.open(layout);
  try {
    const config = await readConfig(opened, extras);
    const plan = planModel(config, opened.sources, { precision });
    checkKeys(opened, plan);
    const description = describe(opened, config, plan, extras, name, precision);
    signal?.throwIfAborted();
    const folder = await ModelFolder.begin(target);
    const stopHashing = new AbortController();
    const stop = signal ? AbortSignal.any([signal, stopHashing.signal]) : stopHashing.signal;
    const hashes = hashSources(layout, stop);
    hashes.catch(() => undefined);
    try {
      const total = plan.data.reduce((sum, file) => sum + file.bytes, 0);
      await folder.reserve(total);
      let written = 0;
      const files = await writeModel(folder.work, plan.graphs, plan.data, {
        signal,
        onBytes: (bytes) => options.onProgress?.((written += bytes), total),
      });
      const manifest = checkManifest(
        { ...description, files, sources: await hashes },
        join(target, manifestName),
      );
      signal?.throwIfAborted();
      const text = `${JSON.stringify(manifest, null, 2)}\n`;
      await writeFile(join(folder.work, manifestName), text, { flag: 'wx' });
      await folder.commit();
      return { folder: target, manifest };
    } catch (error) {
      stopHashing.abort();
      await folder.discard();
      throw writeError(error, target);
    }
  } finally {
    await opened.close();
  }
}
