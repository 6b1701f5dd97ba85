import t, { type Test } from 'tap';
import { HistoryCache } from '../../src/conversation/cache.js';
import { Conversations } from '../../src/conversation/conversations.js';
import { createLog } from '../../src/log.js';
import { connectRedis } from '../../src/queue/redis.js';
import { signIn } from '../helpers/account.js';
import { type TestDatabase, databases } from '../helpers/database.js';
import { startRedis, until } from '../helpers/redis.js';

const log = createLog('silent');

async function setUp(t: Test, database: TestDatabase) {
  const server = await startRedis(t);
  const db = await database.open();
  const config = server.config({ DATABASE_URL: database.url, HISTORY_CACHE_HOURS: '1' });
  const redis = connectRedis(config, log);
  t.teardown(() => redis.disconnect());
  await until(() => redis.status === 'ready', 'the connection');
  const cached = new Conversations(db, redis, config, log);
  const plain = new Conversations(db, undefined, config, log);
  const { user } = await signIn(db, config);
  await cached.open('c', user);
  const say = (n: number, to = cached) =>
    to.recordTurn('c', { turnId: `${n}`, user: `q${n}`, ai: [`a${n}`] });
  const key = HistoryCache.key('c');
  const list = async () => (await server.client.lrange(key, 0, -1)).map((text) => text.slice(40));
  /** What is read equals what the database holds. */
  const agree = async (why: string) =>
    t.same(await cached.history('c'), await plain.history('c'), why);
  return { ...server, db, redis, config, cached, plain, user, say, key, list, agree };
}

t.test('the cache holds what the database holds, or nothing', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const { client, cached, plain, user, say, key, list, agree } = await setUp(t, database);
      await say(0);
      t.equal((await list()).length, 2, 'a new conversation is cached as it is written');
      const ttl = await client.pttl(key);
      t.ok(ttl > 3_590_000 && ttl <= 3_600_000, `expires in ${ttl} ms`);
      await agree('after a turn');

      await client.del(key);
      await agree('after an eviction');
      t.equal((await list()).length, 2, 'it was rebuilt');
      await client.flushall();
      await say(1);
      t.equal(await client.exists(key), 0, 'a part of a history is no history');
      await agree('after a flush');
      t.equal((await list()).length, 4);

      await say(2, plain);
      t.equal((await list()).length, 4, 'a turn that the cache missed');
      await agree('stale');
      t.equal((await list()).length, 6);
      await say(3, plain);
      await say(4);
      t.equal(await client.exists(key), 0, 'a gap drops the list');
      await agree('after a gap');

      await client.rpush(key, JSON.stringify(['x', 'user', 'forged']));
      await agree('something else at the end');
      await client.rpush(key, 'no JSON');
      await agree('damaged');
      await say(5);
      await agree('a turn after damage');
      await client.del(key);
      await client.set(key, 'not a list');
      await say(6);
      await agree('another type');
      t.equal(await client.type(key), 'list');
      await client.set(key, 'not a list');
      await agree('another type again');

      for (let i = 7; i < 40; i++) await say(i);
      t.equal((await list()).length, 40, 'bounded');
      await agree('more than the cache holds');
      t.same(await cached.history('c', 60), await plain.history('c', 60), 'more than it holds');
      t.same(await cached.history('c', 3), await plain.history('c', 3));

      await cached.remove('c', user);
      t.equal(await client.exists(key), 0, 'deleted with the conversation');
    });
  }
});

t.test('it is the cache that answers', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const { client, cached, say, key } = await setUp(t, database);
      await say(0);
      const [first = ''] = await client.lrange(key, 0, 0);
      await client.lset(key, 0, first.replace('q0', 'from Redis'));
      t.same((await cached.history('c'))[0], { speaker: 'user', text: 'from Redis' });
    });
  }
});

t.test('a new database under an old Redis gets no old history', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const { db, cached, user, say, key, client } = await setUp(t, database);
      await say(0);
      await db.deleteFrom('conversations').execute();
      await cached.open('c', user);
      t.equal(await client.exists(key), 1);
      t.same(await cached.history('c'), []);
      await cached.recordTurn('c', { turnId: 'n', user: 'new', ai: ['start'] });
      t.same(await cached.history('c'), [
        { speaker: 'user', text: 'new' },
        { speaker: 'ai', text: 'start' },
      ]);
    });
  }
});

t.test('turns at once leave a true cache or none', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const { db, redis, config, cached, agree } = await setUp(t, database);
      const other = new Conversations(db, redis, config, log);
      for (let round = 0; round < 5; round++) {
        await Promise.all(
          Array.from({ length: 8 }, async (_, i) => {
            const one = i % 2 === 0 ? cached : other;
            await one.recordTurn('c', { turnId: `${round}.${i}`, user: `q${i}`, ai: [`a${i}`] });
            await one.history('c');
          }),
        );
        await agree(`round ${round}`);
      }
    });
  }
});

t.test('without Redis everything goes on', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const { server, redis, cached, say, agree } = await setUp(t, database);
      await say(0);
      await server.stop();
      await until(() => redis.status !== 'ready', 'the end of Redis');
      await say(1);
      await agree('while Redis is away');
      t.equal((await cached.history('c')).length, 4);
    });
  }
});

t.test('a Redis that hangs holds nothing up for long', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const { server, cached, say, agree } = await setUp(t, database);
      await say(0);
      const pid = server.pid as number;
      process.kill(pid, 'SIGSTOP');
      const start = performance.now();
      try {
        for (let i = 1; i < 5; i++) {
          await say(i);
          t.equal((await cached.history('c')).length, 2 * i + 2);
        }
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      const took = performance.now() - start;
      t.ok(took < 3500, `eight uses took ${took.toFixed(0)} ms: Redis is not asked each time`);
      await agree('whatever of it Redis did in the end');
    });
  }
});
