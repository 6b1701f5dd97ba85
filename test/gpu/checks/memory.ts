import { setTimeout as sleep } from 'node:timers/promises';
import { EngineProcess } from '../../../bench/engine/process.js';
import { deviceMemoryInUse } from '../../../native/index.js';
import type { Check } from '../check.js';
import { withEngine } from '../clip.js';
import { engineOptions, testClip } from './accuracy.js';

const MiB = 2 ** 20;
/** Between the first chunk of frames and the last one. */
const growthMiB = 8;
/** What the libraries keep of their own after an engine is freed: handles and code of kernels. */
const keptMiB = 1024;
const slowMs = 50;

export const memory: Check = {
  name: 'memory',
  what: 'memory of the GPU does not grow while somebody takes frames slowly; freed engines leave nothing',
  needs: ['clip-float32'],
  run: async (context) => {
    const inUse = () => deviceMemoryInUse(context.device) / MiB;
    // engines before this one have left the libraries' own share
    const before = inUse();
    const seen: number[] = [];
    const order: number[] = [];
    const options = await testClip(context);
    const load = engineOptions(context, 'exact');
    await withEngine(load, async (engine) => {
      await engine.render(options, { onFrames: () => {} });
      await engine.render(options, {
        onFrames: async ({ first }) => {
          await sleep(slowMs);
          order.push(first);
          seen.push(inUse());
        },
      });
    });
    const after = inUse();
    const process = new EngineProcess();
    try {
      await process.load(load);
      await process.render(options);
    } finally {
      await process.stop();
    }
    const inOrder = order.every((first, i) => i === 0 || first > order[i - 1]!);
    return {
      figures: [
        {
          what: 'growth during a clip',
          value: Math.max(...seen) - seen[0]!,
          unit: 'MiB',
          most: growthMiB,
        },
        { what: 'frames', value: inOrder ? 'in order' : 'out of order', isGood: inOrder },
        {
          what: 'kept after the engine was freed',
          value: after - before,
          unit: 'MiB',
          most: keptMiB,
        },
        {
          what: 'in use with one engine',
          value: (process.peakDeviceBytes ?? 0) / MiB,
          unit: 'MiB',
        },
        {
          what: 'left by a process that ended',
          value: inUse() - after,
          ...{ unit: 'MiB', most: growthMiB },
        },
      ],
    };
  },
};
