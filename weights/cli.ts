import { basename, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CodedError, codeOf } from '../src/errors.js';
import { importModel, modelsRoot } from './import.js';
import { listModels, verifyModel, type Manifest } from './manifest.js';

const usage = `Usage: npm run weights -- COMMAND

  import FOLDER   turn a checkpoint in the layout of the official pretrained_weights into a model
    --name NAME         its name (default: the name of FOLDER)
    --out DIR           the model folder (default: weights/NAME)
    --precision P       fp32 (default) or fp16
    --plain             take the plain weights although accelerated ones are there
  list            show the models under weights/
    --root DIR          look there instead
  verify [MODEL]  check every file of a model (a name or a folder; default: all) by its hash
    --root DIR          look there instead
`;

class UsageError extends Error {}

const size = (bytes: number) =>
  bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(1)} MB`;

const bytesOf = (manifest: Manifest) => manifest.files.reduce((sum, file) => sum + file.bytes, 0);

/** Lines of a table whose columns are as wide as their widest cell. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function describeDefaults({ defaults: d }: Manifest): string {
  return `${d.width}x${d.height} at ${d.fps} fps, ${d.steps} steps, cfg ${d.cfg}, context ${d.contextFrames}/${d.contextOverlap}`;
}

function progressPrinter(): (written: number, total: number) => void {
  let shown = -1;
  return (written, total) => {
    const percent = Math.floor((100 * written) / total);
    if (percent === shown || !process.stderr.isTTY) return;
    shown = percent;
    process.stderr.write(`\r${percent} % of ${size(total)}${percent === 100 ? '\n' : ''}`);
  };
}

async function runImport(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      name: { type: 'string' },
      out: { type: 'string' },
      precision: { type: 'string', default: 'fp32' },
      plain: { type: 'boolean', default: false },
    },
  });
  const { name, out, precision, plain } = values;
  const [folder] = positionals;
  if (folder === undefined || positionals.length > 1) throw new UsageError('import takes a FOLDER');
  if (precision !== 'fp32' && precision !== 'fp16') {
    throw new UsageError(`--precision is fp32 or fp16, not ${precision}`);
  }
  const onProgress = progressPrinter();
  const made = await importModel({ folder, name, out, precision, plain, signal, onProgress });
  const { manifest } = made;
  console.log(
    `${made.folder}: ${manifest.name}, ${precision}, ${size(bytesOf(manifest))}, ${(manifest.parameters / 1e6).toFixed(1)} M parameters, ${describeDefaults(manifest)}`,
  );
}

async function runList(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { root: { type: 'string' } } });
  const root = resolve(values.root ?? modelsRoot);
  const models = await listModels(root);
  if (models.length === 0) {
    console.log(`No models in ${root}. Import a checkpoint: npm run weights -- import FOLDER`);
    return;
  }
  const rows = models.map(({ folder, manifest, error }) =>
    manifest
      ? [
          basename(folder),
          manifest.precision,
          size(bytesOf(manifest)),
          `${(manifest.parameters / 1e6).toFixed(1)} M`,
          describeDefaults(manifest),
        ]
      : [basename(folder), '-', '-', '-', `broken: ${error!.message}`],
  );
  console.log(table([['MODEL', 'PRECISION', 'ON DISK', 'PARAMETERS', 'DEFAULTS'], ...rows]));
}

async function runVerify(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { root: { type: 'string' } },
  });
  if (positionals.length > 1) throw new UsageError('verify takes one MODEL');
  const root = resolve(values.root ?? modelsRoot);
  const [model] = positionals;
  const all = model === undefined ? (await listModels(root)).map(({ folder }) => folder) : [];
  const folders = model === undefined ? all : [resolve(/[/\\]/.test(model) ? '.' : root, model)];
  if (folders.length === 0) console.log(`No models in ${root}.`);
  let failure: unknown;
  for (const folder of folders) {
    try {
      const manifest = await verifyModel(folder, signal);
      console.log(`${folder}: ${manifest.files.length} files as imported`);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      if (failure) console.error(`${error.code}: ${error.message}`);
      else failure = error;
    }
  }
  if (failure) throw failure as Error;
}

async function main(args: readonly string[], signal: AbortSignal): Promise<void> {
  const [command, ...rest] = args;
  if (command === 'import') return runImport(rest, signal);
  if (command === 'list') return runList(rest);
  if (command === 'verify') return runVerify(rest, signal);
  if (command === 'help' || command === '--help' || command === '-h') {
    process.stdout.write(usage);
    return;
  }
  throw new UsageError(command === undefined ? 'a command is needed' : `no command ${command}`);
}

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));
}

try {
  await main(process.argv.slice(2), stop.signal);
} catch (error) {
  const parse = String((error as { code?: unknown }).code).startsWith('ERR_PARSE_ARGS');
  if (stop.signal.aborted) {
    console.error(`${(stop.signal.reason as Error).message}; nothing was left behind`);
    process.exitCode = 130;
  } else if (parse || error instanceof UsageError) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    process.exitCode = 2;
  } else if (error instanceof CodedError) {
    console.error(`${error.code}: ${error.message}`);
    process.exitCode = 1;
  } else {
    console.error(`${codeOf(error)}:`, error);
    process.exitCode = 1;
  }
}
