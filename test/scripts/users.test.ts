import { execFile } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { Accounts } from '../../src/account/accounts.js';
import { childEnvironment } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { projectRoot } from '../../src/paths.js';
import { databases } from '../helpers/database.js';

const program = join(projectRoot, 'dist', 'scripts', 'users.js');

void t.test('the operator adds users, gives passwords and sets subscriptions', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const config = database.config({ REGISTRATION: 'closed' });
      const env = childEnvironment({
        DATABASE_URL: database.url,
        DATA_DIR: config.dataFolder,
        REGISTRATION: 'closed',
      });
      const users = (...names: string[]) =>
        new Promise<{ code: number; out: string; complaint: string }>((resolve) =>
          execFile(process.execPath, [program, ...names], { env }, (error, out, complaint) =>
            resolve({ code: error === null ? 0 : Number(error.code), out, complaint }),
          ),
        );
      const passwordIn = (text: string) => /^password: (\S{16})$/m.exec(text)?.[1] ?? '';
      const added = await users('add', 'Ann');
      t.match(added, { code: 0, out: /^ann {2}free {2}since \d{4}-/ });
      const accounts = new Accounts(await database.open(), config, createLog('silent'));
      const login = (password: string) =>
        accounts.login({ username: 'ann', password }, '192.0.2.1');
      const { accessToken } = await login(passwordIn(added.out));

      t.match(await users('subscription', 'ann', 'pro'), {
        code: 0,
        out: /^ann {2}pro .*\na day: messages 20000, audio_seconds 86400, video_seconds 86400\n$/,
      });
      t.match(await users('list'), { code: 0, out: /^ann {2}pro {2}since [^\n]*\n$/ });
      await accounts.verifyAccess(accessToken);

      const renewed = await users('password', 'ANN');
      await t.rejects(accounts.verifyAccess(accessToken), { code: 'TOKEN_INVALID' });
      await t.rejects(login(passwordIn(added.out)), { code: 'LOGIN_FAILED' });
      await login(passwordIn(renewed.out));

      t.match(await users('subscription', 'ann', 'gold'), {
        code: 1,
        complaint: 'BAD_REQUEST: QUOTAS names no "gold"; it names free, pro\n',
      });
      t.match(await users('password', 'bob'), { code: 1, complaint: /NOT_FOUND: .*"bob"/ });
      t.match(await users('add', 'ann'), { code: 1, complaint: /USERNAME_TAKEN/ });
      t.match(await users('list', 'ann'), { code: 2, complaint: /npm run users -- list/ });
    });
  }
});
