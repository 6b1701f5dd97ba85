import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Engine, type LoadOptions, gpus } from '../native/index.js';
import { loadConfig } from '../src/config.js';
import { CodedError, codeOf } from '../src/errors.js';
import { loadManifest } from '../weights/manifest.js';
import { loadOptions } from '../worker/pipeline/engine.js';
import { progressBar } from './progress-bar.js';
import { requireModel } from './stack.js';

const usage = `npm run engines -- [OPTIONS]: builds ahead what TensorRT needs minutes to build
  --model NAME_OR_FOLDER  (default: MODEL)
  --sizes 512x512,256x256 pictures (default: the model's own size)
  --context N             frames of a window (default: the model's own)
  --devices cuda:0,cuda:1 (default: every GPU; equal ones share their engines)
  --guidance              with the network that guidance needs`;

interface Size {
  width: number;
  height: number;
}

function sizesOf(text: string): Size[] {
  return text.split(',').map((size) => {
    const [, width, height] = /^(\d{2,4})x(\d{2,4})$/.exec(size.trim()) ?? [];
    if (width === undefined || Number(width) % 8 !== 0 || Number(height) % 8 !== 0) {
      throw new CodedError(
        'BAD_REQUEST',
        `--sizes: "${size}" is not WIDTHxHEIGHT with multiples of 8`,
      );
    }
    return { width: Number(width), height: Number(height) };
  });
}

/** The GPUs to build for; refuses a machine without one. */
function devicesOf(text: string | undefined): string[] {
  if (text !== undefined) return text.split(',').map((id) => id.trim());
  const found = gpus();
  if (found.devices.length === 0) {
    const why = found.reason === undefined ? '' : `: ${found.reason}`;
    throw new CodedError(
      'ENGINE_DEVICE_UNAVAILABLE',
      `engines are built on the GPU that uses them, and there is none${why}`,
    );
  }
  // Engines belong to a kind of GPU, not to one of several.
  const kinds = new Map(found.devices.map((device) => [device.name, device.id]));
  return [...kinds.values()];
}

/** Loads the model once as a worker would; what is missing in the cache is built meanwhile. */
async function build(options: LoadOptions, title: string): Promise<void> {
  const bar = progressBar();
  const start = performance.now();
  const total = options.guidance === true ? 8 : 7;
  let opened = 0;
  try {
    const engine = await Engine.load(options, ({ network, reason }) => {
      if (reason !== '') {
        bar.end();
        console.log(`${title}, ${network}: to be built, because ${reason}`);
      }
      bar.show((100 * opened++) / total, `${title}: ${network}`);
    });
    bar.show(100, title);
    bar.end();
    const { plan, engineCache } = engine.info();
    await engine.dispose();
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    console.log(
      `${title}: ${engineCache?.built ?? 0} engines built, ${engineCache?.reused ?? 0} were there, ${seconds} s; ${engineCache?.folder ?? ''}`,
    );
    if (plan !== undefined) console.log(`${title}: ${plan}`);
  } finally {
    bar.end();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string' },
      sizes: { type: 'string' },
      context: { type: 'string' },
      devices: { type: 'string' },
      guidance: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    console.log(usage);
    return;
  }
  const { model } = values;
  const config = loadConfig(
    model === undefined ? {} : { MODEL: model.includes('/') ? resolve(model) : model },
  );
  requireModel(config);
  const { defaults } = await loadManifest(config.modelFolder);
  const contextFrames = Number(values.context ?? defaults.contextFrames);
  const sizes = values.sizes === undefined ? [defaults] : sizesOf(values.sizes);
  for (const device of devicesOf(values.devices)) {
    for (const { width, height } of sizes) {
      const options: LoadOptions = {
        ...loadOptions(config),
        ...{ device, provider: 'tensorrt', fallback: [] },
        guidance: values.guidance ?? defaults.cfg > 1,
        usual: { width, height, contextFrames },
      };
      await build(options, `${device}, ${width}x${height}`);
    }
  }
}

try {
  await main();
} catch (error) {
  console.error(`${codeOf(error)}: ${(error as Error).message}`);
  process.exitCode = 1;
}
