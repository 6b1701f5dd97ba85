import type { Throughput } from '../../../src/client/index.js';

export const kinds = ['completed', 'failed', 'cancelled'] as const;
export type Kind = (typeof kinds)[number];

/** What ended within some minutes. */
export interface Column extends Readonly<Record<Kind, number>> {
  readonly at: number;
}

/** Minutes joined to so many columns at most, the oldest first. */
export function columnsOf(points: Throughput['points'], most: number): Column[] {
  const size = Math.max(1, Math.ceil(points.length / most));
  const columns: Column[] = [];
  for (let i = 0; i < points.length; i += size) {
    const some = points.slice(i, i + size);
    const sum = (kind: Kind) => some.reduce((total, point) => total + point[kind], 0);
    columns.push({
      at: Date.parse(some[0]?.at ?? ''),
      ...{ completed: sum('completed'), failed: sum('failed'), cancelled: sum('cancelled') },
    });
  }
  return columns;
}

/** A round number that is no smaller, and divides into four whole ones. */
export function ceiling(value: number): number {
  const least = Math.max(4, value);
  const power = 10 ** Math.floor(Math.log10(least / 4));
  const step = [1, 2, 3, 5, 10].find((one) => one * power * 4 >= least) ?? 10;
  return step * power * 4;
}
