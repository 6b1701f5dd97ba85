import { createHash, createSecretKey, randomBytes, randomUUID, type KeyObject } from 'node:crypto';
import { SignJWT, errors, jwtVerify } from 'jose';
import type { Kysely, Transaction } from 'kysely';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import type { Log } from '../log.js';
import type { Database, User, UserRow } from '../store/schema.js';
import { tokenSecret } from './secret.js';

const issuer = 'echomimic-server';
const audience = 'echomimic-server';
const algorithm = 'HS256';
/** Logins in one query; databases take so many parameters. */
const askedAtOnce = 500;

export const userColumns = [
  'id',
  'username',
  'display_name',
  'subscription_type',
  'token_version',
  'nickname',
  'birth_year',
  'birth_place',
  'grew_up_place',
  'occupation',
  'created_at',
] as const satisfies readonly (keyof User)[];

/** Tokens of one login as a client gets them. */
export interface Login {
  readonly user: User;
  readonly accessToken: string;
  readonly refreshToken: string;
  /** Seconds that the access token holds. */
  readonly expiresIn: number;
}

export interface Verified {
  readonly user: User;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
  /** The login that the token belongs to. */
  readonly family: string;
}

/** Signs and checks access tokens; keeps refresh tokens, each good for one use. */
export class Tokens {
  readonly #db: Kysely<Database>;
  readonly #config: Config['account'];
  readonly #log: Log;
  readonly #key: KeyObject;

  constructor(db: Kysely<Database>, config: Config, log: Log) {
    this.#db = db;
    this.#config = config.account;
    this.#log = log;
    this.#key = createSecretKey(tokenSecret(config), 'utf8');
  }

  /** Tokens of a new login, or the next ones of the login `family`. */
  async issue(db: Transaction<Database>, user: User, family?: string): Promise<Login> {
    const now = Date.now();
    const login = family ?? randomUUID();
    const refreshToken = randomBytes(32).toString('base64url');
    await db
      .insertInto('refresh_tokens')
      .values({
        id: randomUUID(),
        user_id: user.id,
        family: login,
        token_hash: hash(refreshToken),
        used_at: null,
        expires_at: now + this.#config.refreshTokenMs,
        created_at: now,
      })
      .execute();
    const expiresAt = Math.ceil((now + this.#config.accessTokenMs) / 1000);
    const accessToken = await new SignJWT({
      type: 'access',
      ver: user.token_version,
      sid: login,
    })
      .setProtectedHeader({ alg: algorithm, typ: 'JWT' })
      .setSubject(user.id)
      .setIssuer(issuer)
      .setAudience(audience)
      .setJti(randomUUID())
      .setIssuedAt(Math.floor(now / 1000))
      .setExpirationTime(expiresAt)
      .sign(this.#key);
    return {
      user,
      accessToken,
      refreshToken,
      expiresIn: Math.max(1, Math.floor(expiresAt - now / 1000)),
    };
  }

  /** The user of an access token; TOKEN_EXPIRED, or TOKEN_INVALID for anything else. */
  async verify(token: string): Promise<Verified> {
    const claims = await this.#claimsOf(token);
    // A login that ended has no refresh token left, and its access tokens end with it.
    const user = await this.#db
      .selectFrom('users')
      .select(userColumns)
      .where('id', '=', claims.sub)
      .where((eb) =>
        eb.exists(
          eb
            .selectFrom('refresh_tokens')
            .select('refresh_tokens.id')
            .whereRef('refresh_tokens.user_id', '=', 'users.id')
            .where('refresh_tokens.family', '=', claims.sid),
        ),
      )
      .executeTakeFirst();
    if (user === undefined || user.token_version !== claims.ver) throw revoked();
    return { user, expiresAt: claims.exp * 1000, family: claims.sid };
  }

  /** Of a token that is ours and holds, whether its login has ended or not. */
  async claimedUser(token: string): Promise<{ readonly id: string } | undefined> {
    try {
      return { id: (await this.#claimsOf(token)).sub };
    } catch (error) {
      if (error instanceof CodedError) return undefined;
      throw error;
    }
  }

  async #claimsOf(token: string): Promise<{ sub: string; sid: string; ver: number; exp: number }> {
    try {
      const { payload } = await jwtVerify(token, this.#key, {
        algorithms: [algorithm],
        issuer,
        audience,
        requiredClaims: ['sub', 'exp', 'jti'],
      });
      const { sub, sid, ver, exp, type } = payload;
      if (
        type === 'access' &&
        typeof sub === 'string' &&
        typeof sid === 'string' &&
        typeof ver === 'number' &&
        typeof exp === 'number'
      ) {
        return { sub, sid, ver, exp };
      }
    } catch (error) {
      if (error instanceof errors.JWTExpired) {
        throw new CodedError('TOKEN_EXPIRED', 'the access token has expired: refresh it');
      }
      if (!(error instanceof errors.JOSEError)) throw error;
    }
    throw new CodedError('TOKEN_INVALID', 'this is not an access token of this server: log in');
  }

  /**
   * New tokens for a refresh token, which is used up. One that comes back ends its whole login:
   * either its owner or a thief has the later ones.
   */
  async rotate(refreshToken: string): Promise<Login> {
    const outcome = await this.#db.transaction().execute(async (trx) => {
      const found = await this.#find(trx, refreshToken);
      const user = found && (await lockUser(trx, found.user_id));
      // Read again: whoever held the lock may have used it or ended its login.
      const token = user && (await this.#find(trx, refreshToken));
      if (user === undefined || token === undefined) return 'unknown';
      if (token.used_at !== null) {
        await trx.deleteFrom('refresh_tokens').where('family', '=', token.family).execute();
        this.#log.warn({ user: user.id }, 'a used refresh token came back: its login was ended');
        return 'reused';
      }
      if (token.expires_at <= Date.now()) return 'expired';
      await trx
        .updateTable('refresh_tokens')
        .set({ used_at: Date.now() })
        .where('id', '=', token.id)
        .execute();
      return this.issue(trx, toUser(user), token.family);
    });
    if (outcome === 'expired') {
      throw new CodedError('TOKEN_EXPIRED', 'the refresh token has expired: log in again');
    }
    if (outcome === 'unknown' || outcome === 'reused') {
      throw new CodedError(
        'TOKEN_INVALID',
        outcome === 'unknown'
          ? 'this is not a refresh token of this server, or its login has ended: log in again'
          : 'the refresh token was used before, so its login was ended: log in again',
      );
    }
    return outcome;
  }

  /** Which of these logins have not ended. */
  async living(families: readonly string[]): Promise<Set<string>> {
    const living = new Set<string>();
    for (let at = 0; at < families.length; at += askedAtOnce) {
      const rows = await this.#db
        .selectFrom('refresh_tokens')
        .select('family')
        .distinct()
        .where('family', 'in', families.slice(at, at + askedAtOnce))
        .execute();
      for (const { family } of rows) living.add(family);
    }
    return living;
  }

  /** Which login a refresh token belongs to; undefined when it is not (or no longer) known. */
  async loginOf(refreshToken: string): Promise<{ userId: string; family: string } | undefined> {
    const token = await this.#find(this.#db, refreshToken);
    return token && { userId: token.user_id, family: token.family };
  }

  /** Ends one login: its access tokens are void at once. */
  async endLogin(userId: string, family: string): Promise<void> {
    await this.#db.transaction().execute(async (trx) => {
      await lockUser(trx, userId);
      await trx
        .deleteFrom('refresh_tokens')
        .where('user_id', '=', userId)
        .where('family', '=', family)
        .execute();
    });
  }

  /** Ends every login of the user. */
  async endAll(trx: Transaction<Database>, userId: string): Promise<void> {
    await trx
      .updateTable('users')
      .set((eb) => ({ token_version: eb('token_version', '+', 1) }))
      .where('id', '=', userId)
      .execute();
    await trx.deleteFrom('refresh_tokens').where('user_id', '=', userId).execute();
  }

  /** Forgets refresh tokens that nobody can use any more. */
  async removeExpired(db: Kysely<Database>): Promise<void> {
    const before = Date.now() - this.#config.accessTokenMs;
    await db.deleteFrom('refresh_tokens').where('expires_at', '<', before).execute();
  }

  #find(db: Kysely<Database>, refreshToken: string) {
    return db
      .selectFrom('refresh_tokens')
      .selectAll()
      .where('token_hash', '=', hash(refreshToken))
      .executeTakeFirst();
  }
}

/** The user's row, held until the transaction ends, so that changes of logins come one by one. */
export function lockUser(trx: Transaction<Database>, id: string): Promise<UserRow | undefined> {
  return trx
    .updateTable('users')
    .set((eb) => ({ token_version: eb.ref('token_version') }))
    .where('id', '=', id)
    .returning([...userColumns, 'password_hash'])
    .executeTakeFirst();
}

/** Without the hash of the password. */
export function toUser({ password_hash: _hash, ...user }: UserRow): User {
  return user;
}

function revoked(): CodedError {
  return new CodedError('TOKEN_INVALID', 'the login of this token has ended: log in again');
}

function hash(refreshToken: string): string {
  return createHash('sha256').update(refreshToken).digest('base64url');
}
