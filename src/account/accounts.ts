import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Kysely } from 'kysely';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import type { Log } from '../log.js';
import { isUniqueViolation } from '../store/errors.js';
import type { Database, User, UserRow } from '../store/schema.js';
import { checkPassword, hashPassword, verifyPassword } from './passwords.js';
import { type ProfilePatch, checkProfile, checkUsername, normaliseUsername } from './profile.js';
import { LoginThrottle } from './throttle.js';
import { type Login, Tokens, type Verified, lockUser, toUser, userColumns } from './tokens.js';

export { type ProfileField, missingProfileFields } from './profile.js';

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

const firstSubscription = 'free';

/** Users, their passwords and their logins. */
export class Accounts {
  readonly #db: Kysely<Database>;
  readonly #config: Config['account'];
  readonly #log: Log;
  readonly #tokens: Tokens;
  readonly #throttle: LoginThrottle;
  /** Called when this process ended a login, or all of a user. */
  readonly onLoginEnd = new Set<() => void>();

  /** `redis` counts attempts to log in for all API processes together. */
  constructor(db: Kysely<Database>, config: Config, log: Log, redis?: Redis) {
    this.#db = db;
    this.#config = config.account;
    this.#log = log;
    this.#tokens = new Tokens(db, config, log);
    this.#throttle = new LoginThrottle(config, redis);
  }

  /** As `create`, for whoever asks: REGISTRATION_CLOSED, LOGIN_THROTTLED. */
  async register(person: Credentials & ProfilePatch, address?: string): Promise<Login> {
    if (!this.#config.registrationOpen) {
      throw new CodedError(
        'REGISTRATION_CLOSED',
        'this server takes no new accounts: ask whoever runs it for one',
      );
    }
    return this.create(person, address);
  }

  /** A new account and its first login; USERNAME_TAKEN, or BAD_REQUEST for what may not be. */
  async create(
    { username, password, ...profile }: Credentials & ProfilePatch,
    address?: string,
  ): Promise<Login> {
    const name = checkUsername(username);
    const checked = checkProfile({ display_name: username, ...profile });
    const secret = checkPassword(password);
    if (address !== undefined) await this.#throttle.attempt(address);
    const row: UserRow = {
      id: randomUUID(),
      username: name,
      display_name: checked.display_name ?? name,
      password_hash: await hashPassword(secret),
      subscription_type: firstSubscription,
      token_version: 0,
      nickname: checked.nickname ?? null,
      birth_year: checked.birth_year ?? null,
      birth_place: checked.birth_place ?? null,
      grew_up_place: checked.grew_up_place ?? null,
      occupation: checked.occupation ?? null,
      created_at: Date.now(),
    };
    try {
      return await this.#db.transaction().execute(async (trx) => {
        await trx.insertInto('users').values(row).execute();
        return this.#tokens.issue(trx, toUser(row));
      });
    } catch (error) {
      if (!isUniqueViolation(error)) throw error;
      throw new CodedError('USERNAME_TAKEN', `the username ${name} is taken: choose another`);
    }
  }

  /** LOGIN_FAILED without saying what was wrong; LOGIN_THROTTLED after too many of those. */
  async login({ username, password }: Credentials, address: string): Promise<Login> {
    const name = normaliseUsername(username);
    const row = await this.#authenticate(name, password, address);
    const rehashed = row.outdated ? await hashPassword(password) : undefined;
    const login = await this.#db.transaction().execute(async (trx) => {
      const locked = await lockUser(trx, row.id);
      // The password may have changed, or the account gone, while this one was compared.
      if (locked === undefined || locked.password_hash !== row.password_hash) throw loginFailed();
      if (rehashed !== undefined) {
        await trx
          .updateTable('users')
          .set({ password_hash: rehashed })
          .where('id', '=', row.id)
          .execute();
      }
      return this.#tokens.issue(trx, toUser(locked));
    });
    await this.#tokens
      .removeExpired(this.#db)
      .catch((err: unknown) => this.#log.warn({ err }, 'expired refresh tokens stay for now'));
    return login;
  }

  /** Takes a refresh token once; TOKEN_INVALID or TOKEN_EXPIRED. */
  async refresh(refreshToken: string): Promise<Login> {
    try {
      return await this.#tokens.rotate(refreshToken);
    } catch (error) {
      // One that was used before ends its login.
      this.#tellEnd();
      throw error;
    }
  }

  #tellEnd(): void {
    for (const told of this.onLoginEnd) told();
  }

  /** Which of these logins (`Verified.family`) have not ended. */
  livingLogins(families: readonly string[]): Promise<Set<string>> {
    return this.#tokens.living(families);
  }

  /**
   * Ends the login that either token belongs to, or all logins of its user. Tokens of a login that
   * has ended already are no error; without a token that was ever ours: TOKEN_INVALID.
   */
  async logout(
    token: { access: string } | { refresh: string },
    { everywhere = false }: { everywhere?: boolean } = {},
  ): Promise<void> {
    const login =
      'access' in token
        ? await this.#tokens
            .verify(token.access)
            .then(({ user, family }) => ({ userId: user.id, family }))
        : await this.#tokens.loginOf(token.refresh);
    if (login === undefined) return;
    if (everywhere) {
      await this.#db.transaction().execute((trx) => this.#tokens.endAll(trx, login.userId));
    } else {
      await this.#tokens.endLogin(login.userId, login.family);
    }
    this.#tellEnd();
  }

  /** The user of an access token; TOKEN_EXPIRED, TOKEN_INVALID. `expiresAt` in ms since 1970. */
  verifyAccess(token: string): Promise<Verified> {
    return this.#tokens.verify(token);
  }

  /**
   * Whose token an Authorization header holds, by its signature and time alone, for what need not
   * know whether the login has ended since.
   */
  async claimedUser(authorization: string): Promise<{ readonly id: string } | undefined> {
    const token = /^Bearer +(\S{1,4096})$/i.exec(authorization)?.[1];
    return token === undefined ? undefined : this.#tokens.claimedUser(token);
  }

  async find(id: string): Promise<User | undefined> {
    return this.#db.selectFrom('users').select(userColumns).where('id', '=', id).executeTakeFirst();
  }

  async list(): Promise<User[]> {
    return this.#db.selectFrom('users').select(userColumns).orderBy('username').execute();
  }

  async updateProfile(id: string, patch: ProfilePatch): Promise<User> {
    const checked = checkProfile(patch);
    const user =
      Object.keys(checked).length === 0
        ? await this.find(id)
        : await this.#db
            .updateTable('users')
            .set(checked)
            .where('id', '=', id)
            .returning(userColumns)
            .executeTakeFirst();
    if (user === undefined) throw gone();
    return user;
  }

  /** Ends all logins; the answer is a new one. LOGIN_FAILED when `current` is wrong. */
  async changePassword(
    user: Pick<User, 'username'>,
    { current, next }: { current: string; next: string },
    address: string,
  ): Promise<Login> {
    const secret = checkPassword(next);
    const row = await this.#authenticate(user.username, current, address);
    const hashed = await hashPassword(secret);
    const login = await this.#db.transaction().execute(async (trx) => {
      const locked = await lockUser(trx, row.id);
      if (locked?.password_hash !== row.password_hash) throw loginFailed();
      await this.#tokens.endAll(trx, row.id);
      const changed = await trx
        .updateTable('users')
        .set({ password_hash: hashed })
        .where('id', '=', row.id)
        .returning(userColumns)
        .executeTakeFirstOrThrow();
      return this.#tokens.issue(trx, changed);
    });
    this.#tellEnd();
    return login;
  }

  /** For a user who forgot it; ends all logins. NOT_FOUND for an unknown name. */
  async resetPassword(username: string, next: string): Promise<User> {
    const hashed = await hashPassword(checkPassword(next));
    return this.#db.transaction().execute(async (trx) => {
      const user = await trx
        .updateTable('users')
        .set({ password_hash: hashed })
        .where('username', '=', normaliseUsername(username))
        .returning(userColumns)
        .executeTakeFirst();
      if (user === undefined) throw unknownUser(username);
      await this.#tokens.endAll(trx, user.id);
      return user;
    });
  }

  /** Deletes the account with its roles, portraits, conversations and use. */
  async remove(user: Pick<User, 'username'>, password: string, address: string): Promise<void> {
    const { id } = await this.#authenticate(user.username, password, address);
    await this.#db.transaction().execute(async (trx) => {
      const portraits = await trx
        .selectFrom('roles')
        .select('portrait_id')
        .where('owner_id', '=', id)
        .execute();
      await trx.deleteFrom('users').where('id', '=', id).execute();
      const ids = portraits.map((row) => row.portrait_id).filter((portrait) => portrait !== null);
      if (ids.length === 0) return;
      await trx
        .deleteFrom('portraits')
        .where('id', 'in', ids)
        .where((eb) =>
          eb.not(
            eb.exists(
              eb
                .selectFrom('roles')
                .select('roles.id')
                .whereRef('roles.portrait_id', '=', 'portraits.id'),
            ),
          ),
        )
        .execute();
    });
    this.#tellEnd();
    this.#log.info({ user: id }, 'an account was deleted');
  }

  /** Sets what the user may use a day (QUOTAS); NOT_FOUND for an unknown name. */
  async setSubscription(username: string, type: string): Promise<User> {
    if (!/^[a-z0-9_-]{1,64}$/.test(type)) {
      throw new CodedError(
        'BAD_REQUEST',
        `a subscription type has lower-case letters, digits, "-" and "_", unlike ${JSON.stringify(type)}`,
      );
    }
    const user = await this.#db
      .updateTable('users')
      .set({ subscription_type: type })
      .where('username', '=', normaliseUsername(username))
      .returning(userColumns)
      .executeTakeFirst();
    if (user === undefined) throw unknownUser(username);
    return user;
  }

  /** The user whose password this is; counts the attempt. */
  async #authenticate(
    name: string,
    password: string,
    address: string,
  ): Promise<UserRow & { outdated: boolean }> {
    await this.#throttle.attempt(address, name);
    const row = await this.#db
      .selectFrom('users')
      .selectAll()
      .where('username', '=', name)
      .executeTakeFirst();
    const { matches, outdated } = await verifyPassword(password, row?.password_hash);
    if (row === undefined || !matches) throw loginFailed();
    await this.#throttle.succeeded(address, name);
    return { ...row, outdated };
  }
}

function loginFailed(): CodedError {
  return new CodedError('LOGIN_FAILED', 'the username or the password is wrong');
}

function unknownUser(username: string): CodedError {
  return new CodedError('NOT_FOUND', `there is no user ${JSON.stringify(username)}`);
}

function gone(): CodedError {
  return new CodedError('TOKEN_INVALID', 'the account of this token was deleted');
}
