import t from 'tap';
import { Conversations } from '../../src/conversation/conversations.js';
import { purgeConversations } from '../../src/conversation/purge.js';
import { createLog } from '../../src/log.js';
import { Roles } from '../../src/role/roles.js';
import { signIn } from '../helpers/account.js';
import { type TestDatabase, onBoth } from '../helpers/database.js';
import { refusal } from '../helpers/media.js';

const log = createLog('silent');

async function open(database: TestDatabase) {
  const db = await database.open();
  const person = async (name = 'somebody') =>
    (await signIn(db, database.config(), { display_name: name })).user;
  return { db, person, conversations: new Conversations(db, undefined, database.config(), log) };
}

const all = { page: 1, pageSize: 100 };

t.test('an unknown id makes a conversation, a known one goes on', async (t) => {
  await onBoth(t, async (t, database) => {
    const { db, conversations, person } = await open(database);
    const roles = new Roles(db, database.config(), log);
    await roles.open();
    const [user, other] = [await person('user'), await person('other')];

    const made = await conversations.open('phone:1.a_b-c', user);
    t.match(made, { id: 'phone:1.a_b-c', user_id: user.id, status: 'active', role_id: null });
    t.same(await conversations.open('phone:1.a_b-c', user), made);
    t.match(await refusal(conversations.open('phone:1.a_b-c', other)), { code: 'FORBIDDEN' });
    for (const id of ['', 'a b', 'ä', 'a/b', 'x'.repeat(129), 'a\n', '\0']) {
      t.match(await refusal(conversations.open(id, user)), { code: 'BAD_REQUEST' }, id);
    }
    const standard = await roles.standard();
    const talk = await conversations.open('talk', user, { roleId: standard.id });
    t.equal(talk.role_id, standard.id);
    t.equal((await conversations.open('talk', user)).role_id, standard.id, 'it is remembered');
    const mine = await roles.create(user, {
      ...{ name: 'Mine', personality: '', gender: null, age: null, language: null },
      ...{ voice: null, greeting: null, isPublic: false },
    });
    await conversations.open('talk', user, { roleId: mine.id });
    t.equal((await conversations.open('talk', user)).role_id, mine.id);
    await roles.remove(mine.id, user);
    t.equal((await conversations.open('talk', user)).role_id, null, 'the role has gone');
    t.match(await refusal(conversations.open('new', user, { roleId: mine.id })), {
      code: 'ROLE_NOT_FOUND',
    });

    const many = await Promise.allSettled(
      [user, other, user, other].map((one) => conversations.open('race', one)),
    );
    const { user_id } = await db
      .selectFrom('conversations')
      .select('user_id')
      .where('id', '=', 'race')
      .executeTakeFirstOrThrow();
    t.same(
      many.map(({ status }) => status),
      [user, other, user, other].map(({ id }) => (id === user_id ? 'fulfilled' : 'rejected')),
      'of two who take an id at once, one gets it',
    );
  });
});

t.test('an account keeps so many conversations', async (t) => {
  await onBoth(t, async (t, database) => {
    const { db, person } = await open(database);
    const config = database.config({ CONVERSATIONS_PER_USER: '2' });
    const conversations = new Conversations(db, undefined, config, log);
    const [user, other] = [await person('user'), await person('other')];
    await conversations.open('first', user);
    await conversations.create(user, { id: 'second' });
    const full = { code: 'TOO_MANY_CONVERSATIONS', message: /2/ };
    t.match(await refusal(conversations.open('third', user)), full);
    t.match(await refusal(conversations.create(user)), full);
    t.match(await conversations.open('first', user), { id: 'first' }, 'what is there goes on');
    t.match(await conversations.open('third', other), { user_id: other.id });
    await conversations.remove('second', user);
    t.match(await conversations.create(user, { id: 'fourth' }), { id: 'fourth' });
    const unlimited = new Conversations(
      db,
      undefined,
      database.config({ CONVERSATIONS_PER_USER: '0' }),
      log,
    );
    t.match(await unlimited.create(user, { id: 'fifth' }), { id: 'fifth' });
  });
});

t.test('turns follow each other without gaps, however many end at once', async (t) => {
  await onBoth(t, async (t, database) => {
    const { conversations, person } = await open(database);
    const user = await person();
    await conversations.open('c', user);
    const second = new Conversations(await database.open(), undefined, database.config(), log);
    await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        (i % 2 === 0 ? conversations : second).recordTurn('c', {
          turnId: `t${i}`,
          user: `question ${i}`,
          ai: [`answer ${i}`, `and more ${i}`],
        }),
      ),
    );
    const messages = await conversations.messages('c', { limit: 1000 });
    t.same(
      messages.map(({ position }) => position),
      Array.from({ length: 90 }, (_, i) => i),
    );
    for (let i = 0; i < 90; i += 3) {
      const turn = messages.slice(i, i + 3);
      const n = turn[0]?.turn_id.slice(1);
      t.same(
        turn.map(({ speaker, text, turn_id }) => [speaker, text, turn_id]),
        [
          ['user', `question ${n}`, `t${n}`],
          ['ai', `answer ${n}`, `t${n}`],
          ['ai', `and more ${n}`, `t${n}`],
        ],
        'nobody spoke in between',
      );
    }
    t.equal(await conversations.messageCount('c'), 90);
    const { last_message_at } = await conversations.find('c', user);
    t.ok(last_message_at !== null && last_message_at >= (messages.at(-1)?.created_at ?? 0));
  });
});

t.test('what is stored of a turn', async (t) => {
  await onBoth(t, async (t, database) => {
    const { conversations, person } = await open(database);
    const user = await person();
    await conversations.open('c', user);
    t.same(await conversations.history('c'), []);
    await conversations.recordTurn('c', { turnId: 'opening', ai: ['Hello.', 'Who are you?'] });
    t.equal((await conversations.find('c', user)).title, null, 'nobody gave it a subject');
    const long = `I was\nborn ${'in a village by the sea '.repeat(5)}`;
    await conversations.recordTurn('c', { turnId: '2', user: long, ai: ['a\0b', '', ' \n'] });
    await conversations.recordTurn('c', { turnId: '3', user: '', ai: [''] });
    await conversations.recordTurn('c', { turnId: '4', user: 'half \ud83d', ai: ['😀'] });
    t.same(await conversations.history('c'), [
      { speaker: 'ai', text: 'Hello.' },
      { speaker: 'ai', text: 'Who are you?' },
      { speaker: 'user', text: long },
      { speaker: 'ai', text: 'ab' },
      { speaker: 'user', text: 'half \ufffd' },
      { speaker: 'ai', text: '😀' },
    ]);
    t.equal(
      (await conversations.find('c', user)).title,
      'I was born in a village by the sea in a village by the sea…',
    );
    await conversations.rename('c', user, ' My \n life ');
    await conversations.recordTurn('c', { turnId: '5', user: 'more', ai: [] });
    t.equal((await conversations.find('c', user)).title, 'My life');

    await conversations.open('zh', user);
    await conversations.recordTurn('zh', { turnId: '1', user: '我'.repeat(100), ai: [] });
    t.equal((await conversations.find('zh', user)).title, `${'我'.repeat(60)}…`);
    t.match(await refusal(conversations.recordTurn('none', { turnId: '1', user: 'x', ai: [] })), {
      code: 'CONVERSATION_NOT_FOUND',
    });
    t.match(await refusal(conversations.rename('c', user, ' \0 ')), { code: 'BAD_REQUEST' });
  });
});

t.test('history for a model, and pages for people', async (t) => {
  await onBoth(t, async (t, database) => {
    const { conversations, person } = await open(database);
    await conversations.open('c', await person());
    for (let i = 0; i < 30; i++) {
      await conversations.recordTurn('c', { turnId: `${i}`, user: `q${i}`, ai: [`a${i}`] });
    }
    const texts = (list: { text: string }[]) => list.map(({ text }) => text);
    const recent = await conversations.history('c');
    t.equal(recent.length, 40, 'a bounded context');
    t.same(recent.at(-1), { speaker: 'ai', text: 'a29' });
    t.same(texts(await conversations.history('c', 3)), ['a28', 'q29', 'a29']);
    t.same(texts(await conversations.history('c', 50)).slice(0, 2), ['q5', 'a5']);
    t.same(await conversations.history('c', 0), []);

    const page = async (range: { before?: number; after?: number }) =>
      texts(await conversations.messages('c', { ...range, limit: 4 }));
    t.same(await page({}), ['q28', 'a28', 'q29', 'a29'], 'the end first');
    t.same(await page({ before: 56 }), ['q26', 'a26', 'q27', 'a27']);
    t.same(await page({ before: 2 }), ['q0', 'a0']);
    t.same(await page({ before: 0 }), []);
    t.same(await page({ after: -1 }), ['q0', 'a0', 'q1', 'a1']);
    t.same(await page({ after: 3 }), ['q2', 'a2', 'q3', 'a3']);
    t.same(await page({ after: 57 }), ['q29', 'a29']);
    t.same(await page({ after: 59 }), []);
    t.same(await page({ after: 3, before: 6 }), ['q2', 'a2']);
  });
});

t.test('segments wait until a reply takes them up', async (t) => {
  await onBoth(t, async (t, database) => {
    const { conversations, person } = await open(database);
    const user = await person();
    await conversations.open('c', user);
    await conversations.open('other', user);
    const first = await conversations.addSegment('c', { text: 'one', seconds: 1.5 });
    await conversations.addSegment('c', { text: 'two\0', audioUrl: 'audio:2s' });
    const foreign = await conversations.addSegment('other', { text: 'else' });
    const waiting = async (id = 'c') =>
      (await conversations.waitingSegments(id)).map(({ transcript_text }) => transcript_text);
    t.same((await waiting()).sort(), ['one', 'two']);
    t.match(
      (await conversations.waitingSegments('c')).find(({ id }) => id === first),
      { audio_duration_seconds: 1.5, audio_url: null, processed: 0, conversation_id: 'c' },
    );
    await conversations.markProcessed('c', []);
    t.equal((await waiting()).length, 2);
    await conversations.markProcessed('c', [first, foreign]);
    t.same(await waiting(), ['two']);
    t.same(await waiting('other'), ['else'], 'ids of another conversation do nothing');
    await conversations.markProcessed('c');
    t.same(await waiting(), []);
    t.same(await waiting('other'), ['else']);
    t.match(await refusal(conversations.addSegment('none', { text: 'x' })), {
      code: 'CONVERSATION_NOT_FOUND',
    });
  });
});

t.test('an ended conversation goes on when someone writes to it', async (t) => {
  await onBoth(t, async (t, database) => {
    const { conversations, person } = await open(database);
    const user = await person();
    await conversations.open('c', user);
    await conversations.end('c');
    const ended = await conversations.find('c', user);
    t.match(ended, { status: 'ended', ended_at: Number });
    await conversations.end('c');
    t.equal((await conversations.find('c', user)).ended_at, ended.ended_at);
    t.match(await conversations.open('c', user), { status: 'ended' }, 'to look is not to write');
    await conversations.recordTurn('c', { turnId: '1', user: 'still here', ai: ['welcome back'] });
    t.match(await conversations.find('c', user), { status: 'active', ended_at: null });
    await conversations.end('c');
    await conversations.addSegment('c', { text: 'and again' });
    t.match(await conversations.find('c', user), { status: 'active', ended_at: null });
    t.match(await refusal(conversations.end('none')), { code: 'CONVERSATION_NOT_FOUND' });
  });
});

t.test('a deleted conversation is gone, its id stays taken', async (t) => {
  await onBoth(t, async (t, database) => {
    const { conversations, person } = await open(database);
    const [user, other] = [await person('user'), await person('other')];
    await conversations.open('c', user);
    await conversations.recordTurn('c', { turnId: '1', user: 'secret', ai: ['yes'] });
    t.match(await refusal(conversations.remove('c', other)), { code: 'CONVERSATION_NOT_FOUND' });
    await conversations.remove('c', user);
    t.same(await conversations.list(user, all), { conversations: [], total: 0 });
    for (const use of [
      () => conversations.open('c', user),
      () => conversations.find('c', user),
      () => conversations.history('c'),
      () => conversations.recordTurn('c', { turnId: '2', user: 'x', ai: ['y'] }),
      () => conversations.addSegment('c', { text: 'x' }),
      () => conversations.rename('c', user, 'x'),
      () => conversations.remove('c', user),
      () => conversations.end('c'),
    ]) {
      t.match(await refusal(use()), { code: 'CONVERSATION_DELETED' }, String(use));
    }
    t.match(await refusal(conversations.open('c', other)), { code: 'FORBIDDEN' });
    t.match(await refusal(conversations.create(user, { id: 'c' })), {
      code: 'CONVERSATION_EXISTS',
    });
    t.equal(await conversations.messageCount('c'), 2, 'nothing was added');
  });
});

t.test('lists: the newest activity first, by title and status, never of others', async (t) => {
  await onBoth(t, async (t, database) => {
    const { db, conversations, person } = await open(database);
    const [user, other] = [await person('user'), await person('other')];
    for (const title of ['Über Züge', 'Trains', 'Seas'])
      await conversations.create(user, { title });
    await conversations.create(other, { title: 'Trains of the other' });
    const titles = async (search: Partial<Parameters<Conversations['list']>[1]> = {}) =>
      (await conversations.list(user, { ...all, ...search })).conversations.map(
        ({ title }) => title,
      );
    t.same((await titles()).sort(), ['Seas', 'Trains', 'Über Züge']);
    t.same(await titles({ q: 'TRAIN' }), ['Trains']);
    t.same(await titles({ q: 'züge' }), ['Über Züge']);
    t.same(await titles({ q: '%' }), []);

    const { conversations: rows } = await conversations.list(user, { ...all, q: 'trains' });
    const { id } = rows[0] as { id: string };
    await db.updateTable('conversations').set({ started_at: 1000 }).execute();
    await conversations.recordTurn(id, { turnId: '1', user: 'x', ai: [] });
    t.equal((await titles())[0], 'Trains', 'the newest activity');
    await conversations.end(id);
    t.same(await titles({ status: 'ended' }), ['Trains']);
    t.same((await titles({ status: 'active' })).sort(), ['Seas', 'Über Züge']);
    const pages = await Promise.all(
      [1, 2, 3].map((page) => conversations.list(user, { page, pageSize: 2 })),
    );
    t.same(
      pages.map(({ conversations: found, total }) => [found.length, total]),
      [
        [2, 3],
        [1, 3],
        [0, 3],
      ],
    );
    t.equal(new Set(pages.flatMap((page) => page.conversations.map((one) => one.id))).size, 3);
  });
});

t.test(
  'deleted conversations are removed when their time is over, with all of theirs',
  async (t) => {
    await onBoth(t, async (t, database) => {
      const { db, conversations, person } = await open(database);
      const user = await person();
      for (const id of ['old', 'young', 'kept']) {
        await conversations.open(id, user);
        await conversations.recordTurn(id, { turnId: id, user: 'Hello.', ai: ['Hi.'] });
      }
      for (const id of ['old', 'young']) await conversations.remove(id, user);
      await db
        .updateTable('conversations')
        .set({ deleted_at: Date.now() - 100_000 })
        .where('id', '=', 'old')
        .execute();
      t.equal(await purgeConversations(db, 60_000), 1);
      t.equal(await purgeConversations(db, 60_000), 0);
      const rows = await db.selectFrom('conversations').select('id').orderBy('id').execute();
      t.same(
        rows.map(({ id }) => id),
        ['kept', 'young'],
      );
      const messages = db.selectFrom('conversation_messages').select('conversation_id').distinct();
      t.equal((await messages.execute()).length, 2, 'nothing that was said in it is left');
    });
  },
);
