/**
 * npm run test:gpu: everything that only a machine with GPUs can show, in one report; see
 * docs/gpu-acceptance.md. Exit status 0 only when every check that applies was run and passed.
 */
import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CodedError, codeOf } from '../../src/errors.js';
import { projectRoot } from '../../src/paths.js';
import { importModel } from '../../weights/import.js';
import { closeFaceDetector } from '../../worker/media/index.js';
import { type Check, type Context, runChecks } from './check.js';
import { allChecks } from './checks/index.js';
import { reportOf, writeReports } from './report.js';

const usage = `npm run test:gpu -- [--device cuda:0] [--only NAME,NAME] [--golden FOLDER,FOLDER]
    [--seconds 2] [--out FOLDER]
  --golden   by default every golden folder under SHARED_DIR, or ../shared beside the project
checks: ${allChecks.map(({ name }) => name).join(', ')}`;

/** The named checks and what they need, in order; all of them by default. */
export function chosenChecks(only: string | undefined): Check[] {
  if (only === undefined) return [...allChecks];
  const wanted = new Set<string>();
  const want = (name: string) => {
    const check = allChecks.find((one) => one.name === name);
    if (check === undefined) throw new CodedError('BAD_REQUEST', `no check "${name}"\n${usage}`);
    wanted.add(name);
    for (const need of check.needs ?? []) want(need);
  };
  for (const name of only.split(',')) want(name);
  return allChecks.filter(({ name }) => wanted.has(name));
}

const isFolder = async (path: string) =>
  (await stat(path).catch(() => undefined))?.isDirectory() === true;

async function goldenFolders(given: string | undefined): Promise<string[]> {
  if (given !== undefined) return given.split(',').map((one) => resolve(one));
  const root = join(process.env['SHARED_DIR'] ?? join(projectRoot, '..', 'shared'), 'golden');
  const found: string[] = [];
  for (const name of (await readdir(root).catch(() => [])).sort()) {
    const folder = join(root, name);
    if (
      (await isFolder(join(folder, 'cases'))) &&
      (await isFolder(join(folder, 'pretrained_weights')))
    )
      found.push(folder);
  }
  return found;
}

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...{ device: { type: 'string', default: 'cuda:0' }, only: { type: 'string' } },
      ...{ golden: { type: 'string' }, seconds: { type: 'string', default: '2' } },
      ...{ out: { type: 'string', default: join(projectRoot, 'out', 'gpu-acceptance') } },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    console.log(usage);
    return 0;
  }
  const checks = chosenChecks(values.only);
  const seconds = Number(values.seconds);
  if (!(seconds >= 0.5)) throw new CodedError('BAD_REQUEST', '--seconds must be 0.5 or more');
  const temporary = await mkdtemp(join(tmpdir(), 'gpu-acceptance-'));
  const folder = resolve(values.out);
  const say = (text: string) => console.error(`test:gpu: ${text}`);
  try {
    await mkdir(folder, { recursive: true });
    say('importing the bundled weights in float16');
    const half = await importModel({
      ...{ folder: join(projectRoot, 'weights', 'bundled'), name: 'small-half', precision: 'fp16' },
      out: join(temporary, 'half'),
    });
    const context: Context = {
      device: values.device,
      ...{ exact: 'cuda', half: 'tensorrt' },
      models: { exact: join(projectRoot, 'weights', 'small'), half: half.folder },
      golden: await goldenFolders(values.golden),
      ...{ folder, seconds, size: half.manifest.defaults.width, say },
    };
    const results = await runChecks(checks, context);
    const report = reportOf({ device: values.device }, results);
    console.log(await writeReports(folder, report));
    say(`the report is in ${folder}`);
    return report.accepted ? 0 : 1;
  } finally {
    await closeFaceDetector();
    await rm(temporary, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(`${codeOf(error)}: ${(error as Error).message}`);
  process.exitCode = 1;
}
