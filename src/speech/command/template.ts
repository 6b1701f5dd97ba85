import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { toolEnvironment } from '../../config.js';
import { CodedError } from '../../errors.js';

/**
 * A command line as an operator writes it, such as `whisper-cli -l {language:auto} -f {input}`.
 * It is split as a shell would (quotes and backslashes), but no shell ever sees it.
 *
 * `{name}` is replaced within its argument, `{name:default}` says what stands where no value is
 * known, `{name*175}` multiplies a number.
 */
export interface Template {
  readonly program: string;
  uses(name: string): boolean;
  /** The arguments; `values` that are missing or undefined take their defaults. */
  fill(values: Readonly<Record<string, string | number | undefined>>): string[];
}

const placeholder = /\{(\w+)(?:\*(\d+(?:\.\d+)?))?(?::([^{}]*))?\}/g;

/**
 * Throws CONFIG_INVALID for what cannot be run. `names` are the placeholders it may use, and whether
 * each always has a value.
 */
export function readTemplate(
  setting: string,
  line: string,
  names: Readonly<Record<string, boolean>>,
): Template {
  const [program, ...args] = splitWords(setting, line);
  if (program === undefined) throw wrong(setting, 'names no program');
  const found = args.flatMap((arg) => [...arg.matchAll(placeholder)]);
  for (const [whole, name = '', , fallback] of found) {
    if (!Object.hasOwn(names, name)) {
      const known = Object.keys(names).map((one) => `{${one}}`);
      throw wrong(setting, `uses ${whole}; it can use ${known.join(', ')}`);
    }
    if (names[name] === false && fallback === undefined) {
      throw wrong(setting, `uses ${whole}, which may be unknown; give a default as {${name}:...}`);
    }
  }
  findProgram(setting, program);
  const used = new Set(found.map(([, name]) => name));
  return {
    program,
    uses: (name) => used.has(name),
    fill: (values) =>
      args.map((arg) =>
        arg.replace(placeholder, (_, name: string, factor?: string, fallback?: string) =>
          printed(values[name], factor, fallback ?? ''),
        ),
      ),
  };
}

function printed(
  value: string | number | undefined,
  factor: string | undefined,
  fallback: string,
): string {
  if (value === undefined) return fallback;
  if (typeof value === 'string') return value;
  return String(Math.round(value * Number(factor ?? 1) * 1000) / 1000);
}

function wrong(setting: string, how: string): CodedError {
  return new CodedError('CONFIG_INVALID', `${setting} ${how}`);
}

/** Words between spaces; '...' as it is, "..." with \" and \\, and \ before any character. */
export function splitWords(setting: string, line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < line.length; i++) {
    const char = line[i] as string;
    const next = line[i + 1];
    if (quote === "'" && char !== "'") word = (word ?? '') + char;
    else if (char === '\\' && next !== undefined && (quote === '' || /["\\]/.test(next))) {
      word = (word ?? '') + next;
      i++;
    } else if (char === quote) quote = '';
    else if (quote === '' && (char === '"' || char === "'")) {
      quote = char;
      word ??= '';
    } else if (quote === '' && /\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? '') + char;
  }
  if (quote !== '') throw wrong(setting, `has a ${quote} that is not closed`);
  return word === undefined ? words : [...words, word];
}

/** A missing program is told at the start and not to the first user. */
function findProgram(setting: string, program: string): void {
  const folders = program.includes('/') ? [''] : (toolEnvironment()['PATH'] ?? '').split(delimiter);
  const found = folders.some((folder) => {
    const path = folder === '' ? program : join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return statSync(path).isFile();
    } catch {
      return false;
    }
  });
  if (found) return;
  const where = program.includes('/') ? 'is no program that can be run' : 'was not found on PATH';
  throw wrong(setting, `starts with ${program}, which ${where}; install it or correct the setting`);
}
