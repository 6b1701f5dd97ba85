import { execFile } from 'node:child_process';
import { readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { tokenSecret } from '../../src/account/secret.js';
import { childEnvironment, loadConfig } from '../../src/config.js';
import { temporaryFolder } from '../helpers/folder.js';

const run = promisify(execFile);
const program = fileURLToPath(new URL('./fixtures/secret.js', import.meta.url));

void t.test('one is made once, for its owner alone, by however many processes', async (t) => {
  const folder = join(await temporaryFolder(t), 'data');
  const env = childEnvironment({ DATA_DIR: folder });
  const all = await Promise.all(
    Array.from({ length: 4 }, async () => (await run(process.execPath, [program], { env })).stdout),
  );
  const secret = tokenSecret(loadConfig({ DATA_DIR: folder }));
  t.match(secret, /^[\w-]{64}$/);
  t.same(new Set(all), new Set([secret]));
  t.equal(await readFile(join(folder, 'jwt-secret'), 'utf8'), secret);
  t.equal((await stat(join(folder, 'jwt-secret'))).mode & 0o777, 0o600);
  t.same(await readdir(folder), ['jwt-secret'], 'no draft stays');
});

void t.test('JWT_SECRET is used as it is, and nothing is kept', async (t) => {
  const folder = await temporaryFolder(t);
  const given = 'a secret that is long enough, really';
  t.equal(tokenSecret(loadConfig({ DATA_DIR: folder, JWT_SECRET: given })), given);
  t.same(await readdir(folder), []);
});

void t.test('a file that is no key is not used', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'jwt-secret'), 'short');
  t.throws(() => tokenSecret(loadConfig({ DATA_DIR: folder })), {
    code: 'CONFIG_INVALID',
    message: /jwt-secret is too short/,
  });
});
