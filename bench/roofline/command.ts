import { parseArgs } from 'node:util';
import { CodedError } from '../../src/errors.js';
import { loadManifest } from '../../weights/manifest.js';
import { modelFolderOf, numberOf, peakOptions, peaksOf } from '../engine/options.js';
import { type ClipSizes, countClip, fullSizeModel, openCounted } from './clip.js';
import { rooflineReport, rooflineTable, timingOf } from './report.js';

export const rooflineUsage = `npm run bench -- roofline [--model NAME_OR_FOLDER | --full-size [--precision fp16|fp32]]
    [--seconds N] [--size PIXELS] [--steps N] [--cfg X] [--graphs standard|cpu]
    [--peak-gflops X] [--peak-gbps Y]
  counts operations and bytes of every network without running any; --full-size counts the
  official release's sizes, without its weights`;

/** What the release is asked for when nobody says otherwise. */
const fullSizeDefaults: ClipSizes = {
  ...{ frames: 24, fps: 24, width: 512, height: 512, steps: 6, cfg: 1 },
  ...{ contextFrames: 12, contextOverlap: 3 },
};

function oneOf<T extends string>(name: string, text: string, known: readonly T[]): T {
  const found = known.find((one) => one === text);
  if (found !== undefined) return found;
  throw new CodedError('BAD_REQUEST', `--${name} must be ${known.join(' or ')}, not "${text}"`);
}

/** `npm run bench -- roofline`: counts alone. */
export async function rooflineCommand(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...{ model: { type: 'string' }, 'full-size': { type: 'boolean', default: false } },
      ...{ precision: { type: 'string', default: 'fp16' }, seconds: { type: 'string' } },
      ...{ size: { type: 'string' }, steps: { type: 'string' }, cfg: { type: 'string' } },
      ...{ graphs: { type: 'string', default: 'standard' }, help: { type: 'boolean' } },
      ...peakOptions,
    },
  });
  if (values.help === true) {
    console.log(rooflineUsage);
    return;
  }
  const flavour = oneOf('graphs', values.graphs, ['standard', 'cpu'] as const);
  const folder = values['full-size'] ? undefined : modelFolderOf(values.model);
  const model =
    folder === undefined
      ? fullSizeModel(oneOf('precision', values.precision, ['fp16', 'fp32'] as const))
      : await openCounted(folder);
  const defaults = folder === undefined ? fullSizeDefaults : (await loadManifest(folder)).defaults;
  const side = numberOf('size', values.size, { least: 64, whole: true });
  if (side !== undefined && side % model.downscale !== 0) {
    throw new CodedError(
      'BAD_REQUEST',
      `--size must be a multiple of ${model.downscale}, not ${side}`,
    );
  }
  const seconds = numberOf('seconds', values.seconds, { least: 0.1 }) ?? 1;
  const sizes: ClipSizes = {
    ...defaults,
    width: side ?? defaults.width,
    height: side ?? defaults.height,
    steps: numberOf('steps', values.steps, { least: 1, whole: true }) ?? defaults.steps,
    cfg: numberOf('cfg', values.cfg) ?? defaults.cfg,
    frames: Math.max(1, Math.round(seconds * defaults.fps)),
  };
  const peaks = peaksOf(values);
  const calls = await countClip(model, sizes, flavour);
  const timings = calls.map((one) => timingOf(flavour, one, null, peaks));
  console.log(
    `${model.name} (${model.precision}), ${sizes.frames} frames of ${sizes.width}x${sizes.height}, ${sizes.steps} steps, cfg ${sizes.cfg}, ${flavour} graphs`,
  );
  console.log(rooflineTable(rooflineReport(timings, calls, sizes, peaks)));
}
