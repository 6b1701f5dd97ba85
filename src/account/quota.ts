import { randomUUID } from 'node:crypto';
import type { Kysely, Transaction } from 'kysely';
import { isAlive } from '../alive.js';
import { type Config, type QuotaKind, quotaKinds } from '../config.js';
import { CodedError } from '../errors.js';
import { isForeignKeyViolation } from '../store/errors.js';
import type { Database, ReservationsTable, User } from '../store/schema.js';

export type Amounts = Partial<Record<QuotaKind, number>>;
type Customer = Pick<User, 'id' | 'subscription_type'>;

/** What was set aside for one turn. Closing it twice changes nothing more. */
export interface Reservation {
  /** Counts what was used instead; a kind that is not named keeps what was reserved. */
  settle(actual: Amounts): Promise<void>;
  /** Gives everything back. */
  release(): Promise<void>;
}

export interface Usage {
  /** UTC day, `YYYY-MM-DD` */
  readonly day: string;
  /** ISO 8601 time of the next UTC midnight */
  readonly resetsAt: string;
  /** `limit` null: not limited. */
  readonly kinds: Readonly<Record<QuotaKind, { used: number; limit: number | null }>>;
}

const fallbackSubscription = 'free';
const dayMs = 86_400_000;
const thousandths = 1000;
/** What nobody has settled by then is given back; a turn takes seconds, its video minutes. */
const reservedMs = 3_600_000;
/** Holds what is set aside for a task, which goes on when the process that took it ends. */
const taskHolder = 'task';
/** Tells this process from an earlier one with its number. */
const run = randomUUID();
const nouns: Readonly<Record<QuotaKind, string>> = {
  messages: 'messages',
  audio_seconds: 'seconds of audio',
  video_seconds: 'seconds of video',
};

/** What users may use on one UTC day, counted in the database. */
export class Quota {
  readonly #db: Kysely<Database>;
  readonly #quotas: Config['account']['quotas'];
  readonly #now: () => number;
  readonly #host: string;

  constructor(db: Kysely<Database>, config: Config, now: () => number = Date.now) {
    this.#db = db;
    this.#quotas = config.account.quotas;
    this.#now = now;
    this.#host = config.hostName;
  }

  /** Sets all amounts aside, or none: QUOTA_EXCEEDED says which limit and when it resets. */
  async reserve(user: Customer, amounts: Amounts): Promise<Reservation> {
    const day = dayOf(this.#now());
    const reserved = inThousandths(amounts);
    const id = randomUUID();
    const holder = `${this.#host}.${process.pid}.${run}`;
    const expires_at = this.#now() + reservedMs;
    await this.#setAside(user, reserved, { id, day, holder, expires_at });
    let closing: Promise<void> | undefined;
    const close = (actual: Amounts) => {
      closing ??= this.#adjust(user.id, id, day, reserved, inThousandths(actual)).catch(
        (error: unknown) => {
          closing = undefined;
          throw error;
        },
      );
      return closing;
    };
    return {
      settle: close,
      release: () => close(Object.fromEntries(Object.keys(reserved).map((kind) => [kind, 0]))),
    };
  }

  /**
   * The same for a task: whatever becomes of this process, it is set aside until `closeTask`, or
   * given back after `keptMs`.
   */
  async reserveForTask(
    user: Customer,
    amounts: Amounts,
    { id, keptMs }: { readonly id: string; readonly keptMs: number },
  ): Promise<void> {
    const now = this.#now();
    const row = { id, day: dayOf(now), holder: taskHolder, expires_at: now + keptMs };
    await this.#setAside(user, inThousandths(amounts), row);
  }

  /** Counts what was set aside for a task, or gives it back; the first who says so is right. */
  async closeTask(id: string, isUsed: boolean): Promise<void> {
    await this.#db.transaction().execute(async (trx) => {
      const held = trx.deleteFrom('reservations').where('id', '=', id);
      const rows = await held.where('holder', '=', taskHolder).returningAll().execute();
      if (!isUsed) await giveBack(trx, rows);
    });
  }

  async #setAside(
    user: Customer,
    reserved: Amounts,
    row: Pick<ReservationsTable, 'id' | 'day' | 'holder'> & { readonly expires_at: number },
  ): Promise<void> {
    const limits = this.#limitsOf(user);
    const { day } = row;
    const all = this.#db.transaction().execute(async (trx) => {
      await this.#reclaim(trx, user.id);
      // In one order for everybody, so that no two wait for each other.
      for (const kind of quotaKinds) {
        const amount = reserved[kind];
        if (amount === undefined) continue;
        const limit = limits[kind];
        if (!(await addWithin(trx, { user_id: user.id, day, kind, amount }, limit))) {
          throw await this.#exceeded(trx, user, kind, amount, limit ?? 0);
        }
        const values = { ...row, kind, user_id: user.id, amount };
        await trx.insertInto('reservations').values(values).execute();
      }
    });
    await all.catch((error: unknown) => {
      if (!isForeignKeyViolation(error)) throw error;
      throw new CodedError('TOKEN_INVALID', 'the account was deleted');
    });
  }

  /** Today's use and limits. */
  async usage(user: Customer): Promise<Usage> {
    const now = this.#now();
    const day = dayOf(now);
    await this.#db.transaction().execute((trx) => this.#reclaim(trx, user.id));
    const rows = await this.#db
      .selectFrom('usage')
      .select(['kind', 'amount'])
      .where('user_id', '=', user.id)
      .where('day', '=', day)
      .execute();
    const limits = this.#limitsOf(user);
    const kind = (name: QuotaKind) => ({
      used: (rows.find((row) => row.kind === name)?.amount ?? 0) / thousandths,
      limit: limits[name] ?? null,
    });
    return {
      day,
      resetsAt: resetOf(now),
      kinds: {
        messages: kind('messages'),
        audio_seconds: kind('audio_seconds'),
        video_seconds: kind('video_seconds'),
      },
    };
  }

  #limitsOf({ subscription_type: type }: Customer): Amounts {
    const named = Object.hasOwn(this.#quotas, type) ? type : fallbackSubscription;
    return Object.hasOwn(this.#quotas, named) ? (this.#quotas[named] ?? {}) : {};
  }

  /** Changes what was reserved to what was used, on the day of the reservation. */
  async #adjust(
    user: string,
    id: string,
    day: string,
    reserved: Amounts,
    actual: Amounts,
  ): Promise<void> {
    const all = this.#db.transaction().execute(async (trx) => {
      const held = await trx
        .deleteFrom('reservations')
        .where('id', '=', id)
        .returning('kind')
        .execute();
      for (const kind of quotaKinds) {
        const used = actual[kind] ?? reserved[kind];
        if (used === undefined) continue;
        // What took so long that it was given back is counted whole.
        const counted = held.some((row) => row.kind === kind) ? (reserved[kind] ?? 0) : 0;
        const amount = used - counted;
        if (amount !== 0) await addWithin(trx, { user_id: user, day, kind, amount });
      }
    });
    await all.catch((error: unknown) => {
      // An account that was deleted meanwhile took its counts with it.
      if (!isForeignKeyViolation(error)) throw error;
    });
  }

  /** Gives back what processes that ended had set aside for this user. */
  async #reclaim(trx: Transaction<Database>, user: string): Promise<void> {
    const held = await trx
      .selectFrom('reservations')
      .select(['id', 'holder', 'expires_at'])
      .where('user_id', '=', user)
      .execute();
    const lost = held.filter(
      ({ holder, expires_at }) => expires_at <= this.#now() || this.#isGone(holder),
    );
    if (lost.length === 0) return;
    const rows = await trx
      .deleteFrom('reservations')
      .where(
        'id',
        'in',
        lost.map(({ id }) => id),
      )
      .returningAll()
      .execute();
    await giveBack(trx, rows);
  }

  /** Of other machines only the time tells. */
  #isGone(holder: string): boolean {
    const [, host, pid, itsRun] = /^(.*)\.(\d+)\.([^.]+)$/.exec(holder) ?? [];
    if (host !== this.#host) return false;
    return Number(pid) === process.pid ? itsRun !== run : !isAlive(Number(pid));
  }

  async #exceeded(
    trx: Transaction<Database>,
    user: Customer,
    kind: QuotaKind,
    amount: number,
    limit: number,
  ): Promise<CodedError> {
    const now = this.#now();
    const row = await trx
      .selectFrom('usage')
      .select('amount')
      .where('user_id', '=', user.id)
      .where('day', '=', dayOf(now))
      .where('kind', '=', kind)
      .executeTakeFirst();
    const used = (row?.amount ?? 0) / thousandths;
    return new CodedError(
      'QUOTA_EXCEEDED',
      `the subscription "${user.subscription_type}" allows ${limit} ${nouns[kind]} a day; ` +
        `${used} are used and ${amount / thousandths} more were asked for: ` +
        `the count starts again at ${resetOf(now)}`,
      { retryAfterSeconds: Math.max(1, Math.ceil((Date.parse(resetOf(now)) - now) / 1000)) },
    );
  }
}

/** Takes what was set aside out of the counts again. */
async function giveBack(
  trx: Transaction<Database>,
  rows: readonly Pick<ReservationsTable, 'user_id' | 'day' | 'kind' | 'amount'>[],
): Promise<void> {
  for (const { user_id, day, kind, amount } of rows) {
    await addWithin(trx, { user_id, day, kind: kind as QuotaKind, amount: -amount });
  }
}

/** Adds to a count as long as it stays within `limit`; whether it did. One statement, so atomic. */
async function addWithin(
  trx: Transaction<Database>,
  row: { user_id: string; day: string; kind: QuotaKind; amount: number },
  limit?: number,
): Promise<boolean> {
  const most = limit === undefined ? undefined : limit * thousandths;
  if (most !== undefined && row.amount > most) return false;
  const { numInsertedOrUpdatedRows: changed } = await trx
    .insertInto('usage')
    .values(row)
    .onConflict((conflict) => {
      const update = conflict
        .columns(['user_id', 'day', 'kind'])
        .doUpdateSet((eb) => ({ amount: eb('usage.amount', '+', row.amount) }));
      return most === undefined
        ? update
        : update.where((eb) => eb(eb('usage.amount', '+', row.amount), '<=', most));
    })
    .executeTakeFirstOrThrow();
  return changed === 1n;
}

function inThousandths(amounts: Amounts): Amounts {
  const result: Amounts = {};
  for (const kind of quotaKinds) {
    const amount = amounts[kind];
    if (amount === undefined) continue;
    if (!Number.isFinite(amount) || amount < 0) {
      throw new CodedError('INTERNAL', `${amount} is no amount of ${kind}`);
    }
    result[kind] = Math.ceil(amount * thousandths - 1e-6);
  }
  return result;
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function resetOf(ms: number): string {
  return new Date((Math.floor(ms / dayMs) + 1) * dayMs).toISOString();
}
