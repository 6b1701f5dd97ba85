import t from 'tap';
import { chanceApart, percentile, spreadOf } from '../../bench/report/statistics.js';
import { short, table } from '../../bench/report/table.js';

t.test('percentiles lie between neighbours', async (t) => {
  const numbers = [40, 10, 30, 20, 50];
  t.equal(percentile(numbers, 0), 10);
  t.equal(percentile(numbers, 0.5), 30);
  t.equal(percentile(numbers, 1), 50);
  t.equal(percentile([10, 20], 0.5), 15);
  // a fifth of the way from the fourth to the fifth: 0.95 * 4 = 3.8
  t.ok(Math.abs(percentile(numbers, 0.95) - 48) < 1e-12);
  t.equal(percentile([7], 0.95), 7);
  t.strictSame(numbers, [40, 10, 30, 20, 50], 'the numbers stay in their order');
  t.throws(() => percentile([], 0.5), RangeError);
});

t.test('a spread keeps its samples', async (t) => {
  t.strictSame(spreadOf([3, 1, 2]), { p50: 2, p95: 2.9, min: 1, max: 3, samples: [3, 1, 2] });
});

t.test('how often runs lie apart by chance', async (t) => {
  // of the six ways to deal four runs to two sides, two lie apart
  t.equal(chanceApart(2, 2), 2 / 6);
  t.equal(chanceApart(4, 4), 2 / 70);
  t.equal(chanceApart(1, 5), 2 / 6);
  t.equal(chanceApart(5, 5), 2 / 252);
});

t.test('tables leave out what nobody knows', async (t) => {
  const rows = [
    ['a', '-', '1'],
    ['long', '-', '22'],
  ];
  t.equal(table(['', 'unknown', 'n'], rows), ['       n', 'a      1', 'long  22'].join('\n'));
  t.strictSame([0, 0.01234, 1.236, 123.6, 12345.6].map(short), [
    ...['0', '0.0123', '1.24', '124', '12346'],
  ]);
});
