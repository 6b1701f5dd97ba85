import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { readReport } from '../../../bench/report/schema.js';
import { nameOf } from '../../../bench/report/summary.js';
import { projectRoot } from '../../../src/paths.js';
import type { Check, Context, Figure } from '../check.js';
import { enginesFolder } from './accuracy.js';

/** `npm run bench` with a model, on every GPU, alone and all at once. */
async function measure(context: Context, kind: 'exact' | 'half'): Promise<Figure[]> {
  const out = join(context.folder, `bench-${context[kind]}.json`);
  const bench = spawnSync(
    process.execPath,
    [
      ...[join(projectRoot, 'dist', 'bench', 'main.js'), '--model', context.models[kind]],
      ...['--provider', context[kind], '--seconds', String(context.seconds), '--runs', '5'],
      ...(context.device === 'cpu' ? ['--devices', 'cpu'] : []),
      ...['--encode', '--out', out],
    ],
    {
      cwd: projectRoot,
      env: { ...process.env, ENGINE_CACHE_DIR: enginesFolder(context) },
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', 'pipe'],
      maxBuffer: 1e8,
    },
  );
  if (bench.status !== 0) throw new Error(bench.stderr.trim().slice(-1500));
  const { rows } = await readReport(out);
  return rows.map((row) => ({
    what: `${nameOf(row)}, ${row.provider ?? context[kind]}, ${row.seconds} s`,
    value:
      `${row.framesPerSecond.p50.toFixed(1)} frames/s` +
      (row.firstFrameMs === null ? '' : `, first frame ${row.firstFrameMs.p50.toFixed(0)} ms`) +
      (row.peakDeviceBytes === null
        ? ''
        : `, GPU ${(row.peakDeviceBytes / 2 ** 20).toFixed(0)} MiB`),
    // a GPU under test is not to be silently replaced
    isGood: row.provider === null || row.provider === context[kind],
  }));
}

export const speed: Check = {
  name: 'speed',
  what: 'measured with npm run bench, which keeps all of it in bench-*.json beside this report',
  needs: ['clip-float32'],
  run: async (context) => ({
    figures: [...(await measure(context, 'exact')), ...(await measure(context, 'half'))],
  }),
};
