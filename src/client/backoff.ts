const firstMs = 500;
const mostMs = 15_000;

/** How long to wait before the attempt after `failures` in a row: longer each time, never even. */
export function backoff(failures: number, leastSeconds = 0): number {
  const ms = Math.min(mostMs, firstMs * 2 ** Math.min(failures, 10));
  return Math.max(leastSeconds * 1000, ms / 2) + (Math.random() * ms) / 2;
}
