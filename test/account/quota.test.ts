import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { sql } from 'kysely';
import t from 'tap';
import { Quota } from '../../src/account/quota.js';
import { childEnvironment } from '../../src/config.js';
import { projectRoot } from '../../src/paths.js';
import { signIn } from '../helpers/account.js';
import { databases } from '../helpers/database.js';

const QUOTAS = 'free:messages=10,audio_seconds=60;pro:messages=1000';

void t.test('what is reserved counts until it is settled or given back', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      const config = database.config({ QUOTAS });
      const quota = new Quota(db, config, () => Date.parse('2026-11-22T10:00:00Z'));
      const { user } = await signIn(db, config);
      const used = async () => {
        const { kinds } = await quota.usage(user);
        return [kinds.messages.used, kinds.audio_seconds.used, kinds.video_seconds.used];
      };
      t.same(await quota.usage(user), {
        day: '2026-11-22',
        resetsAt: '2026-11-23T00:00:00.000Z',
        kinds: {
          messages: { used: 0, limit: 10 },
          audio_seconds: { used: 0, limit: 60 },
          video_seconds: { used: 0, limit: null },
        },
      });

      const first = await quota.reserve(user, { messages: 1, audio_seconds: 20 });
      t.same(await used(), [1, 20, 0]);
      await first.settle({ audio_seconds: 12.3, video_seconds: 5.05 });
      t.same(await used(), [1, 12.3, 5.05], 'a kind that is not named keeps what was reserved');
      await first.settle({ audio_seconds: 1 });
      await first.release();
      t.same(await used(), [1, 12.3, 5.05], 'a closed reservation stays as it is');

      const second = await quota.reserve(user, { messages: 2, audio_seconds: 0.1 });
      await Promise.all([second.release(), second.release(), second.settle({ messages: 9 })]);
      t.same(await used(), [1, 12.3, 5.05]);

      const third = await quota.reserve(user, { messages: 1 });
      await third.settle({ messages: 30 });
      t.same(await used(), [31, 12.3, 5.05], 'what was used counts, even beyond the limit');
      await t.rejects(quota.reserve(user, { messages: 1 }), {
        code: 'QUOTA_EXCEEDED',
        message: /allows 10 messages a day; 31 are used and 1 more .* at 2026-11-23T00:00:00.000Z/,
      });
    });
  }
});

void t.test('all kinds are reserved, or none', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      const config = database.config({ QUOTAS });
      const quota = new Quota(db, config);
      const { user } = await signIn(db, config);
      await t.rejects(quota.reserve(user, { messages: 1, audio_seconds: 60.001 }), {
        code: 'QUOTA_EXCEEDED',
        message: /allows 60 seconds of audio a day; 0 are used and 60\.001 more/,
      });
      t.equal((await quota.usage(user)).kinds.messages.used, 0);
      await quota.reserve(user, { messages: 1, audio_seconds: 60 });
      await t.rejects(quota.reserve(user, { audio_seconds: 0.001, messages: 1 }), {
        code: 'QUOTA_EXCEEDED',
      });
      t.equal((await quota.usage(user)).kinds.messages.used, 1);
      await t.rejects(quota.reserve(user, { messages: -1 }), { code: 'INTERNAL' });
    });
  }
});

void t.test('the subscription decides; an unknown one counts as free', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      const config = database.config({ QUOTAS });
      const quota = new Quota(db, config);
      const pro = await signIn(db, config, { subscription_type: 'pro' });
      const odd = await signIn(db, config, { subscription_type: 'constructor' });
      await quota.reserve(pro.user, { messages: 1000, audio_seconds: 1e6 });
      await quota.reserve(odd.user, { messages: 10 });
      await t.rejects(quota.reserve(pro.user, { messages: 1 }), { code: 'QUOTA_EXCEEDED' });
      await t.rejects(quota.reserve(odd.user, { messages: 1 }), { code: 'QUOTA_EXCEEDED' });
    });
  }
});

void t.test('a hundred reservations at once never pass the limit', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const [db, other] = [await database.open(), await database.open()];
      const config = database.config({ QUOTAS });
      const [first, second] = [new Quota(db, config), new Quota(other, config)];
      const { user } = await signIn(db, config);
      const results = await Promise.allSettled(
        Array.from({ length: 100 }, (_, i) =>
          (i % 2 === 0 ? first : second).reserve(user, {
            messages: 1,
            audio_seconds: 8,
            video_seconds: 1,
          }),
        ),
      );
      const granted = results.filter(({ status }) => status === 'fulfilled');
      t.equal(granted.length, 7, '7 of 8 s each are within 60 s');
      for (const result of results) {
        if (result.status === 'rejected') t.match(result.reason, { code: 'QUOTA_EXCEEDED' });
      }
      t.match((await first.usage(user)).kinds, {
        messages: { used: 7 },
        audio_seconds: { used: 56 },
        video_seconds: { used: 7 },
      });
      await Promise.all(
        results.map(async (result) => {
          if (result.status === 'fulfilled') await result.value.release();
        }),
      );
      t.match((await first.usage(user)).kinds, {
        messages: { used: 0 },
        audio_seconds: { used: 0 },
        video_seconds: { used: 0 },
      });
    });
  }
});

void t.test('a turn across midnight counts on the day it began', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      const config = database.config({ QUOTAS });
      let now = Date.parse('2026-12-31T23:59:59.999Z');
      const quota = new Quota(db, config, () => now);
      const { user } = await signIn(db, config);
      const reservation = await quota.reserve(user, { messages: 10 });
      t.equal((await quota.usage(user)).resetsAt, '2027-01-01T00:00:00.000Z');
      now += 1;
      await quota.reserve(user, { messages: 4 });
      await reservation.settle({ messages: 3, audio_seconds: 2 });
      t.match(await quota.usage(user), {
        day: '2027-01-01',
        kinds: { messages: { used: 4 }, audio_seconds: { used: 0 } },
      });
      now -= 1;
      t.match(await quota.usage(user), {
        day: '2026-12-31',
        kinds: { messages: { used: 3 }, audio_seconds: { used: 2 } },
      });
    });
  }
});

void t.test('settling can be tried again when the database failed', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      const config = database.config({ QUOTAS });
      const quota = new Quota(db, config);
      const { user } = await signIn(db, config);
      const reservation = await quota.reserve(user, { messages: 5 });
      await sql`alter table usage rename to away`.execute(db);
      await t.rejects(reservation.settle({ messages: 2 }));
      await sql`alter table away rename to usage`.execute(db);
      await reservation.settle({ messages: 2 });
      t.equal((await quota.usage(user)).kinds.messages.used, 2);
    });
  }
});

void t.test('an account that is deleted during a turn is no failure', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      const config = database.config({ QUOTAS });
      const quota = new Quota(db, config);
      const { user } = await signIn(db, config);
      const reservation = await quota.reserve(user, { messages: 5 });
      await db.deleteFrom('users').where('id', '=', user.id).execute();
      await reservation.settle({ messages: 2 });
      t.same(await db.selectFrom('usage').selectAll().execute(), []);
      await t.rejects(quota.reserve(user, { messages: 1 }), { code: 'TOKEN_INVALID' });
    });
  }
});

void t.test('what a process that died had set aside is given back', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      const config = database.config({ QUOTAS });
      const { user } = await signIn(db, config);
      const usedOf = async (quota: Quota) => (await quota.usage(user)).kinds.messages.used;

      const child = fork(
        join(projectRoot, 'dist', 'test', 'account', 'fixtures', 'reserve.js'),
        [user.id, user.subscription_type],
        {
          env: childEnvironment({
            DATA_DIR: config.dataFolder,
            DATABASE_URL: database.url,
            QUOTAS,
          }),
        },
      );
      await once(child, 'message');
      const today = new Quota(db, config);
      t.equal(await usedOf(today), 4, 'that of a process that lives stays');
      child.kill('SIGKILL');
      await once(child, 'exit');
      await (await today.reserve(user, { messages: 10 })).release();
      t.equal(await usedOf(today), 0, 'that of a dead one does not count any more');

      let now = Date.parse('2025-11-22T10:00:00Z');
      const quota = new Quota(db, config, () => now);
      const own = await quota.reserve(user, { messages: 10 });

      await db.updateTable('reservations').set({ holder: 'elsewhere.1.run' }).execute();
      t.equal(await usedOf(quota), 10, 'of another machine nothing is known');
      now += 3_600_001;
      t.equal(await usedOf(quota), 0, 'but after an hour');
      await own.settle({ messages: 2 });
      t.equal(await usedOf(quota), 2, 'and what is used all the same still counts');
      t.same(await db.selectFrom('reservations').selectAll().execute(), []);
    });
  }
});

void t.test('what is set aside for a task is closed once, by whoever sees its end', async (t) => {
  for (const database of await databases(t)) {
    await t.test(database.engine, async (t) => {
      const db = await database.open();
      const config = database.config({ QUOTAS });
      let now = Date.parse('2026-11-22T10:00:00Z');
      const [quota, other] = [new Quota(db, config, () => now), new Quota(db, config, () => now)];
      const { user } = await signIn(db, config);
      const used = async () => (await other.usage(user)).kinds.video_seconds.used;
      const hour = 3_600_000;
      for (const id of ['made', 'failed', 'lost']) {
        await quota.reserveForTask(user, { video_seconds: 3 }, { id, keptMs: 3 * hour });
      }
      now += 2 * hour;
      t.equal(await used(), 9, 'however long it takes');
      await quota.closeTask('made', true);
      await other.closeTask('made', false);
      t.equal(await used(), 9);
      await Promise.all([quota.closeTask('failed', false), other.closeTask('failed', false)]);
      t.equal(await used(), 6);
      now += 2 * hour;
      t.equal(await used(), 3, 'what nobody closes is given back');
    });
  }
});
