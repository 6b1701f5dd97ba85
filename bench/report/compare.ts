import type { ApiReport } from './api.js';
import type { Report, Row } from './schema.js';
import { type Spread, chanceApart } from './statistics.js';
import { nameOf } from './summary.js';
import { short, table } from './table.js';

export interface Comparison {
  readonly row: string;
  readonly what: string;
  readonly unit: string;
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

type Differ = (what: string, x: unknown, y: unknown) => void;
type Machines = Record<'A' | 'B', Pick<Report, 'machine'>>;

/** Says what differs, and what is wrong with the machines. */
function compareMachines({ A, B }: Machines, warnings: string[]): Differ {
  const differ: Differ = (what, x, y) => {
    const [left, right] = [JSON.stringify(x), JSON.stringify(y)];
    if (left !== right) warnings.push(`${what} differs: ${left} and ${right}`);
  };
  differ('the processor', A.machine.cpu, B.machine.cpu);
  differ('the number of cores', A.machine.physicalCores, B.machine.physicalCores);
  for (const [name, { machine }] of Object.entries({ A, B })) {
    const { loadBefore, logicalCores } = machine;
    if (loadBefore > 0.25 * logicalCores) {
      warnings.push(`${name}: the machine was busy before the run (load ${loadBefore.toFixed(1)})`);
    }
  }
  return differ;
}

function comparisonOf(
  names: Pick<Comparison, 'row' | 'what' | 'unit'>,
  a: Spread,
  b: Spread,
): Comparison {
  return {
    ...names,
    a: a.p50,
    b: b.p50,
    ratio: b.p50 / a.p50,
    low: b.min / a.max,
    high: b.max / a.min,
    verdict: verdictOf(a, b),
  };
}

/** Pairs what has the same key; tells what only one side has. */
function pairs<T>(
  a: readonly T[],
  b: readonly T[],
  keyOf: (one: T) => string,
  warnings: string[],
): [T, T][] {
  const others = new Map(b.map((one) => [keyOf(one), one]));
  const found = a.flatMap((one): [T, T][] => {
    const key = keyOf(one);
    const other = others.get(key);
    others.delete(key);
    if (other === undefined) warnings.push(`only A has: ${key}`);
    return other === undefined ? [] : [[one, other]];
  });
  for (const key of others.keys()) warnings.push(`only B has: ${key}`);
  return found;
}

/** Two reports row by row. */
export function compareReports(a: Report, b: Report): Comparisons {
  const warnings: string[] = [];
  const differ = compareMachines({ A: a, B: b }, warnings);
  differ('the GPUs', a.machine.gpus, b.machine.gpus);
  differ('the model', a.versions.model.sha256, b.versions.model.sha256);
  for (const name of ['steps', 'cfg', 'width', 'height', 'fps', 'threads', 'provider'] as const) {
    differ(name, a.settings[name], b.settings[name]);
  }
  const rows = pairs(a.rows, b.rows, keyOf, warnings).flatMap(([row, other]) => {
    const theirs = measures(other);
    return [...measures(row)].flatMap(([what, x]) => {
      const y = theirs.get(what);
      const names = { row: `${nameOf(row)} ${short(row.seconds)} s`, what, unit: 'ms' };
      return y === undefined ? [] : [comparisonOf(names, x, y)];
    });
  });
  return { rows, warnings };
}

/** Two reports on the service, by the medians of their runs. */
export function compareApiReports(a: ApiReport, b: ApiReport): Comparisons {
  const warnings: string[] = [];
  const differ = compareMachines({ A: a, B: b }, warnings);
  differ('the version of Node', a.versions.node, b.versions.node);
  differ('the version of Redis', a.versions.redis, b.versions.redis);
  differ('the settings', a.settings, b.settings);
  const rows = pairs(a.rows, b.rows, ({ what }) => what, warnings).map(([x, y]) =>
    comparisonOf({ row: 'service', what: x.what, unit: x.unit }, x.runs, y.runs),
  );
  return { rows, warnings };
}

const words: Record<Comparison['verdict'], string> = {
  less: 'B is less',
  more: 'B is more',
  overlap: 'runs overlap: no difference can be claimed',
  'too few runs': 'too few runs to claim a difference',
};

export function comparisonTable({ rows, warnings }: Comparisons): string {
  const body = table(
    ['', 'A p50', 'B p50', 'B / A', 'from', 'to', ''],
    rows.map((row) => [
      `${row.row}: ${row.what}, ${row.unit}`,
      ...[row.a, row.b, row.ratio, row.low, row.high].map(short),
      words[row.verdict],
    ]),
  );
  return [...warnings.map((one) => `note: ${one}`), body].join('\n');
}
