import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { testModel } from './clip.js';

const program = join(dirname(fileURLToPath(import.meta.url)), 'fixtures', 'cycles.js');
/** A thousand take five minutes: TEST_CYCLES=1000. */
const cycles = process.env['TEST_CYCLES'] ?? '40';

interface Sample {
  cycle: number;
  megabytes: number;
  files: number;
}

function median(numbers: number[]): number {
  return numbers.sort((a, b) => a - b)[numbers.length >> 1]!;
}

t.test('loading, rendering, stopping and disposing again and again leaves nothing', async (t) => {
  const { stdout } = await promisify(execFile)(process.execPath, [program, testModel, cycles], {
    // With one arena a process holds what is in use, not what each thread's arena once needed.
    env: { ...process.env, MALLOC_ARENA_MAX: '1' },
  });
  const { samples, outcomes } = JSON.parse(stdout) as {
    samples: Sample[];
    outcomes: Record<string, number>;
  };
  t.comment(JSON.stringify({ outcomes, samples }));
  t.strictSame(Object.keys(outcomes).sort(), ['ENGINE_CANCELLED', 'ENGINE_DISPOSED']);
  t.equal(new Set(samples.map(({ files }) => files)).size, 1, 'files stay the same');
  // Freed memory goes back to the system in large pieces, so single samples jump by a sixth.
  const megabytes = samples.map((sample) => sample.megabytes);
  const half = megabytes.length >> 1;
  const before = median(megabytes.slice(0, half));
  const after = Math.min(...megabytes.slice(half));
  t.ok(after <= 1.1 * before, `${after} MB after ${before} MB`);
});
