import { mkdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { short } from '../../bench/report/table.js';
import { type Figure, type Result, isAccepted, isWithin } from './check.js';

export interface Report {
  readonly date: string;
  readonly accepted: boolean;
  readonly machine: Readonly<Record<string, string>>;
  readonly results: readonly Result[];
}

export function reportOf(
  machine: Readonly<Record<string, string>>,
  results: readonly Result[],
): Report {
  const all = {
    processor: cpus()[0]?.model.trim() ?? process.arch,
    node: process.version,
    ...machine,
  };
  return { date: new Date().toISOString(), accepted: isAccepted(results), machine: all, results };
}

function numberText(value: number): string {
  const small = value !== 0 && Math.abs(value) < 0.001;
  return Number.isInteger(value) ? String(value) : small ? value.toExponential(1) : short(value);
}

function wanted({ least, most }: Figure): string {
  return [
    ...(least === undefined ? [] : [`at least ${numberText(least)}`]),
    ...(most === undefined ? [] : [`at most ${numberText(most)}`]),
  ].join(', ');
}

function figureText(figure: Figure): string {
  const { what, value, unit } = figure;
  const shown = typeof value === 'number' ? numberText(value) : value;
  const limit = wanted(figure);
  return (
    `${what}: ${shown}${unit === undefined ? '' : ` ${unit}`}` +
    `${limit === '' ? '' : ` (${limit})`}${isWithin(figure) ? '' : ' **NOT GOOD**'}`
  );
}

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

/** The report as people read it. */
export function markdown({ date, accepted, machine, results }: Report): string {
  const count = (verdict: Result['verdict']) =>
    results.filter((one) => one.verdict === verdict).length;
  return [
    `# Acceptance: ${accepted ? 'PASSED' : 'FAILED'}`,
    '',
    `${date}; ${count('passed')} passed, ${count('failed')} failed, ${count('not run')} not run, ` +
      `${count('does not apply')} do not apply`,
    '',
    ...Object.entries(machine).map(([name, value]) => `- ${name}: ${value}`),
    '',
    '| check | verdict | s | what it shows, and what was found |',
    '|---|---|---|---|',
    ...results.map(({ name, what, verdict, seconds, figures, reason }) => {
      const found = [...(reason === undefined ? [] : [reason]), ...figures.map(figureText)];
      const text = [what, ...found].map(cell).join('<br>');
      const shown = verdict === 'failed' ? '**FAILED**' : verdict;
      return `| ${cell(name)} | ${shown} | ${seconds.toFixed(1)} | ${text} |`;
    }),
    '',
  ].join('\n');
}

/** Writes report.md and report.json; returns the text. */
export async function writeReports(folder: string, report: Report): Promise<string> {
  await mkdir(folder, { recursive: true });
  const text = markdown(report);
  await writeFile(join(folder, 'report.md'), text);
  // JSON has neither Infinity nor NaN, and both are findings
  const sayable = (_: string, value: unknown) =>
    typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
  await writeFile(join(folder, 'report.json'), `${JSON.stringify(report, sayable, 2)}\n`);
  return text;
}
