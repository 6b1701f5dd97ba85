import { basename, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CodedError } from '../src/errors.js';
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
    --root DIR          look there instead`;

/** What a command needs of the process it runs in. */
export interface CommandIo {
  readonly signal: AbortSignal;
  /** A line for standard output. */
  print(line: string): void;
  /** A line for standard error. */
  complain(line: string): void;
}

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

async function runImport(args: readonly string[], io: CommandIo): Promise<void> {
  const { signal } = io;
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
  io.print(
    `${made.folder}: ${manifest.name}, ${precision}, ${size(bytesOf(manifest))}, ${(manifest.parameters / 1e6).toFixed(1)} M parameters, ${describeDefaults(manifest)}`,
  );
}

async function runList(args: readonly string[], io: CommandIo): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { root: { type: 'string' } } });
  const root = resolve(values.root ?? modelsRoot);
  const models = await listModels(root);
  if (models.length === 0) {
    io.print(`No models in ${root}. Import a checkpoint: npm run weights -- import FOLDER`);
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
  io.print(table([['MODEL', 'PRECISION', 'ON DISK', 'PARAMETERS', 'DEFAULTS'], ...rows]));
}

async function runVerify(args: readonly string[], io: CommandIo): Promise<void> {
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
  if (folders.length === 0) io.print(`No models in ${root}.`);
  let failure: unknown;
  for (const folder of folders) {
    try {
      const manifest = await verifyModel(folder, io.signal);
      io.print(`${folder}: ${manifest.files.length} files as imported`);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      if (failure) io.complain(`${error.code}: ${error.message}`);
      else failure = error;
    }
  }
  if (failure) throw failure as Error;
}

async function dispatch(args: readonly string[], io: CommandIo): Promise<void> {
  const [command, ...rest] = args;
  if (command === 'import') return runImport(rest, io);
  if (command === 'list') return runList(rest, io);
  if (command === 'verify') return runVerify(rest, io);
  if (command === 'help' || command === '--help' || command === '-h') return io.print(usage);
  throw new UsageError(command === undefined ? 'a command is needed' : `no command ${command}`);
}

/** Runs one command line; the exit status. */
export async function runCommand(args: readonly string[], io: CommandIo): Promise<number> {
  try {
    await dispatch(args, io);
    return 0;
  } catch (error) {
    if (io.signal.aborted) {
      io.complain(`${(io.signal.reason as Error).message}; nothing was left behind`);
      return 130;
    }
    const { code } = error as { code?: unknown };
    if (error instanceof UsageError || String(code).startsWith('ERR_PARSE_ARGS')) {
      io.complain(`${(error as Error).message}\n\n${usage}`);
      return 2;
    }
    if (error instanceof CodedError) io.complain(`${error.code}: ${error.message}`);
    else io.complain(`INTERNAL: ${error instanceof Error ? error.stack : String(error)}`);
    return 1;
  }
}
