import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Names of the GPUs that NVIDIA's driver for Linux has found, whether or not this engine is built
 * to use them; none where there is no such driver.
 */
export function driverGpus(folder = '/proc/driver/nvidia/gpus'): string[] {
  try {
    return readdirSync(folder).map((bus) => {
      const information = readFileSync(join(folder, bus, 'information'), 'utf8');
      return /^Model:\s*(.*?)\s*$/m.exec(information)?.[1] ?? bus;
    });
  } catch {
    return [];
  }
}
