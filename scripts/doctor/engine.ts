import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { chooseDevice, gpus } from '../../native/devices.js';
import { driverGpus } from '../../native/driver.js';
import { native } from '../../native/load.js';
import { type Config, simulatedDevice, toolEnvironment } from '../../src/config.js';
import { codeOf } from '../../src/errors.js';
import { checkSizes, verifyModel } from '../../weights/manifest.js';
import { requireModel } from '../stack.js';
import type { Check, Report } from './findings.js';

/** So much is read whole; of more, only the sizes of the files are looked at. */
const quickBytes = 256 * 2 ** 20;

const isSimulated = ({ devices }: Config) =>
  devices?.some(({ device }) => device === simulatedDevice) === true;
const hasNoWorkers = ({ devices }: Config) => devices?.length === 0;

export const weights: Check = {
  name: 'weights',
  fix: 'npm run weights -- list shows the models, docs/weights.md how to get one; npm run setup imports the bundled one',
  run: async (config, report) => {
    if (hasNoWorkers(config)) return report.ok('not needed: WORKER_DEVICES=none');
    requireModel(config);
    const { name, files } = await checkSizes(config.modelFolder);
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    if (bytes <= quickBytes) {
      await verifyModel(config.modelFolder);
      report.ok(`${name}: every file has the hash of its import`);
    } else {
      report.ok(`${name}: every file has its size; npm run weights -- verify checks the hashes`);
    }
  },
};

export const engine: Check = {
  name: 'engine',
  fix: 'npm run build:addon',
  run: async (config, report) => {
    if (hasNoWorkers(config)) return report.ok('not needed: WORKER_DEVICES=none');
    const { addon, runtimeLibrary } = native();
    report.ok(`loaded, with ${basename(runtimeLibrary)}; ${addon.physicalCores()} cores`);
  },
};

export const gpu: Check = {
  name: 'GPUs',
  fix: 'see docs/gpus.md',
  run: async (config, report) => {
    if (hasNoWorkers(config) || isSimulated(config)) return;
    const { devices, engine: wish } = config;
    const wanted = devices?.map(({ device }) => device) ?? [];
    const isWanted =
      wanted.some((device) => device.startsWith('cuda:')) ||
      ['cuda', 'tensorrt'].includes(wish.provider);
    const installed = driverGpus();
    const version = driverVersion();
    const { devices: usable, reason } = gpus();
    if (usable.length === 0) {
      const why = reason ?? 'the driver shows none';
      if (isWanted) return report.fail(why, 'docs/gpus.md says what to install and to build');
      if (installed.length === 0) return report.ok('none: the engine uses the CPU');
      const fix = 'npm run build:addon -- --cuda, then npm run providers (docs/gpus.md)';
      return report.warn(`${installed.join(', ')} stay unused: ${why}`, fix);
    }
    const names = usable.map(
      ({ id, name, computeCapability }) => `${id} ${name} (${computeCapability})`,
    );
    report.ok(`${names.join(', ')}, driver ${version ?? 'unknown'}`);
    if (wish.provider === 'cpu' || (wanted.length > 0 && !isWanted)) return;
    for (const device of wanted.length > 0 ? wanted : usable.map(({ id }) => id)) {
      if (device === 'cpu') continue;
      try {
        chooseDevice({ model: '', device, provider: wish.provider, fallback: wish.fallback });
      } catch (error) {
        const fix = `see ${codeOf(error)} in docs/gpus.md`;
        report.fail(`${device}: ${codeOf(error)}: ${(error as Error).message}`, fix);
      }
    }
    await checkLibraries(config, report);
  },
};

/** ONNX Runtime's GPU providers, and the libraries of CUDA, cuDNN and TensorRT that they name. */
async function checkLibraries({ engine: wish }: Config, report: Report): Promise<void> {
  const folder = dirname(native().runtimeLibrary);
  for (const provider of ['cuda', 'tensorrt'] as const) {
    if (provider === 'tensorrt' && wish.provider === 'cuda') continue;
    const isOptional = provider === 'tensorrt' && wish.provider === 'auto';
    const library = join(folder, `libonnxruntime_providers_${provider}.so`);
    const missing = existsSync(library)
      ? (await missingLibraries(library)).join(', ')
      : basename(library);
    const what = provider === 'cuda' ? "ONNX Runtime's CUDA provider" : 'TensorRT';
    if (missing === '') report.ok(`${what} finds its libraries`);
    else {
      const fix = existsSync(library)
        ? 'install CUDA, cuDNN or TensorRT of the major version in the name of the file (docs/gpus.md)'
        : 'npm run providers';
      const text = `${what}: ENGINE_RUNTIME_MISSING: ${missing}`;
      if (isOptional) report.warn(`${text}; CUDA is used instead`, fix);
      else report.fail(text, fix);
    }
  }
}

async function missingLibraries(library: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('ldd', [library], { env: toolEnvironment() });
  return [...stdout.matchAll(/^\s*(\S+) => not found/gm)].map((match) => match[1]!);
}

/** Of NVIDIA's kernel module under Linux. */
function driverVersion(path = '/proc/driver/nvidia/version'): string | undefined {
  try {
    return /Kernel Module.*?\s(\d+\.\d+[.\d]*)\s/.exec(readFileSync(path, 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}
