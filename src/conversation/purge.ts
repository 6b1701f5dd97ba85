import type { Kysely } from 'kysely';
import type { Config } from '../config.js';
import type { Log } from '../log.js';
import { Repeated } from '../repeated.js';
import type { Database } from '../store/schema.js';

/** Few at once, and seldom: nobody who talks waits for it, and it keeps up with thousands a day. */
const batch = 20;
const everyMs = 60_000;

/** Removes a few conversations deleted longer than `keptMs` ago, with all that was said; how many. */
export async function purgeConversations(db: Kysely<Database>, keptMs: number): Promise<number> {
  const old = db
    .selectFrom('conversations')
    .select('id')
    .where('deleted_at', '<', Date.now() - keptMs)
    .limit(batch);
  const gone = await db
    .deleteFrom('conversations')
    .where('id', 'in', old)
    .returning('id')
    .execute();
  return gone.length;
}

/** Does so from time to time. */
export function conversationPurge(
  db: Kysely<Database>,
  { deletedConversationMs }: Config,
  log: Log,
): Repeated {
  const purge = async () => {
    const count = await purgeConversations(db, deletedConversationMs);
    if (count > 0) log.info({ count }, 'removed conversations that were deleted long ago');
  };
  return new Repeated(everyMs, purge, (err) =>
    log.error({ err }, 'deleted conversations were not removed'),
  );
}
