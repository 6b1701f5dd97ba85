import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { CodedError } from '../src/errors.js';
import { hashFile } from './hash.js';

export const manifestName = 'manifest.json';

const count = Type.Integer({ minimum: 1 });
const positive = Type.Number({ exclusiveMinimum: 0 });
/** A file of the model folder itself: no separators, so a manifest cannot point elsewhere. */
const fileName = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$', maxLength: 128 });
const sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });
const bytes = Type.Integer({ minimum: 0 });

const quantity = Type.Number({ minimum: 0 });

const Network = Type.Object(
  {
    file: fileName,
    /** The same network with operators that only the CPU provider of ONNX Runtime has. */
    cpuFile: Type.Optional(fileName),
    /** Of that, one that computes large layers in 8 bits. */
    int8File: Type.Optional(fileName),
    data: fileName,
    /**
     * Bytes that the network needs on a GPU: its weights, and what is alive at once in a call with
     * `frames` frames, which is the largest of the sums `base + linear * n + quadratic * n * n` for n
     * latent pixels. Models that were imported before this was counted lack it.
     */
    memory: Type.Optional(
      Type.Object(
        {
          weights: bytes,
          frames: count,
          live: Type.Array(Type.Object({ base: quantity, linear: quantity, quadratic: quantity }), {
            minItems: 1,
          }),
        },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false },
);

/** Counts the changes after which older folders no longer work with the engine. */
export const manifestFormat = 2;

/** What an imported model folder says about itself in `manifest.json`. */
export const ManifestSchema = Type.Object(
  {
    format: Type.Literal(manifestFormat),
    name: Type.String({ minLength: 1, maxLength: 128 }),
    precision: Type.Union([Type.Literal('fp32'), Type.Literal('fp16')]),
    opset: count,
    /** Whether the denoiser is the one for few steps without guidance. */
    accelerated: Type.Boolean(),
    /** Number of weights in the source files that the networks use. */
    parameters: count,
    networks: Type.Object(
      {
        mel: Network,
        audio: Network,
        faceLocator: Network,
        vaeEncoder: Network,
        vaeDecoder: Network,
        reference: Network,
        denoiser: Network,
        denoiserUncond: Network,
      },
      { additionalProperties: false },
    ),
    audio: Type.Object({
      sampleRate: count,
      hop: count,
      melBins: count,
      /** Mel frames of one block of the audio network. */
      blockFrames: count,
      layers: count,
      width: count,
      positionsPerSecond: count,
      /** Audio positions around a video frame: its own, so many before and after. */
      windowBefore: Type.Integer({ minimum: 0 }),
      windowAfter: Type.Integer({ minimum: 0 }),
    }),
    latent: Type.Object({ channels: count, downscale: count }),
    unet: Type.Object({
      channels0: count,
      blockOutChannels: Type.Array(count, { minItems: 1 }),
      layersPerBlock: count,
      heads: count,
      normGroups: count,
    }),
    motion: Type.Object({ heads: count, maxFrames: count }),
    /** Names of the tensors that reference gives and denoiser takes, in order. */
    bank: Type.Array(Type.String({ minLength: 1 }), { minItems: 1 }),
    schedule: Type.Object({ trainSteps: count, betaStart: positive, betaEnd: positive }),
    defaults: Type.Object({
      steps: count,
      cfg: Type.Number({ minimum: 1 }),
      width: count,
      height: count,
      fps: positive,
      contextFrames: count,
      contextOverlap: Type.Integer({ minimum: 0 }),
    }),
    files: Type.Array(
      Type.Object({ path: fileName, bytes, sha256 }, { additionalProperties: false }),
      { minItems: 1 },
    ),
    /** The checkpoint files that this model was made of, relative to their folder. */
    sources: Type.Array(Type.Object({ path: Type.String(), bytes, sha256 })),
  },
  { additionalProperties: false },
);

export type Manifest = Static<typeof ManifestSchema>;

/** The manifest of an imported model folder, checked. */
export async function loadManifest(folder: string): Promise<Manifest> {
  const path = join(folder, manifestName);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new CodedError(
      'MODEL_INVALID',
      `${path}: cannot be read (${(error as NodeJS.ErrnoException).code}); import a checkpoint with: npm run weights -- import FOLDER`,
      { cause: error },
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CodedError('MODEL_INVALID', `${path}: not JSON`, { cause: error });
  }
  return checkManifest(value, path);
}

const OtherFormat = Type.Object({ format: Type.Integer() });

/** Refuses a manifest that is not one; `path` is for the message. */
export function checkManifest(value: unknown, path: string): Manifest {
  if (Value.Check(OtherFormat, value) && value.format !== manifestFormat) {
    throw new CodedError(
      'MODEL_INVALID',
      `${path}: has the format ${value.format}, this version reads ${manifestFormat}; import the checkpoint again with: npm run weights -- import FOLDER`,
    );
  }
  if (!Value.Check(ManifestSchema, value)) {
    const [first] = Value.Errors(ManifestSchema, value);
    throw new CodedError(
      'MODEL_INVALID',
      `${path}: ${first ? `${first.instancePath || 'the whole'} ${first.message}` : 'not a manifest'}`,
    );
  }
  const { networks, files, defaults, motion } = value;
  const listed = new Set(files.map((file) => file.path));
  for (const network of Object.values(networks)) {
    for (const file of [network.file, network.cpuFile, network.int8File, network.data]) {
      if (file !== undefined && !listed.has(file)) {
        throw new CodedError('MODEL_INVALID', `${path}: ${file} is not among its files`);
      }
    }
  }
  if (defaults.contextFrames > motion.maxFrames) {
    throw new CodedError('MODEL_INVALID', `${path}: contextFrames exceeds maxFrames`);
  }
  return value;
}

/** Checks that every file of a model folder is there and as long as its manifest says. */
export async function checkSizes(folder: string): Promise<Manifest> {
  const manifest = await loadManifest(folder);
  for (const file of manifest.files) {
    const path = join(folder, file.path);
    const found = await stat(path).catch(() => undefined);
    if (!found) throw new CodedError('MODEL_INVALID', `${path}: missing`);
    if (found.size !== file.bytes) {
      throw new CodedError(
        'MODEL_INVALID',
        `${path}: has ${found.size} bytes, the manifest says ${file.bytes}`,
      );
    }
  }
  return manifest;
}

/** Checks every file of a model folder against its manifest, sizes first. */
export async function verifyModel(folder: string, signal?: AbortSignal): Promise<Manifest> {
  const manifest = await checkSizes(folder);
  for (const file of manifest.files) {
    const path = join(folder, file.path);
    if ((await hashFile(path, signal)) !== file.sha256) {
      throw new CodedError('MODEL_INVALID', `${path}: its content changed since the import`);
    }
  }
  return manifest;
}

/** Imported models under `root`, by folder name; a broken one carries its error. */
export async function listModels(
  root: string,
): Promise<{ folder: string; manifest?: Manifest; error?: CodedError }[]> {
  const entries = await readdir(root, { withFileTypes: true }).catch(() => []);
  const models: { folder: string; manifest?: Manifest; error?: CodedError }[] = [];
  for (const entry of entries.sort((a, b) => a.name.localeCompare(b.name))) {
    if (!entry.isDirectory() || entry.name.startsWith('.')) continue;
    const folder = join(root, entry.name);
    if (!(await stat(join(folder, manifestName)).catch(() => undefined))) continue;
    try {
      models.push({ folder, manifest: await loadManifest(folder) });
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      models.push({ folder, error });
    }
  }
  return models;
}
