/**
 * Times renders of one golden case against another implementation, in turn, in one run.
 *
 *   npm run bench -- rival --model M --folder GOLDEN --case NAME --against COMMAND [--pairs N] [--threads N]
 *
 * COMMAND is started once and must render the same case once per line on its standard input, and
 * answer with one JSON line {"seconds": S}; a first line {"ready": true} says that it has loaded.
 * Loading and one warm-up on each side are not counted. Ratios are theirs / ours, pair by pair.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { Engine } from '../native/index.js';
import { readCases, renderOptions } from '../scripts/golden/case.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    folder: { type: 'string' },
    case: { type: 'string' },
    against: { type: 'string' },
    pairs: { type: 'string', default: '5' },
    threads: { type: 'string' },
  },
});
const { model, folder, case: name, against } = values;
if (!model || !folder || !name || !against) {
  throw new Error('--model, --folder, --case and --against are all needed');
}

/** The other implementation: one call is one render, in seconds. */
async function startRival(command: string) {
  const child = spawn('sh', ['-c', command], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit').then(([status]: unknown[]) => {
    throw new Error(`"${command}" ended with status ${String(status)}`);
  });
  exited.catch(() => undefined);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<Record<string, unknown>> => {
    const line = await Promise.race([lines.next(), exited]);
    return JSON.parse(String(line.value)) as Record<string, unknown>;
  };
  if ((await next())['ready'] !== true)
    throw new Error(`"${command}" did not say that it is ready`);
  return {
    async render(): Promise<number> {
      child.stdin.write('\n');
      return Number((await next())['seconds']);
    },
    stop: () => child.stdin.end(),
  };
}

function spread(numbers: readonly number[], unit = ''): string {
  const sorted = [...numbers].sort((a, b) => a - b);
  const show = (value: number) => `${value.toFixed(2)}${unit}`;
  return `${show(sorted[0]!)} / ${show(sorted[sorted.length >> 1]!)} / ${show(sorted.at(-1)!)}`;
}

const found = (await readCases(folder)).find((one) => one.name === name);
const options = found && renderOptions(found);
if (!options) throw new Error(`${folder} has no whole case ${name}`);
const engine = await Engine.load({
  model,
  ...(values.threads === undefined ? {} : { threads: Number(values.threads) }),
});
const rival = await startRival(against);
const renderOurs = async () => {
  const start = performance.now();
  await engine.render(options, { onFrames: () => undefined });
  return (performance.now() - start) / 1000;
};

await renderOurs();
await rival.render();
const theirs: number[] = [];
const ours: number[] = [];
for (let pair = 0; pair < Number(values.pairs); pair++) {
  theirs.push(await rival.render());
  ours.push(await renderOurs());
  console.log(
    `pair ${pair + 1}: theirs ${theirs[pair]!.toFixed(2)} s, ours ${ours[pair]!.toFixed(2)} s`,
  );
}
console.log(`theirs (min / median / max): ${spread(theirs, ' s')}`);
console.log(`ours   (min / median / max): ${spread(ours, ' s')}`);
console.log(
  `ratio  (min / median / max): ${spread(theirs.map((seconds, i) => seconds / ours[i]!))}`,
);
rival.stop();
await engine.dispose();
