import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { CodedError } from '../src/errors.js';
import { projectRoot } from '../src/paths.js';
import type { Addon } from './addon.js';

const require = createRequire(import.meta.url);

/** Where the builders put the addon, best first; see scripts/build-addon.mjs. */
export const addonPaths = {
  cuda: join(projectRoot, 'build', 'cuda', 'Release', 'echomimic.node'),
  cmake: join(projectRoot, 'build', 'cmake', 'Release', 'echomimic.node'),
  gyp: join(projectRoot, 'build', 'gyp', 'echomimic.node'),
} as const;

const libraryName = /^libonnxruntime(\.\d+)*\.dylib$|^libonnxruntime\.so(\.\d+)*$/;

function findLibrary(folder: string): string | undefined {
  if (!existsSync(folder)) return undefined;
  const name = readdirSync(folder).find((file) => libraryName.test(file));
  return name && join(folder, name);
}

/** The ONNXRUNTIME_ROOT that scripts/build-addon.mjs found headers in, if it was set. */
function runtimeRoot(addonPath: string): string | null {
  const stamp = `${addonPath}.json`;
  if (!existsSync(stamp)) return null;
  return (JSON.parse(readFileSync(stamp, 'utf8')) as { runtimeRoot: string | null }).runtimeRoot;
}

/** The library of the release that the addon was built against, or of the npm package. */
function runtimeLibrary(addonPath: string): string {
  const root = runtimeRoot(addonPath);
  const folder = root
    ? join(root, 'lib')
    : join(
        dirname(require.resolve('onnxruntime-node/package.json')),
        'bin',
        'napi-v6',
        process.platform,
        process.arch,
      );
  const library = findLibrary(folder);
  if (library === undefined) {
    throw new CodedError(
      'ENGINE_RUNTIME_MISSING',
      `no ONNX Runtime library in ${folder}; run: npm ci, or set ONNXRUNTIME_ROOT to an unpacked release and run: npm run build:addon`,
    );
  }
  return library;
}

export interface Loaded {
  addon: Addon;
  runtimeLibrary: string;
}

export function loadAddon(path: string): Loaded {
  try {
    const library = runtimeLibrary(path);
    const addon = require(path) as Addon;
    process.once('exit', () => addon.shutdown());
    return { addon, runtimeLibrary: library };
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw new CodedError(
      'ENGINE_RUNTIME_MISSING',
      `the native engine cannot be loaded: ${(error as Error).message}`,
      { cause: error },
    );
  }
}

let loaded: Loaded | undefined;

/** Takes another addon than the best one, before anything has loaded that. */
export function useAddon(path: string): void {
  if (loaded !== undefined) throw new Error('an addon is loaded already');
  loaded = loadAddon(path);
}

/** The addon; loaded on first use, because most commands do without. */
export function native(): Loaded {
  if (loaded === undefined) {
    const path = Object.values(addonPaths).find((candidate) => existsSync(candidate));
    if (path === undefined) {
      throw new CodedError(
        'ENGINE_RUNTIME_MISSING',
        'the native engine is not built; run: npm run build:addon',
      );
    }
    loaded = loadAddon(path);
  }
  return loaded;
}
