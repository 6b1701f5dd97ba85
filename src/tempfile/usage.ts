import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import { type Owner, allowance } from '../limit/rates.js';
import { type Redis, inTime } from '../queue/redis.js';

/** How long a Redis that does not answer is waited for before this process counts alone. */
const answerMs = 250;
const MiB = 1024 * 1024;

/** What is counted of a file. */
export interface Use {
  readonly id: string;
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

const keys = {
  /** Sorted set of `BYTES:ID` by the time at which the file expires. */
  files: (owner: Owner) => `storage_files:${owner}`,
  bytes: (owner: Owner) => `storage_bytes:${owner}`,
  /** Bytes and owner of a file, parted by a space. */
  owner: (id: string) => `storage_owner:${id}`,
} as const;

/** 1 when the file is counted, 0 when it would be too much. */
const addScript = `
local files, total, owner = unpack(KEYS)
local id, bytes, expires, now, limit, name = unpack(ARGV)
if redis.call('EXISTS', owner) == 1 then return 1 end
for _, old in ipairs(redis.call('ZRANGEBYSCORE', files, '-inf', now)) do
  redis.call('DECRBY', total, string.match(old, '^%d+'))
  redis.call('ZREM', files, old)
end
local used = tonumber(redis.call('GET', total) or 0)
if tonumber(limit) > 0 and used + tonumber(bytes) > tonumber(limit) then return 0 end
if bytes == '0' then return 1 end
redis.call('ZADD', files, expires, bytes .. ':' .. id)
redis.call('INCRBY', total, bytes)
redis.call('SET', owner, bytes .. ' ' .. name, 'PXAT', expires)
for _, key in ipairs({files, total}) do
  if redis.call('PTTL', key) < expires - now then redis.call('PEXPIREAT', key, expires) end
end
return 1`;

const removeScript = `
local files, total, owner = unpack(KEYS)
local bytes = string.match(redis.call('GET', owner) or '', '^%d+')
if not bytes then return 0 end
redis.call('DEL', owner)
if redis.call('ZREM', files, bytes .. ':' .. ARGV[1]) == 1 then
  if redis.call('DECRBY', total, bytes) <= 0 then redis.call('DEL', total) end
end
return 1`;

/** The bytes of temp files that each user, or address without an account, has on the server. */
export class StorageUse {
  readonly #limit: number;
  readonly #redis: Redis | undefined;
  readonly #here = new UseHere();

  constructor({ limits }: Pick<Config, 'limits'>, redis?: Redis) {
    this.#limit = limits.storageBytesPerUser;
    this.#redis = redis;
  }

  /** Before anything is received: STORAGE_QUOTA_EXCEEDED when nothing more of `bytes` fits. */
  async check(owner: Owner, bytes: number): Promise<void> {
    await this.#add(owner, { id: '', bytes: 0, expiresAt: 0 }, bytes);
  }

  /**
   * Counts a file; one that is counted already stays as it is. STORAGE_QUOTA_EXCEEDED, unless it
   * is there anyway.
   */
  async add(owner: Owner, use: Use, { isThere = false } = {}): Promise<void> {
    await this.#add(owner, use, isThere ? -Infinity : use.bytes);
  }

  async #add(owner: Owner, use: Use, wanted: number): Promise<void> {
    if (this.#limit === 0) return;
    const most = allowance(owner, this.#limit);
    // What is only asked about takes its room from the limit instead.
    const limit = wanted === -Infinity ? 0 : Math.max(1, most - (wanted - use.bytes));
    const names = [keys.files(owner), keys.bytes(owner), keys.owner(use.id)];
    const { id, bytes, expiresAt } = use;
    const fits =
      wanted <= most &&
      (await this.#ask(
        (redis) =>
          redis
            .eval(addScript, 3, ...names, id, bytes, expiresAt, Date.now(), limit, owner)
            .then((answer) => answer === 1),
        () => this.#here.add(owner, use, limit),
      ));
    if (fits) return;
    throw new CodedError(
      'STORAGE_QUOTA_EXCEEDED',
      `temp files of ${Math.floor(most / MiB)} MiB are kept for you at a time: delete some, or wait until they expire`,
    );
  }

  /** For files that are deleted, whoever had them. */
  async remove(ids: readonly string[]): Promise<void> {
    if (this.#limit === 0) return;
    for (const id of ids) {
      this.#here.remove(id);
      await this.#ask(
        async (redis) => {
          const [, owner] = /^\d+ (.*)$/.exec((await redis.get(keys.owner(id))) ?? '') ?? [];
          if (owner === undefined) return;
          const names = [keys.files(owner as Owner), keys.bytes(owner as Owner), keys.owner(id)];
          await redis.eval(removeScript, 3, ...names, id);
        },
        () => undefined,
      );
    }
  }

  async #ask<T>(there: (redis: Redis) => Promise<T>, here: () => T): Promise<T> {
    if (this.#redis?.status !== 'ready') return here();
    return inTime(there(this.#redis), answerMs).catch(here);
  }
}

/** The same in this process, for when there is no Redis. */
class UseHere {
  readonly #files = new Map<string, Use & { readonly owner: Owner }>();

  add(owner: Owner, use: Use, limit: number): boolean {
    if (this.#files.has(use.id)) return true;
    const now = Date.now();
    let used = 0;
    for (const [id, file] of this.#files) {
      if (file.expiresAt <= now) this.#files.delete(id);
      else if (file.owner === owner) used += file.bytes;
    }
    if (limit > 0 && used + use.bytes > limit) return false;
    if (use.bytes > 0) this.#files.set(use.id, { ...use, owner });
    return true;
  }

  remove(id: string): void {
    this.#files.delete(id);
  }
}
