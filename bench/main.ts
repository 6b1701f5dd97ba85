import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { CodedError, codeOf } from '../src/errors.js';
import { Clips } from './engine/clip.js';
import { machine, versions } from './engine/machine.js';
import { measure } from './engine/measure.js';
import { benchOptions, engineUsage } from './engine/options.js';
import { apiCommand, apiUsage } from './api/command.js';
import { readAnyReport } from './report/api.js';
import { compareApiReports, compareReports, comparisonTable } from './report/compare.js';
import { writeReport } from './report/write.js';
import type { Report } from './report/schema.js';
import { summary } from './report/summary.js';
import { rooflineCommand, rooflineUsage } from './roofline/command.js';
import { measuredRoofline } from './roofline/measured.js';
import { rooflineTable } from './roofline/report.js';

/** Other measurements: programs of their own beside this file. */
const programs = [
  'approximate',
  'capacity',
  'first-audio',
  'idle-sessions',
  'load',
  'rival',
  'soak',
];

const usage = [
  engineUsage,
  rooflineUsage,
  apiUsage,
  'npm run bench -- compare A.json B.json',
  ...programs.map((name) => `npm run bench -- ${name} [its options]`),
].join('\n\n');

async function engine(args: readonly string[]): Promise<void> {
  const loadBefore = loadavg()[0]!;
  const options = await benchOptions(args);
  if (options === undefined) {
    console.log(usage);
    return;
  }
  const { settings, modelFolder, out } = options;
  const clips = await Clips.open(settings);
  // engines end by themselves when this process does
  const stop = () => void clips.close().finally(() => process.exit(130));
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    const say = (what: string) => console.error(`bench: ${what}`);
    const { rows, runtimeVersion } = await measure(options, clips, say);
    const roofline = options.roofline ? await measuredRoofline(options, rows) : null;
    const report: Report = {
      format: 1,
      date: new Date().toISOString(),
      machine: machine(loadBefore),
      versions: await versions(modelFolder, runtimeVersion),
      settings,
      rows,
      roofline,
    };
    console.log(summary(report));
    if (roofline !== null) console.log(`\n${rooflineTable(roofline)}`);
    if (out !== undefined) await writeReport(out, report);
  } finally {
    await clips.close();
  }
}

async function compare(args: readonly string[]): Promise<void> {
  const { positionals } = parseArgs({ args: [...args], allowPositionals: true });
  const [a, b] = positionals;
  if (a === undefined || b === undefined || positionals.length > 2) {
    throw new CodedError('BAD_REQUEST', 'compare needs two files that --out wrote');
  }
  const [left, right] = await Promise.all([readAnyReport(a), readAnyReport(b)]);
  if ('kind' in left && 'kind' in right) {
    console.log(comparisonTable(compareApiReports(left, right)));
  } else if (!('kind' in left) && !('kind' in right)) {
    console.log(comparisonTable(compareReports(left, right)));
  } else {
    throw new CodedError(
      'BAD_REQUEST',
      'one of the two measured the service, the other the engine',
    );
  }
}

/** `npm run bench`: what it says below, by its first word. */
async function main([name, ...rest]: readonly string[]): Promise<void> {
  if (name === undefined || name.startsWith('-')) {
    await engine(name === undefined ? rest : [name, ...rest]);
  } else if (name === 'engine') await engine(rest);
  else if (name === 'compare') await compare(rest);
  else if (name === 'api') await apiCommand(rest);
  else if (name === 'roofline') await rooflineCommand(rest);
  else if (programs.includes(name)) {
    // they read their options from the command line, as when they are started themselves
    const url = new URL(`${name}.js`, import.meta.url);
    process.argv.splice(1, 2, fileURLToPath(url));
    await import(url.href);
  } else {
    throw new CodedError('BAD_REQUEST', `there is no measurement "${name}"\n\n${usage}`);
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(`${codeOf(error)}: ${(error as Error).message}`);
  process.exitCode = 1;
}
