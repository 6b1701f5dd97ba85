import { readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineProcess } from '../../../bench/engine/process.js';
import type { LoadOptions } from '../../../native/index.js';
import { codeOf } from '../../../src/errors.js';
import type { Check, Figure } from '../check.js';
import { render, withEngine } from '../clip.js';
import { type Clip, differences } from '../difference.js';
import { engineOptions, exactTolerance, halfTolerance, reference, testClip } from './accuracy.js';

const MiB = 2 ** 20;
/** From plenty to nothing: each a planner's budget in MiB. */
const budgets = [8192, 4096, 2048, 1536, 1280, 1152, 1088, 1056, 1024, 64];

export const plan: Check = {
  name: 'plan',
  what: 'with less and less memory the engine computes less at once and makes the same clip; with too little it says so',
  needs: ['clip-float32'],
  run: async (context) => {
    const options = await testClip(context);
    const figures: Figure[] = [];
    const plans = new Set<string>();
    let [first, refusal]: [Clip | undefined, string | undefined] = [undefined, undefined];
    for (const budget of budgets) {
      const load = { ...engineOptions(context, 'exact'), memoryLimit: budget * MiB };
      try {
        await withEngine(load, async (engine) => {
          const clip = await render(engine, options);
          const { plan: chosen = '' } = engine.info();
          // a plan that is known is not worth another line
          if (plans.has(chosen)) return;
          plans.add(chosen);
          figures.push({ what: `${budget} MiB`, value: chosen, isGood: chosen !== '' });
          first ??= clip;
          for (const figure of differences(clip, first, exactTolerance)) {
            figures.push({ ...figure, what: `${budget} MiB: ${figure.what}` });
          }
        });
      } catch (error) {
        refusal = `${budget} MiB: ${codeOf(error)}`;
        figures.push({
          what: refusal,
          value: (error as Error).message,
          isGood: codeOf(error) === 'ENGINE_OUT_OF_MEMORY',
        });
        break;
      }
    }
    return {
      figures: [
        { what: 'different plans', value: plans.size, least: 2 },
        { what: 'too little is', value: refusal ?? 'not refused', isGood: refusal !== undefined },
        ...figures,
      ],
    };
  },
};

/** Loads in a process of its own, as a worker that starts does. */
async function start(options: LoadOptions) {
  const process = new EngineProcess();
  try {
    const from = performance.now();
    const { engineCache } = await process.load(options);
    const ms = performance.now() - from;
    if (engineCache === undefined) throw new Error('the engine tells nothing of its cache');
    return { ms, ...engineCache };
  } finally {
    await process.stop();
  }
}

async function filesOf(folder: string): Promise<{ path: string; bytes: number }[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async ({ parentPath, name }) => {
        const path = join(parentPath, name);
        return { path, bytes: (await stat(path)).size };
      }),
  );
}

/** A start that only reads engines takes at most this share of one that builds them. */
const secondStart = 0.5;

export const engines: Check = {
  name: 'engines',
  what: "TensorRT's engines are built once; one that is damaged or belongs to something else is built again, never used",
  needs: ['clip-float16'],
  run: async (context) => {
    const folder = join(context.folder, 'engines-fresh');
    await rm(folder, { recursive: true, force: true });
    const options = { ...engineOptions(context, 'half'), engines: folder };
    try {
      const first = await start(options);
      const second = await start(options);
      const files = await filesOf(first.folder);
      const largest = files
        .filter(({ path }) => !path.includes('/timing/'))
        .reduce((a, b) => (b.bytes > a.bytes ? b : a));
      await truncate(largest.path, Math.floor(largest.bytes / 2));
      const damaged = await start(options);
      const keys = files.filter(({ path }) => path.endsWith('/key'));
      await writeFile(keys[0]?.path ?? join(folder, 'none'), 'of another driver\n');
      const stale = await start(options);
      const { plain: wanted } = await reference(context);
      const clip = await withEngine(options, async (engine) =>
        render(engine, await testClip(context)),
      );
      return {
        figures: [
          { what: 'first start', value: first.ms, unit: 'ms' },
          { what: 'engines built', value: first.built, least: 1 },
          { what: 'second start', value: second.ms, unit: 'ms', most: secondStart * first.ms },
          { what: 'engines built by it', value: second.built, most: 0 },
          {
            what: 'engines read by it',
            value: second.reused,
            least: first.built,
            most: first.built,
          },
          { what: 'built after one was damaged', value: damaged.built, least: 1, most: 1 },
          { what: 'keys', value: keys.length, least: first.built },
          { what: 'built after one became stale', value: stale.built, least: 1, most: 1 },
          ...differences(clip, wanted!, halfTolerance),
        ],
      };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};
