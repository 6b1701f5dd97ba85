import { existsSync, readFileSync } from 'node:fs';
import { arch, cpus, loadavg, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { devices } from '../../native/index.js';
import { addonPaths } from '../../native/load.js';
import { projectRoot } from '../../src/paths.js';
import { hashFile } from '../../weights/hash.js';
import { loadManifest, manifestName } from '../../weights/manifest.js';
import type { Report } from '../report/schema.js';

export function machine(loadBefore: number): Report['machine'] {
  const all = devices();
  const isCpu = (kind: string) => kind === 'cpu';
  return {
    cpu: cpus()[0]?.model.trim() || arch(),
    logicalCores: cpus().length,
    physicalCores: all.find(({ kind }) => isCpu(kind))?.cores ?? cpus().length,
    memoryBytes: totalmem(),
    platform: `${platform()} ${release()} ${arch()}`,
    gpus: all.filter(({ kind }) => !isCpu(kind)).map(({ name }) => name),
    loadBefore,
    loadAfter: loadavg()[0]!,
  };
}

export function serverVersion(): string {
  const text = readFileSync(join(projectRoot, 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** The manifest names the hash of every file of a model, so its own hash stands for the model. */
export async function versions(
  modelFolder: string,
  runtimeVersion: string,
): Promise<Report['versions']> {
  const { name, precision } = await loadManifest(modelFolder);
  const addon = Object.values(addonPaths).find((path) => existsSync(path))!;
  return {
    server: serverVersion(),
    node: process.version,
    addon: await hashFile(addon),
    onnxRuntime: runtimeVersion,
    model: { name, precision, sha256: await hashFile(join(modelFolder, manifestName)) },
  };
}
