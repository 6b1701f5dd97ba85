import { randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { Database, User } from '../../src/store/schema.js';

/** A user in the database, without a password that anyone knows. */
export async function person(db: Kysely<Database>, name = 'someone'): Promise<User> {
  const id = randomUUID();
  return db
    .insertInto('users')
    .values({
      id,
      username: `${name}-${id}`,
      display_name: name,
      password_hash: 'none',
      subscription_type: 'free',
      created_at: Date.now(),
    })
    .returningAll()
    .executeTakeFirstOrThrow();
}
