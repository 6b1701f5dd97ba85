type Numbers = ArrayLike<number>;

/** Length of the difference over the length of what was expected; Infinity for other lengths. */
export function relativeError(actual: Numbers, expected: Numbers): number {
  if (actual.length !== expected.length) return Infinity;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(difference / Math.max(norm, 1e-30));
}
