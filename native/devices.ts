import { cpus, totalmem } from 'node:os';
import { CodedError } from '../src/errors.js';
import type { AddonAttempt } from './addon.js';
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

export interface Choice {
  device: Device;
  /** What to try on it, in this order. */
  attempts: AddonAttempt[];
  /** Why it is another device than the one that was asked for. */
  passedOver?: string;
}

/** The providers for a GPU. Another one than was asked for only where the caller allows it. */
export function attemptsOn({ provider = 'auto', fallback = [] }: LoadOptions): AddonAttempt[] {
  const allows = (name: string) => (fallback as readonly string[]).includes(name);
  const first = provider === 'cuda' ? 1 : 0;
  const order = (['tensorrt', 'cuda', 'cpu'] as const).slice(first);
  const allowed = order.filter((name, i) => {
    if (i === 0 || (provider === 'auto' && name === 'cuda')) return true;
    return allows(name);
  });
  return allowed.map((name, i) => {
    const next = allowed[i + 1];
    if (next === undefined) return { provider: name, leave: 'never' };
    // Without permission, auto passes TensorRT over only where it is not installed.
    return { provider: name, leave: allows(next) ? 'failing' : 'missing' };
  });
}

/** The device and its providers for the options of Engine.load; refuses what this machine lacks. */
export function chooseDevice(options: LoadOptions): Choice {
  const { provider = 'auto', fallback = [] } = options;
  const needsGpu = provider === 'cuda' || provider === 'tensorrt';
  const wanted = options.device ?? (needsGpu ? 'cuda:0' : 'cpu');
  const known = devices();
  const cpu: Choice = { device: known[0]!, attempts: [{ provider: 'cpu', leave: 'never' }] };
  if (wanted === 'cpu' && !needsGpu) return cpu;
  const device = known.find(({ id }) => id === wanted);
  let problem: string;
  if (device?.kind === 'cuda') {
    if (provider !== 'cpu') return { device, attempts: attemptsOn(options) };
    throw new CodedError(
      'ENGINE_OPTION_INVALID',
      `provider: "cpu" does not run on "${wanted}"; use the device "cpu"`,
    );
  } else if (device !== undefined) {
    problem = `provider: "${provider}" runs on GPUs, and the device is "cpu"`;
  } else {
    const { reason } = gpus();
    const what =
      options.device === undefined
        ? `provider: "${provider}" needs a GPU`
        : `device: "${wanted}" is not one of ${known.map(({ id }) => id).join(', ')}`;
    problem = `${what}${reason === undefined ? '' : `; no GPU: ${reason}`}`;
  }
  if (fallback.includes('cpu') && (needsGpu || wanted.startsWith('cuda:'))) {
    return { ...cpu, passedOver: problem };
  }
  throw new CodedError('ENGINE_DEVICE_UNAVAILABLE', problem);
}
