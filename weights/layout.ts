import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { CodedError } from '../src/errors.js';

/** Paths of the files of a checkpoint in the official release's layout. */
export interface Layout {
  readonly folder: string;
  readonly accelerated: boolean;
  readonly denoising: string;
  readonly motion: string;
  readonly reference: string;
  readonly faceLocator: string;
  readonly vaeConfig: string;
  readonly vae: string;
  readonly unetConfig: string;
  /** Weights of the base model; they fill only keys that the other files lack. */
  readonly base: string | undefined;
  readonly whisper: string;
  /** Our own addition to the layout, for weights that want other defaults than the official ones. */
  readonly extras: string | undefined;
}

const vaeFolder = 'sd-vae-ft-mse';
const baseFolder = join('sd-image-variations-diffusers', 'unet');
const weightNames = ['diffusion_pytorch_model.safetensors', 'diffusion_pytorch_model.bin'];

const isFile = async (path: string) => (await stat(path).catch(() => undefined))?.isFile() === true;

async function firstOf(folder: string, names: readonly string[]): Promise<string | undefined> {
  for (const name of names) if (await isFile(join(folder, name))) return join(folder, name);
  return undefined;
}

/** Finds the files of a checkpoint; `plain` prefers the weights that are not accelerated. */
export async function findLayout(folder: string, plain: boolean): Promise<Layout> {
  if (!(await stat(folder).catch(() => undefined))?.isDirectory()) {
    throw new CodedError('CHECKPOINT_FILE_MISSING', `${folder}: no such folder`);
  }
  const need = async (...names: string[]): Promise<string> => {
    const found = await firstOf(folder, names);
    if (found) return found;
    const others = names.length > 1 ? ` (nor ${names.slice(1).join(', ')})` : '';
    throw new CodedError(
      'CHECKPOINT_FILE_MISSING',
      `${join(folder, names[0]!)}: no such file${others}; the folder must have the layout of the official pretrained_weights`,
    );
  };
  const denoisers = ['denoising_unet_acc.pth', 'denoising_unet.pth'];
  const denoising = await need(...(plain ? denoisers.slice(1) : denoisers));
  const accelerated = denoising.endsWith('_acc.pth');
  return {
    folder,
    accelerated,
    denoising,
    motion: await need(accelerated ? 'motion_module_acc.pth' : 'motion_module.pth'),
    reference: await need('reference_unet.pth'),
    faceLocator: await need('face_locator.pth'),
    vaeConfig: await need(join(vaeFolder, 'config.json')),
    vae: await need(...weightNames.map((name) => join(vaeFolder, name))),
    unetConfig: await need(join(baseFolder, 'config.json')),
    base: await firstOf(join(folder, baseFolder), weightNames),
    whisper: await need(join('audio_processor', 'whisper_tiny.pt')),
    extras: await firstOf(folder, ['echomimic.json']),
  };
}

/** All files that an import reads, in a fixed order. */
export function filesOf(layout: Layout): string[] {
  const { denoising, motion, reference, faceLocator, vaeConfig, vae, unetConfig, base } = layout;
  const files = [denoising, motion, reference, faceLocator, vaeConfig, vae, unetConfig, base];
  return [...files, layout.whisper, layout.extras].filter((path) => path !== undefined);
}

export async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    const what = error instanceof SyntaxError ? `not JSON: ${error.message}` : 'cannot be read';
    throw new CodedError('CHECKPOINT_FORMAT_INVALID', `${path}: ${what}`, { cause: error });
  }
}

const count = Type.Integer({ minimum: 1, maximum: 65536 });

const ExtrasSchema = Type.Object(
  {
    defaults: Type.Optional(
      Type.Partial(
        Type.Object(
          {
            steps: count,
            cfg: Type.Number({ minimum: 1, maximum: 100 }),
            width: count,
            height: count,
            fps: Type.Number({ exclusiveMinimum: 0, maximum: 240 }),
            contextFrames: count,
            contextOverlap: Type.Integer({ minimum: 0, maximum: 65536 }),
          },
          { additionalProperties: false },
        ),
      ),
    ),
    /** Heads of the temporal attentions, when they differ from those of the UNet's config. */
    motionHeads: Type.Optional(count),
  },
  { additionalProperties: false },
);

export type Extras = Static<typeof ExtrasSchema>;

export async function readExtras(path: string | undefined): Promise<Extras> {
  if (path === undefined) return {};
  const value = await readJson(path);
  if (Value.Check(ExtrasSchema, value)) return value;
  const [first] = Value.Errors(ExtrasSchema, value);
  throw new CodedError(
    'CHECKPOINT_FORMAT_INVALID',
    `${path}: ${first?.instancePath ?? ''} ${first?.message ?? 'has another form'}`,
  );
}
