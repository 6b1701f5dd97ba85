import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import pLimit from 'p-limit';
import { toolEnvironment } from '../config.js';
import { CodedError } from '../errors.js';

/**
 * The only place that starts ffmpeg and ffprobe. Uploaded files are decoded in these children and
 * never in our process; every child has a wall-clock limit, an output limit, an abort signal, a
 * small environment and no shell.
 */
export type Tool = 'ffmpeg' | 'ffprobe';

export interface ToolOptions {
  /** Wall clock; the child is killed and the run fails with MEDIA_TIMEOUT. Null: the caller watches. */
  timeoutMs: number | null;
  signal?: AbortSignal | undefined;
  /**
   * For a tool that only reads an upload and writes to its output: little memory, few open files
   * and no file of its own, where the system can see to that (`prlimit` of Linux).
   */
  confined?: boolean;
  /** Whether the caller writes to the child's standard input; otherwise it has none. */
  input?: boolean;
  /** Receives standard output as it arrives. Throwing kills the child and fails the run. */
  onOutput?: (chunk: Buffer) => void;
}

export interface ToolResult {
  code: number;
  /** The end of what the tool wrote on standard error. */
  stderr: string;
}

export interface ToolRun {
  stdin: Writable | null;
  /** Settles once, after the child is gone. Rejects with a coded error unless the child exited by itself. */
  done: Promise<ToolResult>;
  /** Kills the child; `done` rejects with this error. */
  kill(error: Error): void;
}

/** Characters of what a tool says on standard error that are kept. */
export const stderrTail = 4000;
const INSTALL_HINT =
  'install ffmpeg, which brings both tools (Debian and Ubuntu: apt-get install ffmpeg; macOS: brew install ffmpeg), and make sure it is on PATH';

const running = new Set<ChildProcess>();
let killsOnExit = false;

function killWithProcess(child: ChildProcess): void {
  if (!killsOnExit) {
    killsOnExit = true;
    process.on('exit', () => {
      for (const one of running) one.kill('SIGKILL');
    });
  }
  running.add(child);
}

export function cancelled(): CodedError {
  return new CodedError('MEDIA_CANCELLED', 'the work on this media file was cancelled');
}

export function timedOut(tool: Tool, ms: number): CodedError {
  const text = `${tool} had not finished after ${Math.round(ms / 1000)} s and was stopped`;
  return new CodedError('MEDIA_TIMEOUT', text);
}

export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw cancelled();
}

function startFailure(tool: Tool, error: NodeJS.ErrnoException): CodedError {
  return error.code === 'ENOENT'
    ? new CodedError('MEDIA_TOOL_MISSING', `${tool} was not found: ${INSTALL_HINT}`, {
        cause: error,
      })
    : new CodedError('MEDIA_TOOL_FAILED', `${tool} could not start: ${error.message}`, {
        cause: error,
      });
}

const toolMemoryBytes = 1024 * 1024 * 1024;
const found = new Map<string, boolean>();

function isOnPath(program: string): boolean {
  let is = found.get(program);
  if (is === undefined) {
    const folders = (toolEnvironment()['PATH'] ?? '').split(delimiter).filter(Boolean);
    is = folders.some((folder) => existsSync(join(folder, program)));
    found.set(program, is);
  }
  return is;
}

/**
 * What stands before a command that may have so much memory, few open files and no file of its own:
 * nothing where the system cannot see to that. The limits hold from its first instruction on.
 */
export function confinementOf(memoryBytes: number): string[] {
  if (!isOnPath('prlimit')) return [];
  return ['prlimit', `--data=${memoryBytes}`, '--nofile=64', '--fsize=0', '--core=0'];
}

function commandOf(
  tool: Tool,
  args: string[],
  { confined = false, timeoutMs }: ToolOptions,
): [string, string[]] {
  const limits = confined && isOnPath(tool) ? confinementOf(toolMemoryBytes) : [];
  // outlives whoever watches the clock, in case that is killed
  if (limits.length > 0 && timeoutMs !== null) limits.push(`--cpu=${Math.ceil(timeoutMs / 500)}`);
  const [command, ...rest] = [...limits, tool, ...args] as [string, ...string[]];
  return [command, rest];
}

export function startTool(tool: Tool, args: string[], options: ToolOptions): ToolRun {
  const { signal, timeoutMs, onOutput } = options;
  if (signal?.aborted === true) {
    const done = Promise.reject(cancelled());
    done.catch(() => {});
    return { stdin: null, done, kill: () => {} };
  }
  const child = spawn(...commandOf(tool, args, options), {
    stdio: [options.input === true ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    env: { ...toolEnvironment(), AV_LOG_FORCE_NOCOLOR: '1' },
    windowsHide: true,
  });
  killWithProcess(child);
  let failure: Error | undefined;
  let stderr = '';

  const kill = (error: Error): void => {
    failure ??= error;
    child.kill('SIGKILL');
  };
  const stdout = child.stdout as Readable;
  stdout.on('data', (chunk: Buffer) => {
    if (failure !== undefined) return;
    try {
      onOutput?.(chunk);
    } catch (error) {
      kill(error as Error);
    }
  });
  (child.stderr as Readable).setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-stderrTail);
  });
  // a child that ends early breaks its pipe; its exit tells why, and waiting writers look there
  child.stdin?.on('error', () => {});

  const done = new Promise<ToolResult>((resolve, reject) => {
    const timer =
      timeoutMs === null ? undefined : setTimeout(() => kill(timedOut(tool, timeoutMs)), timeoutMs);
    const onAbort = (): void => kill(cancelled());
    signal?.addEventListener('abort', onAbort, { once: true });
    const leave = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      running.delete(child);
    };
    child.once('error', (error) => {
      leave();
      reject(failure ?? startFailure(tool, error));
    });
    child.once('close', (code, signalName) => {
      leave();
      if (failure !== undefined) reject(failure);
      else if (code === null) {
        const text = `${tool} was ended by ${signalName ?? 'a signal'}: ${lastLine(stderr)}`;
        reject(new CodedError('MEDIA_TOOL_FAILED', text));
      } else resolve({ code, stderr });
    });
  });
  done.catch(() => {});
  return { stdin: child.stdin, done, kill };
}

/** So many confined tools run in this process at once: each may take all the memory it has. */
export const confinedAtOnce = 2 * availableParallelism();
const inTurn = pLimit(confinedAtOnce);

/** Runs a tool to its end; a confined one begins when it is its turn. */
export function endOfTool(tool: Tool, args: string[], options: ToolOptions): Promise<ToolResult> {
  const run = () => startTool(tool, args, options).done;
  return options.confined === true ? inTurn(run) : run();
}

/** Runs a tool to its end and returns its standard output, at most `maxOutputBytes` of it. */
export async function runTool(
  tool: Tool,
  args: string[],
  options: Omit<ToolOptions, 'input' | 'onOutput'> & { maxOutputBytes: number },
): Promise<ToolResult & { stdout: Buffer }> {
  const chunks: Buffer[] = [];
  let size = 0;
  const result = await endOfTool(tool, args, {
    timeoutMs: options.timeoutMs,
    signal: options.signal,
    confined: options.confined === true,
    onOutput: (chunk) => {
      size += chunk.length;
      if (size > options.maxOutputBytes) {
        const text = `${tool} wrote more than the ${options.maxOutputBytes} bytes it may`;
        throw new CodedError('MEDIA_TOOL_FAILED', text);
      }
      chunks.push(chunk);
    },
  });
  return { ...result, stdout: Buffer.concat(chunks) };
}

/** The last thing a tool said, without the folder names of this machine. */
export function lastLine(stderr: string): string {
  const lines = stderr.split('\n').filter((line) => line.trim() !== '');
  const line = lines.findLast((one) => !one.includes('Last message repeated')) ?? 'no message';
  return line
    .trim()
    .replace(/(file:)?\/(?:[^\s/:]+\/)+/g, '')
    .slice(0, 300);
}
