import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  type Duration,
  erlangWait,
  fixedWait,
  randomNumbers,
  simulate,
} from '../../bench/capacity/simulation.js';
import { capacityDefaults, capacityTable } from '../../bench/capacity/table.js';
import { projectRoot } from '../../src/paths.js';

const run = (devices: number, load: number, duration: Duration, queue: 'one' | 'each' = 'one') =>
  simulate({
    ...{ devices, seconds: 10, duration, queue, rate: (load * devices) / 10 },
    ...{ clips: 300_000, seed: 7 },
  });
const near = (value: number, expected: number, share: number) =>
  Math.abs(value - expected) <= share * expected;

t.test('waiting times are those of queueing theory', async (t) => {
  for (const [devices, load] of [
    [1, 0.5],
    [1, 0.8],
    [2, 0.7],
    [4, 0.8],
    [8, 0.9],
  ] as const) {
    const expected = erlangWait(devices, 10, (load * devices) / 10);
    const { mean, utilisation } = run(devices, load, 'exponential');
    t.ok(near(mean, expected, 0.08), `M/M/${devices} at ${load}: ${mean}, not ${expected}`);
    t.ok(near(utilisation, load, 0.02), `busy ${utilisation}`);
  }
  t.ok(near(erlangWait(1, 10, 0.08), (0.8 * 10) / 0.2, 1e-9), 'M/M/1 in closed form');
  for (const load of [0.5, 0.8, 0.9]) {
    const expected = fixedWait(10, load / 10);
    const { mean } = run(1, load, 'fixed');
    t.ok(near(mean, expected, 0.05), `M/D/1 at ${load}: ${mean}, not ${expected}`);
  }
});

t.test('a queue for each device is worse than one, and better than chance', async (t) => {
  const [each, one] = [run(4, 0.8, 'exponential', 'each'), run(4, 0.8, 'exponential')];
  t.ok(each.mean > one.mean);
  t.ok(each.mean < erlangWait(1, 10, 0.08) / 2, 'four devices by themselves');
});

t.test('the same seed gives the same numbers, evenly spread', async (t) => {
  const draw = (seed: number) => Array.from({ length: 10_000 }, randomNumbers(seed));
  t.same(draw(3), draw(3));
  t.not(draw(3)[0], draw(4)[0]);
  const mean = draw(3).reduce((sum, one) => sum + one, 0) / 10_000;
  t.ok(near(mean, 0.5, 0.02));
});

t.test('docs/scaling.md has the table that the script prints', async (t) => {
  const text = readFileSync(join(projectRoot, 'docs', 'scaling.md'), 'utf8');
  const [, table] = /<!-- capacity -->\n\n([^]*?)\n\n<!-- end of capacity -->/.exec(text) ?? [];
  t.equal(table, capacityTable(capacityDefaults));
  t.match(capacityTable({ ...capacityDefaults, perHour: [1e6] }), /100 % \| grows \| grows/);
});
