import { cpus, totalmem } from 'node:os';
import { CodedError } from '../src/errors.js';
import { native } from './load.js';
import type { LoadOptions } from './options.js';

export interface Device {
  /** `cpu`, or `cuda:` and CUDA's number. */
  id: string;
  kind: 'cpu' | 'cuda';
  name: string;
  /** Physical cores that this process may use; a GPU's multiprocessors. */
  cores: number;
  memoryBytes: number;
  /** A GPU's, such as 9.0. */
  computeCapability?: string;
}

/** The GPUs that this process sees; without any, the reason. */
export function gpus(): { devices: Device[]; reason?: string } {
  const { gpus, reason } = native().addon.cuda();
  const devices = gpus.map((gpu): Device => ({
    id: `cuda:${gpu.index}`,
    kind: 'cuda',
    name: gpu.name,
    cores: gpu.multiprocessors,
    memoryBytes: gpu.memoryBytes,
    computeCapability: `${gpu.major}.${gpu.minor}`,
  }));
  return reason === undefined ? { devices } : { devices, reason };
}

/**
 * Bytes that all processes together use of a GPU, this one's own share of the driver included; for
 * measurements. Throws ENGINE_DEVICE_UNAVAILABLE for any other device.
 */
export function deviceMemoryInUse(id: string): number {
  const index = /^cuda:(\d{1,3})$/.exec(id)?.[1];
  if (index === undefined) {
    throw new CodedError('ENGINE_DEVICE_UNAVAILABLE', `"${id}" is no GPU, such as cuda:0`);
  }
  const { freeBytes, totalBytes } = native().addon.gpuMemory(Number(index));
  return totalBytes - freeBytes;
}

/** The CPU, then every GPU that this process sees. */
export function devices(): Device[] {
  return [
    {
      id: 'cpu',
      kind: 'cpu',
      name: cpus()[0]?.model.trim() ?? process.arch,
      cores: native().addon.physicalCores(),
      memoryBytes: totalmem(),
    },
    ...gpus().devices,
  ];
}

/** The device and provider for the options of Engine.load; refuses what this machine lacks. */
export function chooseDevice(options: LoadOptions): { device: Device; provider: 'cpu' } {
  const provider = options.provider ?? 'auto';
  if (provider === 'cuda' || provider === 'tensorrt') {
    throw new CodedError(
      'ENGINE_DEVICE_UNAVAILABLE',
      `provider: "${provider}" is not available in this version; "cpu" and "auto" are`,
    );
  }
  const known = devices();
  const device = known.find(({ id }) => id === (options.device ?? 'cpu'));
  if (device === undefined) {
    const { reason } = gpus();
    throw new CodedError(
      'ENGINE_DEVICE_UNAVAILABLE',
      `device: "${options.device ?? ''}" is not one of ${known.map(({ id }) => id).join(', ')}${reason === undefined ? '' : `; no GPU: ${reason}`}`,
    );
  }
  if (device.kind !== 'cpu') {
    throw new CodedError(
      'ENGINE_DEVICE_UNAVAILABLE',
      `device: "${device.id}" is there, but this version renders on "cpu" only`,
    );
  }
  return { device, provider: 'cpu' };
}
