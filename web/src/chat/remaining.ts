import type { Render } from './entries.js';

/** Less than this says too little about the rest. */
const leastMs = 1500;
const leastPercentage = 2;

/** Seconds that a video still takes, judged by what it took so far; undefined while nobody knows. */
export function secondsLeft({ percentage, from }: Render, now = Date.now()): number | undefined {
  if (from === undefined) return undefined;
  const ms = now - from.at;
  const done = percentage - from.percentage;
  if (ms < leastMs || done < leastPercentage) return undefined;
  return ((ms / done) * (100 - percentage)) / 1000;
}
