/** Less than this says too little about the rest. */
const leastMs = 1500;
const leastPercentage = 2;

/** How far a video is. */
export interface Advance {
  readonly percentage: number;
  /** When it began to be worked on, and how far it was then; milliseconds since 1970. */
  readonly from?: { readonly at: number; readonly percentage: number } | undefined;
}

/** Seconds that a video still takes, judged by what it took so far; undefined while nobody knows. */
export function secondsLeft({ percentage, from }: Advance, now = Date.now()): number | undefined {
  if (from === undefined) return undefined;
  const ms = now - from.at;
  const done = percentage - from.percentage;
  if (ms < leastMs || done < leastPercentage) return undefined;
  return ((ms / done) * (100 - percentage)) / 1000;
}
