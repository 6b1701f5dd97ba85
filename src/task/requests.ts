import { type Static, Type } from 'typebox';
import type { Config } from '../config.js';
import { readJson } from '../json.js';
import { keys } from '../queue/keys.js';
import type { Redis } from '../queue/redis.js';
import { newRender } from './http-schema.js';

const request = Type.Object({
  ...newRender.properties,
  /** Without one the task belongs to whoever knows its id. */
  user: Type.Optional(Type.String()),
  created_at: Type.String(),
});
export type RenderRequest = Static<typeof request>;

/** What was asked for over HTTP and by whom, in Redis, so that every API process knows. */
export class RenderRequests {
  readonly #redis: Redis;
  readonly #keptMs: number;

  constructor(redis: Redis, { tempFiles, tasks }: Pick<Config, 'tempFiles' | 'tasks'>) {
    this.#redis = redis;
    // A task that waits longer than its files live comes to nothing.
    this.#keptMs = Math.ceil(tempFiles.expiryMs + tasks.stateMs);
  }

  async add(taskId: string, asked: RenderRequest): Promise<void> {
    const writing = this.#redis
      .multi()
      .set(keys.request(taskId), JSON.stringify(asked), 'PX', this.#keptMs);
    if (asked.user !== undefined) {
      const theirs = keys.requestsOf(asked.user);
      writing
        .zadd(theirs, Date.parse(asked.created_at), taskId)
        .zremrangebyscore(theirs, 0, Date.now() - this.#keptMs)
        .pexpire(theirs, this.#keptMs);
    }
    await writing.exec();
  }

  async remove(taskId: string, { user }: RenderRequest): Promise<void> {
    await this.#redis.del(keys.request(taskId));
    if (user !== undefined) await this.#redis.zrem(keys.requestsOf(user), taskId);
  }

  /** Undefined for a task that was not asked for over HTTP. */
  async find(taskId: string): Promise<RenderRequest | undefined> {
    return readJson(request, await this.#redis.get(keys.request(taskId)));
  }

  /** A user's tasks, the newest first. */
  async of(
    user: string,
    { page, pageSize }: { page: number; pageSize: number },
  ): Promise<{ ids: string[]; total: number }> {
    const theirs = keys.requestsOf(user);
    await this.#redis.zremrangebyscore(theirs, 0, Date.now() - this.#keptMs);
    const first = (page - 1) * pageSize;
    const [ids, total] = await Promise.all([
      this.#redis.zrevrange(theirs, first, first + pageSize - 1),
      this.#redis.zcard(theirs),
    ]);
    return { ids, total };
  }
}
