import { randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import { Tokens } from '../../src/account/tokens.js';
import type { Config } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import type { Database, User } from '../../src/store/schema.js';

/** A user and its tokens without the work of hashing a password: nobody can log in as it. */
export async function signIn(
  db: Kysely<Database>,
  config: Config,
  more: Partial<User> = {},
): Promise<{ user: User; token: string; refreshToken: string }> {
  const user: User = {
    id: randomUUID(),
    username: `user-${randomUUID()}`,
    display_name: 'Somebody',
    subscription_type: 'free',
    token_version: 0,
    nickname: null,
    birth_year: null,
    birth_place: null,
    grew_up_place: null,
    occupation: null,
    created_at: Date.now(),
    ...more,
  };
  const tokens = new Tokens(db, config, createLog('silent'));
  const login = await db.transaction().execute(async (trx) => {
    await trx
      .insertInto('users')
      .values({ ...user, password_hash: 'none' })
      .execute();
    return tokens.issue(trx, user);
  });
  return { user, token: login.accessToken, refreshToken: login.refreshToken };
}
