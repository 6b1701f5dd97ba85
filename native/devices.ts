import { cpus, totalmem } from 'node:os';
import { CodedError } from '../src/errors.js';
import { native } from './load.js';
import type { LoadOptions } from './options.js';

export interface Device {
  /** What Engine.load takes as `device`. */
  id: string;
  kind: 'cpu';
  name: string;
  /** Physical cores that this process may use. */
  cores: number;
  memoryBytes: number;
}

/** The devices that an engine can run on. */
export function devices(): Device[] {
  return [
    {
      id: 'cpu',
      kind: 'cpu',
      name: cpus()[0]?.model.trim() ?? process.arch,
      cores: native().addon.physicalCores(),
      memoryBytes: totalmem(),
    },
  ];
}

/** The device and provider for the options of Engine.load; refuses what this machine lacks. */
export function chooseDevice(options: LoadOptions): { device: Device; provider: 'cpu' } {
  const provider = options.provider ?? 'auto';
  if (provider === 'cuda' || provider === 'tensorrt') {
    throw new CodedError(
      'ENGINE_DEVICE_UNAVAILABLE',
      `provider: "${provider}" is not available in this build; "cpu" and "auto" are`,
    );
  }
  const known = devices();
  const device = known.find(({ id }) => id === (options.device ?? 'cpu'));
  if (device === undefined) {
    throw new CodedError(
      'ENGINE_DEVICE_UNAVAILABLE',
      `device: "${options.device ?? ''}" is not one of ${known.map(({ id }) => id).join(', ')}`,
    );
  }
  return { device, provider: 'cpu' };
}
