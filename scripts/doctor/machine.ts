import { constants } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, resolve } from 'node:path';
import { projectRoot } from '../../src/paths.js';
import type { Check, Report } from './findings.js';

const GiB = 2 ** 30;
const littleSpace = 5 * GiB;
const noSpace = GiB / 2;

/** Whether files may be made in a folder, which may be yet to be made itself. */
export async function checkFolder(path: string, report: Report): Promise<void> {
  let existing = path;
  while ((await stat(existing).catch(() => undefined)) === undefined) existing = dirname(existing);
  const fix = `give the user of the server the right to write to ${existing}, or name another folder`;
  if (!(await stat(existing)).isDirectory()) {
    return report.fail(`${existing} is no folder`, fix);
  }
  try {
    await access(existing, constants.W_OK | constants.X_OK);
  } catch {
    return report.fail(`${existing} is not writable`, fix);
  }
  const { bavail, bsize } = await statfs(existing);
  const free = bavail * bsize;
  const text = `${path}, ${(free / GiB).toFixed(1)} GiB free`;
  const space = 'free some space, or name a folder of another disk';
  if (free < noSpace) report.fail(text, space);
  else if (free < littleSpace) report.warn(text, space);
  else report.ok(text);
}

export const dataFolder: Check = {
  name: 'data folder',
  fix: 'DATA_DIR names it',
  run: async ({ dataFolder }, report) => checkFolder(dataFolder, report),
};

/** A file of settings may hold secrets. */
export const environmentFile: Check = {
  name: '.env',
  fix: 'ENV_FILE names it',
  run: async (_config, report) => {
    const path = resolve(projectRoot, '.env');
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) return;
    if ((found.mode & 0o077) === 0) report.ok('only you can read it');
    else report.warn('others on this machine can read it, secrets included', 'chmod 600 .env');
  },
};

/** Tries the port; one that a server of ours has is as good. */
export const port: Check = {
  name: 'port',
  fix: 'PORT and HOST name it',
  run: async ({ host, port }, report) => {
    if (port === 0) return report.ok('a free one is taken');
    const code = await codeOfListening(host, port);
    if (code === undefined) return report.ok(`${port} of ${host} is free`);
    if (code === 'EADDRINUSE') {
      if (await isOurs(`http://${addressOf(host)}:${port}/livez`)) {
        return report.ok(`a server of ours answers on ${port} of ${host} already`);
      }
      return report.fail(`${port} of ${host} is taken by another program`, 'set PORT');
    }
    const fix =
      code === 'EACCES'
        ? 'take a PORT from 1024 on, and put a proxy in front of it'
        : 'set HOST to an address of this machine, 0.0.0.0 for all of them';
    report.fail(`nothing can listen on ${port} of ${host}: ${code}`, fix);
  },
};

async function codeOfListening(host: string, port: number): Promise<string | undefined> {
  const server = createServer();
  return await new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

/** Not a name: another program may answer to localhost over the other protocol. */
function addressOf(host: string): string {
  const own = { '0.0.0.0': '127.0.0.1', '::': '::1' }[host] ?? host;
  return own.includes(':') ? `[${own}]` : own;
}

async function isOurs(url: string): Promise<boolean> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(2000) });
    return answer.ok && ((await answer.json()) as { status?: unknown }).status === 'ok';
  } catch {
    return false;
  }
}
