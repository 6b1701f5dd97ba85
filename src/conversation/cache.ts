import { Type } from 'typebox';
import type { Config } from '../config.js';
import { readJson } from '../json.js';
import type { Log } from '../log.js';
import { type Redis, inTime } from '../queue/redis.js';
import type { MessageRow } from '../store/schema.js';

/** How many messages of a conversation a model is given, and the cache holds. */
export const contextMessages = 40;

export type CachedMessage = Pick<MessageRow, 'id' | 'speaker' | 'text'>;

/** The database answers in a few milliseconds: a Redis that takes longer is of no use here. */
const answerMs = 500;
const restMs = 1000;
const entry = Type.Tuple([Type.String(), Type.String(), Type.String()]);

/**
 * Adds messages to the list, if it ends with the message before them, and otherwise drops it: it
 * missed something. A list that is not there is begun only by the first messages of all.
 */
const appendScript = `
local previous, ttl, bound = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('TYPE', KEYS[1]).ok ~= 'list' then redis.call('DEL', KEYS[1]) end
local tail = redis.call('LINDEX', KEYS[1], -1)
local ends = ''
if tail then ends = cjson.decode(tail)[1] end
if ends ~= previous then redis.call('DEL', KEYS[1]) end
if ends ~= previous and previous ~= '' then return 0 end
for i = 4, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[i]) end
redis.call('LTRIM', KEYS[1], -bound, -1)
redis.call('PEXPIRE', KEYS[1], ttl)
return 1`;

const replaceScript = `
redis.call('DEL', KEYS[1])
for i = 2, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1`;

/**
 * The last messages of conversations in Redis, one list each. A list always is an unbroken run of
 * messages; whether it is the newest one tells its last id, which the reader compares with the
 * database's. So nothing that happened to Redis meanwhile gives a wrong history, and without Redis
 * everything is as if nothing were cached.
 */
export class HistoryCache {
  readonly #redis: Redis | undefined;
  readonly #ttlMs: number;
  readonly #log: Log;
  #restUntil = 0;

  constructor(redis: Redis | undefined, config: Config, log: Log) {
    this.#redis = redis;
    this.#ttlMs = Math.ceil(config.historyCacheMs);
    this.#log = log;
  }

  static key(conversationId: string): string {
    return `conversation_history:${conversationId}`;
  }

  /** Oldest first; undefined when it is not there or does not end with the message `lastId`. */
  async read(conversationId: string, lastId: string): Promise<CachedMessage[] | undefined> {
    const list = await this.#attempt((redis) =>
      redis.lrange(HistoryCache.key(conversationId), 0, -1),
    );
    const messages = list?.map(parse);
    return messages?.at(-1)?.id === lastId && messages.every((message) => message !== undefined)
      ? messages
      : undefined;
  }

  /** `previousId` is the message before the new ones; undefined when they are the first. */
  async append(
    conversationId: string,
    previousId: string | undefined,
    messages: readonly CachedMessage[],
  ): Promise<void> {
    if (messages.length === 0) return;
    await this.#attempt((redis) =>
      redis.eval(
        appendScript,
        1,
        HistoryCache.key(conversationId),
        previousId ?? '',
        this.#ttlMs,
        contextMessages,
        ...messages.map(write),
      ),
    );
  }

  async replace(conversationId: string, messages: readonly CachedMessage[]): Promise<void> {
    const kept = messages.slice(-contextMessages).map(write);
    await this.#attempt((redis) =>
      redis.eval(replaceScript, 1, HistoryCache.key(conversationId), this.#ttlMs, ...kept),
    );
  }

  async drop(conversationId: string): Promise<void> {
    await this.#attempt((redis) => redis.del(HistoryCache.key(conversationId)));
  }

  /** Undefined when Redis is away, or slow: then it is left alone for a while. */
  async #attempt<T>(work: (redis: Redis) => Promise<T>): Promise<T | undefined> {
    const redis = this.#redis;
    if (redis?.status !== 'ready' || Date.now() < this.#restUntil) return undefined;
    try {
      return await inTime(work(redis), answerMs);
    } catch (err) {
      this.#log.warn({ err }, 'the history cache failed; the database answers');
      // What Redis itself refuses concerns one key, not the line to it.
      if ((err as Error).name !== 'ReplyError') this.#restUntil = Date.now() + restMs;
      return undefined;
    }
  }
}

function write({ id, speaker, text }: CachedMessage): string {
  return JSON.stringify([id, speaker, text]);
}

function parse(text: string): CachedMessage | undefined {
  const found = readJson(entry, text);
  return found && { id: found[0], speaker: found[1], text: found[2] };
}
