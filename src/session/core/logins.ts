import type { Accounts } from '../../account/accounts.js';
import { CodedError } from '../../errors.js';
import type { Log } from '../../log.js';

/** How often it is looked for logins that ended in another process, or by a command. */
const lookMs = 5000;

/** Tells which of the logins that are in use have ended: at once here, soon when elsewhere. */
export class LoginWatch {
  readonly #accounts: Accounts;
  readonly #log: Log;
  readonly #inUse: () => ReadonlySet<string>;
  readonly #ended: (loginIds: ReadonlySet<string>) => void;
  readonly #look = () => void this.look();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #isAgain = false;

  constructor(
    { accounts, log }: { readonly accounts: Accounts; readonly log: Log },
    inUse: () => ReadonlySet<string>,
    ended: (loginIds: ReadonlySet<string>) => void,
  ) {
    this.#accounts = accounts;
    this.#log = log;
    this.#inUse = inUse;
    this.#ended = ended;
  }

  start(): void {
    this.#timer = setInterval(this.#look, lookMs).unref();
    this.#accounts.onLoginEnd.add(this.#look);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#accounts.onLoginEnd.delete(this.#look);
    await this.#looking;
  }

  async look(): Promise<void> {
    // What ends while the answer is on its way is in the next one.
    this.#isAgain = this.#looking !== undefined;
    this.#looking ??= this.#compare().finally(() => {
      this.#looking = undefined;
      if (this.#isAgain) void this.look();
    });
    return this.#looking;
  }

  async #compare(): Promise<void> {
    const inUse = this.#inUse();
    if (inUse.size === 0) return;
    try {
      const living = await this.#accounts.livingLogins([...inUse]);
      const ended = new Set([...inUse].filter((id) => !living.has(id)));
      if (ended.size > 0) this.#ended(ended);
    } catch (err) {
      this.#log.warn({ err }, 'could not look which logins have ended; trying again');
    }
  }
}

export function loginEnded(): CodedError {
  return new CodedError('TOKEN_INVALID', 'the login of this session has ended: log in again');
}
