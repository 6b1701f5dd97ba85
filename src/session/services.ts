import type { Redis } from 'ioredis';
import type { Accounts } from '../account/accounts.js';
import type { Quota } from '../account/quota.js';
import type { Config } from '../config.js';
import type { Conversations } from '../conversation/conversations.js';
import type { Dialogue } from '../dialogue/dialogue.js';
import type { Rates } from '../limit/rates.js';
import type { Log } from '../log.js';
import type { Roles } from '../role/roles.js';
import type { Recogniser, Synthesiser } from '../speech/speech.js';
import type { Tasks } from '../task/tasks.js';
import type { TempFileStore } from '../tempfile/store.js';
import type { StorageUse } from '../tempfile/usage.js';

/** What sessions are made of. */
export interface SessionServices {
  readonly config: Config;
  readonly log: Log;
  readonly store: TempFileStore;
  readonly redis: Redis;
  readonly accounts: Accounts;
  readonly quota: Quota;
  readonly roles: Roles;
  readonly conversations: Conversations;
  readonly recogniser: Recogniser;
  readonly synthesiser: Synthesiser;
  readonly dialogue: Dialogue;
  readonly tasks: Tasks;
  readonly rates: Rates;
  readonly usage: StorageUse;
}
