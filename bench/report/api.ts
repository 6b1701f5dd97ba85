import { type Static, Type } from 'typebox';
import {
  type Report,
  ReportSchema,
  Spread,
  atLeastZero,
  closed,
  count,
  head,
  readChecked,
  text,
} from './schema.js';
import { percentile, spreadOf } from './statistics.js';
import { short, table } from './table.js';

const Row = Type.Object(
  {
    what: text,
    unit: Type.Union([Type.Literal('ms'), Type.Literal('MB/s'), Type.Literal('per s')]),
    /** Of every single event; of a rate, of every run. */
    p50: atLeastZero,
    p95: atLeastZero,
    p99: atLeastZero,
    max: atLeastZero,
    count,
    /** The median of each run. */
    runs: Spread,
  },
  closed,
);
export type ApiRow = Static<typeof Row>;

export const ApiReportSchema = Type.Object(
  {
    ...head,
    kind: Type.Literal('api'),
    versions: Type.Object({ server: text, node: text, redis: text }, closed),
    settings: Type.Object(
      {
        devices: count,
        frameMs: atLeastZero,
        sizes: Type.Array(Type.Number({ exclusiveMinimum: 0 }), { minItems: 1 }),
        atOnce: Type.Array(count, { minItems: 1 }),
        tasks: count,
        sessions: count,
        turns: count,
        watchers: count,
        updates: count,
        runs: count,
      },
      closed,
    ),
    rows: Type.Array(Row, { minItems: 1 }),
  },
  closed,
);
export type ApiReport = Static<typeof ApiReportSchema>;

/** What was measured, run by run. */
export interface Measure {
  readonly what: string;
  readonly unit: ApiRow['unit'];
  readonly runs: readonly (readonly number[])[];
}

export function rowOf({ what, unit, runs }: Measure): ApiRow {
  const all = runs.flat();
  const at = (share: number) => percentile(all, share);
  return {
    ...{ what, unit, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: Math.max(...all) },
    count: all.length,
    runs: spreadOf(runs.map((run) => percentile(run, 0.5))),
  };
}

/** Either kind of report, checked. */
export async function readAnyReport(path: string): Promise<Report | ApiReport> {
  const isApi = (value: unknown) => (value as { kind?: unknown } | null)?.kind === 'api';
  return readChecked(path, (value) => (isApi(value) ? ApiReportSchema : ReportSchema));
}

/** What a run measured, for people. Of a rate, high is good: its low end is what 95 % reach. */
export function apiSummary({ machine, versions, settings, rows, date }: ApiReport): string {
  const { cpu, physicalCores, memoryBytes, loadBefore, loadAfter } = machine;
  const lines = [
    `the service on loopback, clients on the same machine; ${settings.devices} simulated devices ` +
      `of ${settings.frameMs} ms a frame; ${settings.runs} runs`,
    `${cpu}, ${physicalCores} cores, ${(memoryBytes / 2 ** 30).toFixed(0)} GiB; Node ${versions.node}, ` +
      `Redis ${versions.redis}; ${date}; load ${loadBefore.toFixed(1)} before, ${loadAfter.toFixed(1)} after`,
  ];
  const isTime = ({ unit }: ApiRow) => unit === 'ms';
  const times = table(
    ['ms', 'p50', 'p95', 'p99', 'max', 'of'],
    rows
      .filter(isTime)
      .map(({ what, p50, p95, p99, max, count: of }) => [
        what,
        ...[p50, p95, p99, max].map(short),
        String(of),
      ]),
  );
  const rates = table(
    ['', 'median', 'least', 'most', ''],
    rows
      .filter((row) => !isTime(row))
      .map(({ what, unit, runs }) => [what, ...[runs.p50, runs.min, runs.max].map(short), unit]),
  );
  return [...lines, '', rates, '', times].join('\n');
}
