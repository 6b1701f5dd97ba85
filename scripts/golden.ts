// npm run golden -- FOLDER: imports the checkpoint of a golden folder in float32, runs every quantity
// that its cases hold, and compares with what the official pipeline made. Exit status 0 only when
// every quantity that is present holds.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Engine } from '../native/index.js';
import { importModel } from '../weights/import.js';
import { readCases } from './golden/case.js';
import { type Row, checkCase, holds } from './golden/check.js';

function format(value: number): string {
  if (value === 0 || value === Infinity || Number.isNaN(value)) return String(value);
  return value >= 0.001 && Number.isInteger(value) ? String(value) : value.toExponential(2);
}

/** Prints the rows of a case; tells whether all of them hold. */
function print(name: string, rows: Row[]): boolean {
  console.log(`\n${name}`);
  let good = rows.some(({ value }) => value !== undefined);
  for (const row of rows) {
    const { quantity, value, limit, note } = row;
    good &&= holds(row);
    const verdict = value === undefined ? `skipped: ${note ?? ''}` : holds(row) ? 'holds' : 'FAILS';
    const number = value === undefined ? '' : format(value);
    console.log(
      `  ${quantity.padEnd(24)} ${number.padStart(10)}  at most ${format(limit).padEnd(9)} ${verdict}`,
    );
  }
  return good;
}

async function main(): Promise<number> {
  const [folder, ...rest] = process.argv.slice(2);
  if (folder === undefined || rest.length > 0) {
    console.error('usage: npm run golden -- FOLDER');
    return 2;
  }
  const cases = await readCases(resolve(folder));
  const temporary = await mkdtemp(join(tmpdir(), 'echomimic-golden-'));
  try {
    const { folder: model, manifest } = await importModel({
      folder: join(resolve(folder), 'pretrained_weights'),
      name: 'golden',
      out: join(temporary, 'model'),
      precision: 'fp32',
    });
    const engine = await Engine.load({ model, provider: 'cpu' });
    let good = true;
    for (const golden of cases) {
      good = print(golden.name, await checkCase(engine, manifest, golden)) && good;
    }
    await engine.dispose();
    console.log(good ? '\nall hold' : '\nnot all hold');
    return good ? 0 : 1;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`golden: ${(error as Error).message}`);
  process.exitCode = 1;
}
