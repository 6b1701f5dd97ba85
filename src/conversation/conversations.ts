import { randomUUID } from 'node:crypto';
import type { Kysely, Transaction } from 'kysely';
import type { Config } from '../config.js';
import type { Utterance } from '../dialogue/dialogue.js';
import { CodedError } from '../errors.js';
import type { Log } from '../log.js';
import type { Redis } from '../queue/redis.js';
import { isForeignKeyViolation } from '../store/errors.js';
import type { ConversationRow, Database, MessageRow, SegmentRow } from '../store/schema.js';
import { contains, oneLine } from '../store/text.js';
import { toStorableText } from '../store/values.js';
import { type CachedMessage, HistoryCache, contextMessages } from './cache.js';
import { conversationIdPattern } from './http-schema.js';
import { firstWords, properTitle } from './title.js';

export interface Participant {
  readonly id: string;
}

export interface Turn {
  readonly turnId: string;
  /** Undefined when the AI spoke first. */
  readonly user?: string | undefined;
  readonly ai: readonly string[];
}

export interface NewSegment {
  readonly text: string;
  readonly seconds?: number | undefined;
  readonly audioUrl?: string | undefined;
}

export interface ConversationSearch {
  /** Looked for in the title. */
  readonly q?: string | undefined;
  readonly status?: 'active' | 'ended' | undefined;
  /** From 1. */
  readonly page: number;
  readonly pageSize: number;
}

/** Positions, exclusive; without `after` the last messages before `before` are meant. */
export interface MessageRange {
  readonly before?: number | undefined;
  readonly after?: number | undefined;
  readonly limit: number;
}

const idPattern = new RegExp(conversationIdPattern);

/**
 * What people and roles said to each other. The database holds it; Redis holds the end of each
 * conversation, for models. Methods without a user expect an id that `open()` or `find()` let pass.
 */
export class Conversations {
  readonly #db: Kysely<Database>;
  readonly #cache: HistoryCache;
  readonly #mostPerUser: number;

  constructor(db: Kysely<Database>, redis: Redis | undefined, config: Config, log: Log) {
    this.#db = db;
    this.#mostPerUser = config.limits.conversationsPerUser;
    this.#cache = new HistoryCache(redis, config, log);
  }

  /**
   * The conversation to go on with, made when its id is new. `roleId` names a role that this user
   * may see; it becomes the conversation's. Fails with BAD_REQUEST (no proper id), FORBIDDEN
   * (someone else's), CONVERSATION_DELETED or TOO_MANY_CONVERSATIONS.
   */
  async open(
    id: string,
    user: Participant,
    { roleId }: { roleId?: string | undefined } = {},
  ): Promise<ConversationRow> {
    const row =
      (await this.#select(id)) ??
      (await this.#insert(id, user, { roleId })) ??
      (await this.#select(id));
    if (row === undefined) throw notFound();
    if (row.user_id !== user.id) {
      throw new CodedError('FORBIDDEN', 'this conversation belongs to someone else');
    }
    if (row.deleted_at !== null) throw deleted();
    if (roleId === undefined || roleId === row.role_id) return row;
    return this.#db
      .updateTable('conversations')
      .set({ role_id: roleId })
      .where('id', '=', id)
      .returningAll()
      .executeTakeFirstOrThrow();
  }

  /** CONVERSATION_EXISTS when the id is taken; TOO_MANY_CONVERSATIONS. */
  async create(
    user: Participant,
    options: {
      id?: string | undefined;
      title?: string | undefined;
      roleId?: string | undefined;
    } = {},
  ): Promise<ConversationRow> {
    const { id = randomUUID(), title, roleId } = options;
    const row = await this.#insert(id, user, { title: title && properTitle(title), roleId });
    if (row !== undefined) return row;
    throw new CodedError(
      'CONVERSATION_EXISTS',
      `the id ${id} is taken: choose another one, or leave it out`,
    );
  }

  /** CONVERSATION_NOT_FOUND also when it is someone else's; CONVERSATION_DELETED. */
  async find(id: string, user: Participant): Promise<ConversationRow> {
    const row = idPattern.test(id) ? await this.#select(id) : undefined;
    if (row === undefined || row.user_id !== user.id) throw notFound();
    if (row.deleted_at !== null) throw deleted();
    return row;
  }

  /** Those with the newest activity first. */
  async list(
    user: Participant,
    { q = '', status, page, pageSize }: ConversationSearch,
  ): Promise<{ conversations: ConversationRow[]; total: number }> {
    let found = this.#db
      .selectFrom('conversations')
      .where('user_id', '=', user.id)
      .where('deleted_at', 'is', null);
    if (status !== undefined) found = found.where('status', '=', status);
    if (q.trim() !== '') found = found.where((eb) => contains(eb.ref('title'), q.trim()));
    const { total } = await found
      .select((eb) => eb.fn.countAll().as('total'))
      .executeTakeFirstOrThrow();
    const conversations = await found
      .selectAll()
      .orderBy((eb) => eb.fn.coalesce('last_message_at', 'started_at'), 'desc')
      .orderBy('id')
      .limit(pageSize)
      .offset((page - 1) * pageSize)
      .execute();
    return { conversations, total: Number(total) };
  }

  async rename(id: string, user: Participant, title: string): Promise<ConversationRow> {
    await this.find(id, user);
    const row = await this.#db
      .updateTable('conversations')
      .set({ title: properTitle(title) })
      .where('id', '=', id)
      .where('deleted_at', 'is', null)
      .returningAll()
      .executeTakeFirst();
    return row ?? this.#refuse(id);
  }

  /** It is gone for its user; its rows go later (purge.ts). */
  async remove(id: string, user: Participant): Promise<void> {
    await this.find(id, user);
    await this.#db
      .updateTable('conversations')
      .set({ deleted_at: Date.now() })
      .where('id', '=', id)
      .where('deleted_at', 'is', null)
      .execute();
    await this.#cache.drop(id);
  }

  /** The last messages, oldest first, for a model. */
  async history(id: string, limit = contextMessages): Promise<Utterance[]> {
    const row = await this.#db
      .selectFrom('conversations as c')
      .where('c.id', '=', id)
      .select((eb) => [
        'c.deleted_at',
        eb
          .selectFrom('conversation_messages as m')
          .select('m.id')
          .whereRef('m.conversation_id', '=', 'c.id')
          .orderBy('m.position', 'desc')
          .limit(1)
          .as('last_id'),
      ])
      .executeTakeFirst();
    if (row === undefined) throw notFound();
    if (row.deleted_at !== null) throw deleted();
    if (row.last_id === null || limit <= 0) return [];
    const messages =
      (limit <= contextMessages ? await this.#cache.read(id, row.last_id) : undefined) ??
      (await this.#rebuild(id, Math.max(limit, contextMessages)));
    return messages.slice(-limit).map(utterance);
  }

  async #rebuild(id: string, limit: number): Promise<CachedMessage[]> {
    const messages = await this.messages(id, { limit });
    await this.#cache.replace(id, messages);
    return messages;
  }

  /**
   * Stores what was said in a turn, one after the other; empty texts are left out. A conversation
   * that had ended goes on.
   */
  async recordTurn(id: string, { turnId, user, ai }: Turn): Promise<void> {
    const said = [
      ...(user === undefined ? [] : [{ speaker: 'user', text: toStorableText(user) }]),
      ...ai.map((text) => ({ speaker: 'ai', text: toStorableText(text) })),
    ].filter(({ text }) => oneLine(text) !== '');
    const now = Date.now();
    const { previousId, messages } = await this.#db.transaction().execute(async (trx) => {
      // This first write locks the conversation: turns that end at once follow each other.
      const { title } = await this.#touch(trx, id, now);
      const previous = await trx
        .selectFrom('conversation_messages')
        .select(['id', 'position'])
        .where('conversation_id', '=', id)
        .orderBy('position', 'desc')
        .limit(1)
        .executeTakeFirst();
      const first = previous === undefined ? 0 : previous.position + 1;
      const messages: MessageRow[] = said.map((message, i) => ({
        ...message,
        id: randomUUID(),
        conversation_id: id,
        position: first + i,
        turn_id: turnId,
        created_at: now,
      }));
      if (messages.length > 0) {
        await trx.insertInto('conversation_messages').values(messages).execute();
      }
      const opening = said.find(({ speaker }) => speaker === 'user');
      if (title === null && opening !== undefined) {
        await trx
          .updateTable('conversations')
          .set({ title: firstWords(opening.text) })
          .where('id', '=', id)
          .execute();
      }
      return { previousId: previous?.id, messages };
    });
    await this.#cache.append(id, previousId, messages);
  }

  /** Ascending by position. */
  async messages(id: string, { before, after, limit }: MessageRange): Promise<MessageRow[]> {
    let found = this.#db
      .selectFrom('conversation_messages')
      .selectAll()
      .where('conversation_id', '=', id)
      .limit(limit);
    if (before !== undefined) found = found.where('position', '<', before);
    if (after !== undefined) {
      return found.where('position', '>', after).orderBy('position').execute();
    }
    return (await found.orderBy('position', 'desc').execute()).reverse();
  }

  async messageCount(id: string): Promise<number> {
    const [last] = await this.messages(id, { limit: 1 });
    return last === undefined ? 0 : last.position + 1;
  }

  /** Stores what the user said until now; the answer is the segment's id. */
  async addSegment(id: string, { text, seconds, audioUrl }: NewSegment): Promise<string> {
    const segment = {
      id: randomUUID(),
      conversation_id: id,
      transcript_text: text,
      audio_url: audioUrl ?? null,
      audio_duration_seconds: seconds ?? null,
      created_at: Date.now(),
    };
    await this.#db.transaction().execute(async (trx) => {
      await this.#touch(trx, id, segment.created_at);
      await trx.insertInto('segments').values(segment).execute();
    });
    return segment.id;
  }

  /** Segments that no reply has taken up yet, oldest first. */
  async waitingSegments(id: string): Promise<SegmentRow[]> {
    return this.#db
      .selectFrom('segments')
      .selectAll()
      .where('conversation_id', '=', id)
      .where('processed', '=', 0)
      .orderBy('created_at')
      .orderBy('id')
      .execute();
  }

  /** All that wait, when no ids are given. */
  async markProcessed(id: string, segmentIds?: readonly string[]): Promise<void> {
    if (segmentIds?.length === 0) return;
    let change = this.#db
      .updateTable('segments')
      .set({ processed: 1 })
      .where('conversation_id', '=', id)
      .where('processed', '=', 0);
    if (segmentIds !== undefined) change = change.where('id', 'in', segmentIds);
    await change.execute();
  }

  /** Ended, until someone writes to it again. */
  async end(id: string): Promise<void> {
    const ended = await this.#db
      .updateTable('conversations')
      .set((eb) => ({
        status: 'ended',
        ended_at: eb.fn.coalesce('ended_at', eb.val(Date.now())),
      }))
      .where('id', '=', id)
      .where('deleted_at', 'is', null)
      .returning('id')
      .executeTakeFirst();
    if (ended === undefined) await this.#refuse(id);
  }

  async #touch(
    trx: Transaction<Database>,
    id: string,
    now: number,
  ): Promise<Pick<ConversationRow, 'title'>> {
    const row = await trx
      .updateTable('conversations')
      .set({ last_message_at: now, status: 'active', ended_at: null })
      .where('id', '=', id)
      .where('deleted_at', 'is', null)
      .returning('title')
      .executeTakeFirst();
    return row ?? this.#refuse(id, trx);
  }

  async #refuse(id: string, db: Kysely<Database> = this.#db): Promise<never> {
    throw (await this.#select(id, db)) === undefined ? notFound() : deleted();
  }

  async #select(id: string, db: Kysely<Database> = this.#db): Promise<ConversationRow | undefined> {
    return db.selectFrom('conversations').selectAll().where('id', '=', id).executeTakeFirst();
  }

  /** For one more conversation of this user; deleted ones do not count. */
  async #checkRoom(user: Participant): Promise<void> {
    const most = this.#mostPerUser;
    if (most === 0) return;
    const { total } = await this.list(user, { page: 1, pageSize: 1 });
    if (total < most) return;
    throw new CodedError(
      'TOO_MANY_CONVERSATIONS',
      `an account has at most ${most} conversations: delete one first`,
    );
  }

  /** Undefined when the id is taken. */
  async #insert(
    id: string,
    user: Participant,
    { title, roleId }: { title?: string | undefined; roleId?: string | undefined },
  ): Promise<ConversationRow | undefined> {
    if (!idPattern.test(id)) {
      throw new CodedError(
        'BAD_REQUEST',
        'the id of a conversation has 1 to 128 letters, digits, dots, colons, dashes and underscores',
      );
    }
    await this.#checkRoom(user);
    try {
      return await this.#db
        .insertInto('conversations')
        .values({
          id,
          user_id: user.id,
          role_id: roleId ?? null,
          title: title ?? null,
          status: 'active',
          started_at: Date.now(),
        })
        .onConflict((conflict) => conflict.column('id').doNothing())
        .returningAll()
        .executeTakeFirst();
    } catch (error) {
      if (!isForeignKeyViolation(error) || roleId === undefined) throw error;
      throw new CodedError('ROLE_NOT_FOUND', 'the role has just been deleted', { cause: error });
    }
  }
}

function utterance({ speaker, text }: CachedMessage): Utterance {
  return { speaker: speaker === 'user' ? 'user' : 'ai', text };
}

function notFound(): CodedError {
  return new CodedError('CONVERSATION_NOT_FOUND', 'there is no such conversation');
}

function deleted(): CodedError {
  return new CodedError('CONVERSATION_DELETED', 'this conversation was deleted: begin another one');
}
