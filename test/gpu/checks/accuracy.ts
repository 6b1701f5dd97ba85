import { spawnSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Engine, LoadOptions, RenderOptions } from '../../../native/index.js';
import { readCases } from '../../../scripts/golden/case.js';
import { type Limits, checkCase, exactLimits } from '../../../scripts/golden/check.js';
import { importModel } from '../../../weights/import.js';
import { closeFaceDetector } from '../../../worker/media/index.js';
import { makeVideo } from '../../../worker/pipeline/video.js';
import type { Check, Context, Figure } from '../check.js';
import { bundledClip, portraitPath, render, speechPath, withEngine } from '../clip.js';
import { type Clip, type Tolerance, differences, psnr } from '../difference.js';

/**
 * Float32 against float32: the same operations in another order. Two implementations on CPUs differ
 * by 8e-7 in the latents and 9e-5 levels in the frames (golden data); a hundred times as much is
 * still invisible, and any wrong operation is far beyond it.
 */
export const exactTolerance: Tolerance = {
  latents: 1e-4,
  meanLevels: 0.01,
  maxLevels: 2,
  psnr: 65,
};

/**
 * Float16 against float32: with every operator rounding to float16 and adding up in float32, the
 * CPU shows 3e-4 to 8e-4 in the latents, 0.01 to 0.05 levels and 62 to 68 dB. Fused operators of a
 * GPU may add up in float16 too: six times as much is allowed. 50 dB is an error of one level in
 * 1.2 on average, which nobody sees.
 */
export const halfTolerance: Tolerance = { latents: 5e-3, meanLevels: 0.5, maxLevels: 6, psnr: 50 };

/** The same for what a golden folder holds; one network in float16 shows 2e-3 at most on the CPU. */
export const halfLimits: Limits = { single: 1e-2, whole: 5e-3, meanLevels: 0.5, maxLevels: 6 };

type Kind = 'exact' | 'half';
const precisions = { exact: 'fp32', half: 'fp16' } as const;
const names = { exact: 'float32', half: 'float16' } as const;

/** Where TensorRT's engines are kept between the checks, and for the next time. */
export const enginesFolder = ({ folder }: Context) => join(folder, 'engines');

/** The engine under test. */
export function engineOptions(context: Context, kind: Kind, model?: string): LoadOptions {
  return {
    ...{ model: model ?? context.models[kind], device: context.device, provider: context[kind] },
    engines: enginesFolder(context),
  };
}

/** What the CPU makes of the same clips, in float32; computed once. */
const references = new WeakMap<Context, Promise<Record<string, Clip>>>();

const clips = new WeakMap<Context, Promise<RenderOptions>>();

/** The clip that all checks render. */
export function testClip(context: Context): Promise<RenderOptions> {
  const made = clips.get(context) ?? bundledClip(context.size, context.seconds);
  clips.set(context, made);
  return made;
}

/** With the model's defaults, and with guidance, which runs the unconditional network too. */
async function testClips(context: Context): Promise<Record<string, RenderOptions>> {
  const plain = await testClip(context);
  return { plain, guided: { ...plain, cfg: 3, steps: 2 } };
}

/** Renders each clip once. */
async function renderAll(engine: Engine, clips: Record<string, RenderOptions>) {
  const made: Record<string, Clip> = {};
  for (const [name, options] of Object.entries(clips)) made[name] = await render(engine, options);
  return made;
}

export function reference(context: Context): Promise<Record<string, Clip>> {
  const made =
    references.get(context) ??
    withEngine({ model: context.models.exact, device: 'cpu', provider: 'cpu' }, async (engine) =>
      renderAll(engine, await testClips(context)),
    );
  references.set(context, made);
  return made;
}

function clipCheck(kind: Kind, tolerance: Tolerance): Check {
  return {
    name: `clip-${names[kind]}`,
    what: `the bundled clip in ${names[kind]} is the CPU's float32 clip within tolerance, and the same again`,
    needs: ['kernels'],
    run: async (context) => {
      const wanted = await reference(context);
      return withEngine(engineOptions(context, kind), async (engine) => {
        const clips = await testClips(context);
        const made = await renderAll(engine, clips);
        const again = await render(engine, clips['plain']!);
        const same = psnr(made['plain']!.frames, again.frames) === Infinity;
        return {
          figures: [
            {
              what: 'provider',
              value: engine.info().provider,
              isGood: engine.info().provider === context[kind],
            },
            ...Object.entries(made).flatMap(([name, clip]) =>
              differences(clip, wanted[name]!, tolerance).map((figure) => ({
                ...figure,
                what: `${name}: ${figure.what}`,
              })),
            ),
            { what: 'a second run', value: same ? 'the same bytes' : 'other bytes', isGood: same },
          ],
        };
      });
    },
  };
}

function goldenCheck(kind: Kind, limits: Limits): Check {
  return {
    name: `golden-${names[kind]}`,
    what: `every quantity of the golden folders, in ${names[kind]}, against the official pipeline`,
    needs: ['kernels'],
    run: async (context) => {
      const figures: Figure[] = [];
      for (const folder of context.golden) {
        const out = join(context.folder, `golden-${names[kind]}`);
        const { folder: model, manifest } = await importModel({
          ...{ folder: join(folder, 'pretrained_weights'), name: 'golden', out },
          precision: precisions[kind],
        });
        try {
          await withEngine(engineOptions(context, kind, model), async (engine) => {
            for (const golden of await readCases(folder)) {
              for (const row of await checkCase(engine, manifest, golden, limits)) {
                const { quantity, value, limit } = row;
                const what = `${basename(folder)}/${golden.name} ${quantity}`;
                if (value !== undefined) figures.push({ what, value, most: limit });
              }
            }
          });
        } finally {
          await rm(out, { recursive: true, force: true });
        }
      }
      return context.golden.length === 0
        ? { figures, doesNotApply: 'no golden folder was given; SHARED_DIR or --golden names some' }
        : { figures };
    },
  };
}

/** RGB of every frame of a video file. */
function decoded(path: string): Uint8Array {
  const args = ['-v', 'error', '-i', path, '-f', 'rawvideo', '-pix_fmt', 'rgb24', 'pipe:1'];
  const { status, stdout, stderr } = spawnSync('ffmpeg', args, { maxBuffer: 2 ** 31 });
  if (status !== 0) throw new Error(stderr.toString());
  return stdout;
}

/** Coding makes more of the smallest difference: in float16 the CPU's own film is at 40.5 dB. */
const filmPsnr = { exact: 40, half: 34 };

export const films: Check = {
  name: 'films',
  what: 'files to MP4, as a task does it, in float32 and float16: the films look like the CPU’s',
  needs: ['clip-float32'],
  run: async (context) => {
    const film = async (name: string, options: LoadOptions) => {
      const outPath = join(context.folder, `${name}.mp4`);
      const { frames } = await withEngine(options, (engine) =>
        makeVideo(engine, {
          ...{ imagePath: portraitPath, audioPath: speechPath, outPath, seed: 1 },
          size: context.size,
          frames: Math.round(context.seconds * engine.info().defaults.fps),
        }),
      );
      return { frames, rgb: decoded(outPath) };
    };
    try {
      const wanted = await film('cpu', {
        model: context.models.exact,
        device: 'cpu',
        provider: 'cpu',
      });
      const figures: Figure[] = [];
      for (const kind of ['exact', 'half'] as const) {
        const { frames, rgb } = await film(names[kind], engineOptions(context, kind));
        const what = names[kind];
        figures.push(
          { what: `${what}, frames`, value: frames, least: wanted.frames, most: wanted.frames },
          {
            what: `${what}, PSNR`,
            value: psnr(rgb, wanted.rgb),
            unit: 'dB',
            least: filmPsnr[kind],
          },
        );
      }
      return { figures };
    } finally {
      await closeFaceDetector();
    }
  },
};

export const graphs: Check = {
  name: 'graphs',
  what: 'networks that are recorded as CUDA graphs compute what they compute unrecorded',
  needs: ['clip-float32'],
  run: async (context) => {
    const clip = await testClip(context);
    // a graph knows the sizes of one clip; the short one in the middle needs others
    const clips = { first: clip, short: { ...clip, frames: 5 }, again: clip };
    const made = (recorded: boolean) =>
      withEngine({ ...engineOptions(context, 'exact'), graphs: recorded }, async (engine) => [
        await render(engine, clips.first),
        await render(engine, clips.short),
        await render(engine, clips.again),
      ]);
    const [recorded, plain] = [await made(true), await made(false)];
    const figures = Object.keys(clips).flatMap((name, i) =>
      differences(recorded[i]!, plain[i]!, exactTolerance).map((figure) => ({
        ...figure,
        what: `${name}: ${figure.what}`,
      })),
    );
    return { figures };
  },
};

export const clipExact = clipCheck('exact', exactTolerance);
export const clipHalf = clipCheck('half', halfTolerance);
export const goldenExact = goldenCheck('exact', exactLimits);
export const goldenHalf = goldenCheck('half', halfLimits);
