import type { Kysely } from 'kysely';
import type { Config } from '../config.js';
import type { Log } from '../log.js';
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

/** Does so from time to time until it is stopped. */
export function keepPurging(
  db: Kysely<Database>,
  { deletedConversationMs }: Config,
  log: Log,
): { stop(): Promise<void> } {
  let running: Promise<void> | undefined;
  const timer = setInterval(() => {
    running ??= purgeConversations(db, deletedConversationMs)
      .then((count) => {
        if (count > 0) log.info({ count }, 'removed conversations that were deleted long ago');
      })
      .catch((err: unknown) => log.error({ err }, 'deleted conversations were not removed'))
      .finally(() => (running = undefined));
  }, everyMs).unref();
  return {
    stop: async () => {
      clearInterval(timer);
      await running;
    },
  };
}
