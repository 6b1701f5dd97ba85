import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseEnv } from 'node:util';
import leven from 'leven';
import { CodedError } from '../errors.js';
import { projectRoot } from '../paths.js';

type Environment = Record<string, string | undefined>;

/**
 * Adds what the file named by ENV_FILE holds and the environment lacks. Without ENV_FILE the file
 * is `.env` in the project's folder and may be missing. Throws CONFIG_INVALID.
 */
export function addEnvironmentFile(environment: Environment): void {
  const named = environment['ENV_FILE'];
  if (named === 'none') return;
  const path = resolve(projectRoot, named || '.env');
  if (!named && !existsSync(path)) return;
  let values: Environment;
  try {
    values = parseEnv(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new CodedError(
      'CONFIG_INVALID',
      `the file of settings cannot be read: ${(error as Error).message}; see ENV_FILE in docs/configuration.md`,
      { cause: error },
    );
  }
  for (const [name, value] of Object.entries(values)) environment[name] ??= value;
}

/** Shorter names resemble too much that is none of ours. */
const shortest = 5;
const farthest = 2;

/** For each of `given` that is not known but resembles a known name, a sentence that says so. */
export function likelyMistakes(given: readonly string[], known: readonly string[]): string[] {
  return given.flatMap((name) => {
    if (name.length < shortest || known.includes(name)) return [];
    const limit = name.length < 8 ? 1 : farthest;
    const meant = known.find((one) => leven(name, one, { maxDistance: limit + 1 }) <= limit);
    return meant === undefined ? [] : [`${name} is no setting: did you mean ${meant}?`];
  });
}
