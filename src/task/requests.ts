import { type Static, Type } from 'typebox';
import type { Config } from '../config.js';
import { readJson } from '../json.js';
import { keys } from '../queue/keys.js';
import { type Redis, inTime } from '../queue/redis.js';
import { newRender } from './http-schema.js';

const request = Type.Object({
  ...newRender.properties,
  /** Without one the task belongs to whoever knows its id. */
  user: Type.Optional(Type.String()),
  /** For whom its video is counted; nobody for whoever is trusted. */
  owner: Type.Optional(Type.String()),
  created_at: Type.String(),
});
export type RenderRequest = Static<typeof request>;

/**
 * What was asked for over HTTP and by whom, in Redis, so that every API process knows. What asks a
 * Redis that does not answer throws REDIS_UNAVAILABLE.
 */
export class RenderRequests {
  readonly #redis: Redis;
  readonly keptMs: number;

  constructor(redis: Redis, { tempFiles, tasks }: Pick<Config, 'tempFiles' | 'tasks'>) {
    this.#redis = redis;
    // A task that waits longer than its files live comes to nothing.
    this.keptMs = Math.ceil(tempFiles.expiryMs + tasks.stateMs);
  }

  async add(taskId: string, asked: RenderRequest): Promise<void> {
    const writing = this.#redis
      .multi()
      .set(keys.request(taskId), JSON.stringify(asked), 'PX', this.keptMs)
      .zadd(keys.uncounted, Date.parse(asked.created_at), taskId);
    if (asked.user !== undefined) {
      const theirs = keys.requestsOf(asked.user);
      writing
        .zadd(theirs, Date.parse(asked.created_at), taskId)
        .zremrangebyscore(theirs, 0, Date.now() - this.keptMs)
        .pexpire(theirs, this.keptMs);
    }
    await inTime(writing.exec());
  }

  async remove(taskId: string, { user }: RenderRequest): Promise<void> {
    const removing = this.#redis.multi().del(keys.request(taskId)).zrem(keys.uncounted, taskId);
    if (user !== undefined) removing.zrem(keys.requestsOf(user), taskId);
    await inTime(removing.exec());
  }

  /** Those whose end nobody has counted yet, by the time (ms) at which they were asked for. */
  async uncounted(): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    const listed = await this.#redis.zrange(keys.uncounted, '0', '-1', 'WITHSCORES');
    for (let i = 0; i + 1 < listed.length; i += 2) {
      found.set(listed[i] as string, Number(listed[i + 1]));
    }
    return found;
  }

  async counted(taskId: string): Promise<void> {
    await this.#redis.zrem(keys.uncounted, taskId);
  }

  /** Undefined for a task that was not asked for over HTTP. */
  async find(taskId: string): Promise<RenderRequest | undefined> {
    return readJson(request, await inTime(this.#redis.get(keys.request(taskId))));
  }

  /** A user's tasks, the newest first. */
  async of(
    user: string,
    { page, pageSize }: { page: number; pageSize: number },
  ): Promise<{ ids: string[]; total: number }> {
    const theirs = keys.requestsOf(user);
    const first = (page - 1) * pageSize;
    const [, ids, total] = await inTime(
      Promise.all([
        this.#redis.zremrangebyscore(theirs, 0, Date.now() - this.keptMs),
        this.#redis.zrevrange(theirs, first, first + pageSize - 1),
        this.#redis.zcard(theirs),
      ]),
    );
    return { ids, total };
  }
}
