import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';

const bytes = 48;

/**
 * The key that tokens are signed with: JWT_SECRET, or one made once and kept in the data folder.
 * Of several processes that make one at the same time, all take that of the first.
 */
export function tokenSecret(config: Config): string {
  if (config.account.jwtSecret !== undefined) return config.account.jwtSecret;
  const path = join(config.dataFolder, 'jwt-secret');
  return read(path) ?? make(path, config.dataFolder);
}

function make(path: string, folder: string): string {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const draft = `${path}.${randomBytes(8).toString('hex')}`;
  writeFileSync(draft, randomBytes(bytes).toString('base64url'), { mode: 0o600, flag: 'wx' });
  try {
    // Complete or not there, and never in the place of another's.
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  return read(path) as string;
}

function read(path: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  if (text.length < 32) {
    throw new CodedError(
      'CONFIG_INVALID',
      `${path} is too short to be a key: delete it, and a new one is made (all tokens become void)`,
    );
  }
  return text;
}
