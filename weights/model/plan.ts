import { opset, type Graph, type Precision } from '../graph/builder.js';
import { DataFile } from '../graph/data-file.js';
import type { GraphFile } from '../graph/writer.js';
import { buildAudio } from './audio.js';
import type { UNetConfig, VaeConfig, WhisperConfig } from './config.js';
import { attentionPlaces, buildDenoiser } from './denoiser.js';
import { buildFaceLocator } from './face-locator.js';
import { CodedError } from '../../src/errors.js';
import type { Flavour } from './layers.js';
import { buildMel, melSizes } from './mel.js';
import { motionFrames, motionGroups } from './motion.js';
import { buildReference } from './reference.js';
import { Params, type WeightSource } from './source.js';
import { bankNames } from './transformer.js';
import { buildVaeDecoder, buildVaeEncoder } from './vae.js';

export interface ModelConfig {
  readonly unet: UNetConfig;
  readonly vae: VaeConfig;
  readonly whisper: WhisperConfig;
  /** Heads of the motion modules; no file tells. The release has as many as its UNet. */
  readonly motionHeads: number;
}

export interface ModelSources {
  /** The denoising UNet with its motion modules. */
  readonly denoising: WeightSource;
  readonly reference: WeightSource;
  readonly face: WeightSource;
  readonly vae: WeightSource;
  /** Keys start with `encoder.` */
  readonly whisper: WeightSource;
}

export const networkNames = [
  'mel',
  'audio',
  'faceLocator',
  'vaeEncoder',
  'vaeDecoder',
  'reference',
  'denoiser',
  'denoiserUncond',
] as const;
export type NetworkName = (typeof networkNames)[number];

export interface NetworkFiles {
  readonly file: string;
  /** A variant with ONNX Runtime's own operators, for its CPU provider. */
  readonly cpuFile?: string;
  /** Of that, a variant that computes large layers in 8 bits. */
  readonly int8File?: string;
  readonly data: string;
}

export interface ModelPlan {
  readonly opset: number;
  readonly networks: Readonly<Record<NetworkName, NetworkFiles>>;
  /** Names of the bank tensors, outputs of `reference` and inputs of `denoiser`, in order. */
  readonly bank: readonly string[];
  readonly maxFrames: number;
  readonly graphs: readonly GraphFile[];
  readonly data: readonly DataFile[];
  /** Every key that a source's networks have. */
  readonly known: Readonly<Record<keyof ModelSources, ReadonlySet<string>>>;
}

/** Positions of the encoder that one video frame hears. */
export const audioWindow = 10;

function checkMotion(config: ModelConfig, path: string): void {
  for (const channels of config.unet.channels) {
    if (channels % motionGroups !== 0 || channels % config.motionHeads !== 0) {
      throw new CodedError(
        'CHECKPOINT_FORMAT_INVALID',
        `${path}: ${channels} channels do not divide into the motion modules' ${motionGroups} groups and ${config.motionHeads} heads`,
      );
    }
  }
}

/**
 * Plans all graphs of a model. Every tensor's presence and shape is checked here; values are read
 * when `writeModel` writes the data files.
 */
export function planModel(
  config: ModelConfig,
  sources: ModelSources,
  { precision }: { precision: Precision },
): ModelPlan {
  const { unet, vae, whisper, motionHeads } = config;
  checkMotion(config, sources.denoising.path);
  const denoising = new Params(sources.denoising);
  const reference = new Params(sources.reference);
  const face = new Params(sources.face);
  const vaeParams = new Params(sources.vae);
  const audio = new Params(sources.whisper);
  const graphs: GraphFile[] = [];
  const data: DataFile[] = [];
  const networks = {} as Record<NetworkName, NetworkFiles>;

  const network = (
    name: NetworkName,
    stem: string,
    file: DataFile,
    build: (flavour: Flavour, data: DataFile, int8?: boolean) => Graph,
    { int8 = false } = {},
  ) => {
    if (!data.includes(file)) data.push(file);
    graphs.push({ path: `${stem}.onnx`, model: build('standard', file).build() });
    const cpuFile = `${stem}.cpu.onnx`;
    graphs.push({ path: cpuFile, model: build('cpu', file).build() });
    networks[name] = { file: `${stem}.onnx`, cpuFile, data: file.path };
    if (!int8) return;
    const int8File = `${stem}.int8.onnx`;
    graphs.push({ path: int8File, model: build('cpu', file, true).build() });
    networks[name] = { ...networks[name], int8File };
  };

  const melFile = new DataFile('mel.data');
  data.push(melFile);
  graphs.push({ path: 'mel.onnx', model: buildMel(melFile).build() });
  networks.mel = { file: 'mel.onnx', data: melFile.path };
  network('audio', 'audio', new DataFile('audio.data'), (flavour, file) =>
    buildAudio(audio.at('encoder'), whisper, file, precision, flavour),
  );
  network('faceLocator', 'face_locator', new DataFile('face_locator.data'), (flavour, file) =>
    buildFaceLocator(face, unet.channels[0]!, file, precision, flavour),
  );
  network('vaeEncoder', 'vae_encoder', new DataFile('vae_encoder.data'), (flavour, file) =>
    buildVaeEncoder(vaeParams, vae, file, precision, flavour),
  );
  const decoderData = new DataFile('vae_decoder.data');
  const decoder = (flavour: Flavour, file: DataFile, int8 = false) =>
    buildVaeDecoder(vaeParams, vae, file, precision, flavour, int8);
  network('vaeDecoder', 'vae_decoder', decoderData, decoder, { int8: true });
  network('reference', 'reference', new DataFile('reference.data'), (flavour, file) =>
    buildReference(reference, denoising, unet, file, precision, flavour),
  );
  const denoiserData = new DataFile('denoiser.data');
  const denoiser =
    (unconditional: boolean) =>
    (flavour: Flavour, file: DataFile, int8 = false) =>
      buildDenoiser(denoising, file, {
        config: unet,
        motionHeads,
        audioWidth: whisper.width,
        audioTokens: audioWindow * (whisper.layers + 1),
        unconditional,
        precision,
        flavour,
        int8,
      });
  network('denoiser', 'denoiser', denoiserData, denoiser(false), { int8: true });
  network('denoiserUncond', 'denoiser_unconditional', denoiserData, denoiser(true), {
    int8: true,
  });

  return {
    opset,
    networks,
    bank: attentionPlaces(unet).flatMap(({ name }) => Object.values(bankNames(name)) as string[]),
    maxFrames: motionFrames(denoising, unet),
    graphs,
    data,
    known: {
      denoising: denoising.known,
      reference: reference.known,
      face: face.known,
      vae: vaeParams.known,
      whisper: audio.known,
    },
  };
}

export { melSizes };
