import { randomBytes } from 'node:crypto';
import { Accounts } from '../src/account/accounts.js';
import { type Config, loadConfig, quotaKinds } from '../src/config.js';
import { CodedError, codeOf } from '../src/errors.js';
import { createLog } from '../src/log.js';
import { openDatabase } from '../src/store/database.js';
import type { User } from '../src/store/schema.js';

const usage = `npm run users -- list
npm run users -- add NAME                 makes an account and prints its password
npm run users -- password NAME            gives a user a new password and prints it
npm run users -- subscription NAME TYPE   sets what a user may use a day (QUOTAS)`;

type Command = (accounts: Accounts, config: Config, ...names: string[]) => Promise<void>;

const commands: Readonly<Record<string, { names: number; run: Command }>> = {
  list: {
    names: 0,
    run: async (accounts) => {
      for (const user of await accounts.list()) console.log(describe(user));
    },
  },
  add: {
    names: 1,
    run: async (accounts, _config, username = '') => {
      const password = newPassword();
      const { user } = await accounts.create({ username, password });
      console.log(`${describe(user)}\npassword: ${password}`);
    },
  },
  password: {
    names: 1,
    run: async (accounts, _config, username = '') => {
      const password = newPassword();
      const user = await accounts.resetPassword(username, password);
      console.log(`${describe(user)}\npassword: ${password}`);
    },
  },
  subscription: {
    names: 2,
    run: async (accounts, { account }, username = '', type = '') => {
      if (!Object.hasOwn(account.quotas, type)) {
        const known = Object.keys(account.quotas).join(', ');
        throw new CodedError('BAD_REQUEST', `QUOTAS names no "${type}"; it names ${known}`);
      }
      const user = await accounts.setSubscription(username, type);
      const limits = account.quotas[type] ?? {};
      const each = quotaKinds.map((kind) => `${kind} ${limits[kind] ?? 'unlimited'}`);
      console.log(`${describe(user)}\na day: ${each.join(', ')}`);
    },
  },
};

/** `npm run users`: for whoever runs the server, who needs no password of its users. */
async function main([name = 'help', ...names]: string[]): Promise<void> {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined || command.names !== names.length) {
    console.error(usage);
    process.exitCode = name === 'help' || name === '--help' ? 0 : 2;
    return;
  }
  const config = loadConfig();
  const log = createLog('warn');
  const db = await openDatabase(config, log);
  try {
    await command.run(new Accounts(db, config, log), config, ...names);
  } finally {
    await db.destroy();
  }
}

function describe({ username, subscription_type, created_at }: User): string {
  return `${username}  ${subscription_type}  since ${new Date(created_at).toISOString()}`;
}

function newPassword(): string {
  return randomBytes(12).toString('base64url');
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(`${codeOf(error)}: ${(error as Error).message}`);
  process.exitCode = 1;
}
