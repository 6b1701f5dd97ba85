/** Numbers of several runs and where they lie. */
export interface Spread {
  p50: number;
  p95: number;
  min: number;
  max: number;
  samples: number[];
}

/** The value that `share` (0 to 1) of the numbers do not exceed, interpolated between neighbours. */
export function percentile(numbers: readonly number[], share: number): number {
  if (numbers.length === 0) throw new RangeError('a percentile of nothing');
  const sorted = [...numbers].sort((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!];
  return low + (high - low) * (at - Math.floor(at));
}

export function spreadOf(samples: readonly number[]): Spread {
  return {
    p50: percentile(samples, 0.5),
    p95: percentile(samples, 0.95),
    min: Math.min(...samples),
    max: Math.max(...samples),
    samples: [...samples],
  };
}

/** Ways to choose `k` of `n`. */
function choose(n: number, k: number): number {
  let ways = 1;
  for (let i = 1; i <= k; i++) ways = (ways * (n - k + i)) / i;
  return ways;
}

/**
 * How often two sets of runs of the same thing would lie wholly apart by chance: of all ways to deal
 * out the runs, two have one side above the other.
 */
export function chanceApart(a: number, b: number): number {
  return 2 / choose(a + b, a);
}
