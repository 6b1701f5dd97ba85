import type { Report, Row } from './schema.js';
import { type Spread, chanceApart } from './statistics.js';
import { nameOf } from './summary.js';
import { short, table } from './table.js';

export interface Comparison {
  readonly row: string;
  readonly what: string;
  readonly a: number;
  readonly b: number;
  /** B over A: of the medians, and the smallest and largest that any two runs give. */
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
  readonly verdict: 'less' | 'more' | 'overlap' | 'too few runs';
}

/** Above this, runs that lie apart may do so by chance. */
const mostChance = 0.05;

function verdictOf(a: Spread, b: Spread): Comparison['verdict'] {
  if (a.min <= b.max && b.min <= a.max) return 'overlap';
  if (chanceApart(a.samples.length, b.samples.length) > mostChance) return 'too few runs';
  return b.max < a.min ? 'less' : 'more';
}

const keyOf = (row: Row) => [nameOf(row), row.seconds, row.frames, row.windows].join(' ');

function measures(row: Row): Map<string, Spread> {
  const all: [string, Spread | null | undefined][] = [
    ['whole', row.wallMs],
    ['first frame', row.firstFrameMs],
    ...Object.entries(row.stages ?? {}).filter(([name]) => name !== 'denoise' && name !== 'decode'),
    ['prepare', row.video?.prepareMs],
    ['finish', row.video?.finishMs],
  ];
  return new Map(all.flatMap(([name, spread]) => (spread ? [[name, spread] as const] : [])));
}

export interface Comparisons {
  readonly rows: Comparison[];
  /** What makes the two hard to compare. */
  readonly warnings: string[];
}

/** Two reports row by row. */
export function compareReports(a: Report, b: Report): Comparisons {
  const warnings: string[] = [];
  const differ = (what: string, x: unknown, y: unknown) => {
    const [left, right] = [JSON.stringify(x), JSON.stringify(y)];
    if (left !== right) warnings.push(`${what} differs: ${left} and ${right}`);
  };
  differ('the processor', a.machine.cpu, b.machine.cpu);
  differ('the number of cores', a.machine.physicalCores, b.machine.physicalCores);
  differ('the GPUs', a.machine.gpus, b.machine.gpus);
  differ('the model', a.versions.model.sha256, b.versions.model.sha256);
  for (const name of ['steps', 'cfg', 'width', 'height', 'fps', 'threads', 'provider'] as const) {
    differ(name, a.settings[name], b.settings[name]);
  }
  for (const [name, { machine }] of Object.entries({ A: a, B: b })) {
    const { loadBefore, logicalCores } = machine;
    if (loadBefore > 0.25 * logicalCores) {
      warnings.push(`${name}: the machine was busy before the run (load ${loadBefore.toFixed(1)})`);
    }
  }
  const others = new Map(b.rows.map((row) => [keyOf(row), row]));
  const rows: Comparison[] = [];
  for (const row of a.rows) {
    const other = others.get(keyOf(row));
    others.delete(keyOf(row));
    if (other === undefined) {
      warnings.push(`only A has: ${keyOf(row)}`);
      continue;
    }
    const theirs = measures(other);
    for (const [what, x] of measures(row)) {
      const y = theirs.get(what);
      if (y === undefined) continue;
      rows.push({
        row: `${nameOf(row)} ${short(row.seconds)} s`,
        what,
        a: x.p50,
        b: y.p50,
        ratio: y.p50 / x.p50,
        low: y.min / x.max,
        high: y.max / x.min,
        verdict: verdictOf(x, y),
      });
    }
  }
  for (const key of others.keys()) warnings.push(`only B has: ${key}`);
  return { rows, warnings };
}

const words: Record<Comparison['verdict'], string> = {
  less: 'B takes less',
  more: 'B takes more',
  overlap: 'runs overlap: no difference can be claimed',
  'too few runs': 'too few runs to claim a difference',
};

export function comparisonTable({ rows, warnings }: Comparisons): string {
  const body = table(
    ['', 'A p50 ms', 'B p50 ms', 'B / A', 'from', 'to', ''],
    rows.map((row) => [
      `${row.row}: ${row.what}`,
      ...[row.a, row.b, row.ratio, row.low, row.high].map(short),
      words[row.verdict],
    ]),
  );
  return [...warnings.map((one) => `note: ${one}`), body].join('\n');
}
