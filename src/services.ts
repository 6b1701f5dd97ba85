import { sql } from 'kysely';
import { Accounts } from './account/accounts.js';
import { Quota } from './account/quota.js';
import type { Config } from './config.js';
import { Conversations } from './conversation/conversations.js';
import { conversationPurge } from './conversation/purge.js';
import { createDialogue } from './dialogue/index.js';
import { Rates } from './limit/rates.js';
import type { Log } from './log.js';
import { observedDialogue, observedRecogniser, observedSynthesiser } from './observe/providers.js';
import { type Redis, connectRedis } from './queue/redis.js';
import { Roles } from './role/roles.js';
import type { SessionServices } from './session/services.js';
import { createRecogniser, createSynthesiser } from './speech/index.js';
import { openDatabase } from './store/database.js';
import { Tasks } from './task/tasks.js';
import type { TempFileStore } from './tempfile/store.js';
import { StorageUse } from './tempfile/usage.js';

/** What the routes need of the database, with or without a Redis. */
export type DataServices = Pick<
  SessionServices,
  'accounts' | 'quota' | 'roles' | 'conversations' | 'rates' | 'usage'
> & { isReady(): Promise<boolean>; close(): Promise<void> };

export async function openData(config: Config, log: Log, redis?: Redis): Promise<DataServices> {
  const db = await openDatabase(config, log);
  const roles = new Roles(db, config, log);
  await roles.open();
  const purging = conversationPurge(db, config, log);
  purging.start();
  return {
    accounts: new Accounts(db, config, log, redis),
    quota: new Quota(db, config),
    roles,
    conversations: new Conversations(db, redis, config, log),
    rates: new Rates(config, redis),
    usage: new StorageUse(config, redis),
    isReady: async () => {
      await sql`select 1`.execute(db);
      return true;
    },
    close: async () => {
      await purging.stop();
      await db.destroy();
    },
  };
}

/** What sessions need besides: the services behind a conversation, and the way to the workers. */
export function openSessionServices(
  config: Config,
  log: Log,
  store: TempFileStore,
  redis: Redis,
  data: DataServices,
  replaced: Partial<SessionServices> = {},
): SessionServices & { close(): Promise<void> } {
  const { accounts, quota, roles, conversations, rates, usage } = data;
  const subscriber = connectRedis(config, log);
  const tasks = new Tasks(redis, subscriber, config, log);
  // Not waited for: a Redis that is away must not keep the API from listening.
  tasks.start().catch((err: unknown) => log.error({ err }, 'tasks cannot be watched'));
  const services = {
    ...{ config, log, store, redis, accounts, quota, roles, conversations, rates, usage, tasks },
    ...replaced,
    recogniser: observedRecogniser(replaced.recogniser ?? createRecogniser(config, log)),
    synthesiser: observedSynthesiser(replaced.synthesiser ?? createSynthesiser(config, log)),
    dialogue: observedDialogue(replaced.dialogue ?? createDialogue(config, log)),
  };
  return {
    ...services,
    close: async () => {
      tasks.stop();
      subscriber.disconnect();
      await Promise.all(
        [services.recogniser, services.synthesiser, services.dialogue].map(async (one) =>
          one.close?.(),
        ),
      );
    },
  };
}
