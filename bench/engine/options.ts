import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type Device, devices } from '../../native/index.js';
import { openModel } from '../../native/model.js';
import { type Config, loadConfig } from '../../src/config.js';
import { CodedError } from '../../src/errors.js';
import { createLog } from '../../src/log.js';
import { visibleDevices } from '../../worker/supervisor.js';
import { requireModel } from '../../scripts/stack.js';
import type { Settings } from '../report/schema.js';

export const engineUsage = `npm run bench -- [--model NAME_OR_FOLDER] [--devices cpu,cuda:0] [--engines N]
    [--seconds 1,3,10] [--runs 5] [--warm-up 1] [--steps N] [--cfg X] [--size PIXELS]
    [--threads N] [--provider NAME] [--encode] [--out FILE.json]
    [--roofline [--peak-gflops X] [--peak-gbps Y]]
  --devices   default: every GPU that the engine can use, or the CPU; several also run at once
  --engines   so many on each device, also at the same time
  --encode    also from files to an MP4, as a task does`;

export interface BenchOptions {
  readonly settings: Settings;
  readonly modelFolder: string;
  readonly devices: readonly Device[];
  readonly out: string | undefined;
  readonly roofline: boolean;
  readonly peaks: Peaks;
}

/** What the hardware could do at best; undefined where nobody said. */
export interface Peaks {
  readonly gflops: number | undefined;
  readonly gbps: number | undefined;
}

function bad(what: string): CodedError {
  return new CodedError('BAD_REQUEST', `${what}; "npm run bench -- --help" shows how`);
}

export function numberOf(
  name: string,
  text: string | undefined,
  { least = 0, whole = false }: { least?: number; whole?: boolean } = {},
): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < least) {
    throw bad(`--${name} must be a number from ${least}, not "${text}"`);
  }
  if (whole && !Number.isInteger(value)) throw bad(`--${name} must be whole, not "${text}"`);
  return value;
}

export const peakOptions = {
  'peak-gflops': { type: 'string' },
  'peak-gbps': { type: 'string' },
} as const;

export function peaksOf(values: { [K in keyof typeof peakOptions]?: string | undefined }): Peaks {
  return {
    gflops: numberOf('peak-gflops', values['peak-gflops'], { least: Number.MIN_VALUE }),
    gbps: numberOf('peak-gbps', values['peak-gbps'], { least: Number.MIN_VALUE }),
  };
}

/** The folder of a model that is named as MODEL names it. */
export function modelFolderOf(model: string | undefined): string {
  const config =
    model === undefined
      ? loadConfig()
      : loadConfig({ MODEL: model.includes('/') ? resolve(model) : model });
  requireModel(config);
  return config.modelFolder;
}

/** Without a list, the devices that `npm start` gives workers: the GPUs, or the CPU. */
function pick(given: string | undefined, provider: string): Device[] {
  const known = devices();
  const engine = { provider: provider as Config['engine']['provider'] };
  const list = given ?? visibleDevices({ engine }, createLog('warn'));
  const ids = list.split(',').map((id) => id.trim());
  if (new Set(ids).size < ids.length) {
    throw bad(`--devices ${list} names a device twice: --engines N puts several engines on each`);
  }
  return ids.map((id) => {
    const device = known.find((one) => one.id === id);
    if (device !== undefined) return device;
    throw new CodedError(
      'ENGINE_DEVICE_UNAVAILABLE',
      `--devices ${list}: "${id}" is not one of ${known.map((one) => one.id).join(', ')}`,
    );
  });
}

/** Reads the command line; undefined when only help was wanted. */
export async function benchOptions(args: readonly string[]): Promise<BenchOptions | undefined> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...{ model: { type: 'string' }, devices: { type: 'string' }, engines: { type: 'string' } },
      ...{ seconds: { type: 'string', default: '1,3,10' } },
      ...{ runs: { type: 'string', default: '5' }, 'warm-up': { type: 'string', default: '1' } },
      ...{ steps: { type: 'string' }, cfg: { type: 'string' }, size: { type: 'string' } },
      ...{ threads: { type: 'string' }, provider: { type: 'string', default: 'auto' } },
      ...{ encode: { type: 'boolean', default: false }, out: { type: 'string' } },
      ...{ roofline: { type: 'boolean', default: false }, help: { type: 'boolean' } },
      ...peakOptions,
    },
  });
  if (values.help === true) return undefined;
  const whole = { least: 1, whole: true };
  const modelFolder = modelFolderOf(values.model);
  const { manifest } = await openModel(modelFolder);
  const { defaults } = manifest;
  const used = pick(values.devices, values.provider);
  const size = numberOf('size', values.size, { least: 64, whole: true });
  if (size !== undefined && size % manifest.latent.downscale !== 0) {
    throw bad(`--size must be a multiple of ${manifest.latent.downscale}, not ${size}`);
  }
  const peaks = peaksOf(values);
  if (!values.roofline && (peaks.gflops ?? peaks.gbps) !== undefined) {
    throw bad('--peak-gflops and --peak-gbps need --roofline');
  }
  return {
    modelFolder,
    devices: used,
    out: values.out,
    roofline: values.roofline,
    peaks,
    settings: {
      model: manifest.name,
      devices: used.map(({ id }) => id),
      engines: numberOf('engines', values.engines, whole) ?? 1,
      seconds: values.seconds.split(',').map((one) => numberOf('seconds', one, { least: 0.1 })!),
      runs: numberOf('runs', values.runs, whole)!,
      warmUp: numberOf('warm-up', values['warm-up'], { whole: true })!,
      encode: values.encode,
      steps: numberOf('steps', values.steps, whole) ?? defaults.steps,
      cfg: numberOf('cfg', values.cfg) ?? defaults.cfg,
      width: size ?? defaults.width,
      height: size ?? defaults.height,
      fps: defaults.fps,
      contextFrames: defaults.contextFrames,
      contextOverlap: defaults.contextOverlap,
      threads: numberOf('threads', values.threads, whole) ?? null,
      provider: values.provider,
    },
  };
}
