import { createLog } from '../../src/log.js';
import { Conversations } from '../../src/conversation/conversations.js';
import t, { type Test } from 'tap';
import { startApp } from '../helpers/app.js';
import { Client } from '../helpers/client.js';
import { type TestDatabase, onBoth } from '../helpers/database.js';

interface ConversationJson {
  readonly conversation_id: string;
  readonly title: string | null;
}
interface One {
  readonly conversation: ConversationJson;
}
interface Many {
  readonly conversations: ConversationJson[];
  readonly total: number;
}
interface Page {
  readonly messages: { text: string; position: number }[];
}

async function start(t: Test, database: TestDatabase) {
  const { url } = await startApp(t, { DATABASE_URL: database.url, LOGIN_ATTEMPTS: '100' });
  const user = await Client.register(url, 'joe', { nickname: 'Joe_1' });
  const other = await Client.register(url, 'other');
  /** As a session stores what is said. */
  const sessions = new Conversations(
    await database.open(),
    undefined,
    database.config(),
    createLog('silent'),
  );
  return { url, user, other, nobody: new Client(url), sessions };
}

const refused = (status: number, code: string) => ({
  status,
  body: { success: false, code, message: String },
});

t.test('conversations from making to deleting', async (t) => {
  await onBoth(t, async (t, database) => {
    const { user, other, nobody, sessions } = await start(t, database);
    const made = await user.post<One>('/api/conversations', {
      id: 'talk-1',
      title: 'First',
      role_id: 'clara',
    });
    t.match(made, {
      status: 201,
      body: {
        success: true,
        conversation: {
          conversation_id: 'talk-1',
          title: 'First',
          role_id: 'clara',
          status: 'active',
          started_at: /Z$/,
          last_message_at: null,
          ended_at: null,
        },
      },
    });
    t.notOk('user_id' in made.body.conversation);
    const without = await user.post<One>('/api/conversations', {});
    t.match(without.body.conversation, { conversation_id: /^[0-9a-f-]{36}$/, title: null });
    for (const client of [user, other]) {
      t.match(
        await client.post('/api/conversations', { id: 'talk-1' }),
        refused(409, 'CONVERSATION_EXISTS'),
      );
    }
    t.match(
      await user.post('/api/conversations', { role_id: 'nobody' }),
      refused(404, 'ROLE_NOT_FOUND'),
    );
    t.match(
      await user.post('/api/conversations', { id: 'no spaces' }),
      refused(400, 'BAD_REQUEST'),
    );

    const path = '/api/conversations/talk-1';
    const paths = ['', '/messages', '/export'].map((end) => path + end);
    for (const one of paths) {
      t.equal((await user.get(one)).status, 200, one);
      t.match(await other.get(one), refused(404, 'CONVERSATION_NOT_FOUND'), one);
      t.match(await nobody.get(one), refused(401, 'UNAUTHORIZED'), one);
    }
    t.match(await nobody.get('/api/conversations'), refused(401, 'UNAUTHORIZED'));
    t.match(await other.patch(path, { title: 'x' }), refused(404, 'CONVERSATION_NOT_FOUND'));
    t.match(await other.delete(path), refused(404, 'CONVERSATION_NOT_FOUND'));
    t.equal((await other.get<Many>('/api/conversations')).body.total, 0);
    t.match(await user.get('/api/conversations/%00'), refused(404, 'CONVERSATION_NOT_FOUND'));

    const renamed = await user.patch<One>(path, { title: ' Second \n try ' });
    t.equal(renamed.body.conversation.title, 'Second try');
    for (const title of ['', '\0', 'x'.repeat(201), null, 7]) {
      t.match(await user.patch(path, { title }), refused(400, 'BAD_REQUEST'));
    }
    t.match((await user.get<Many>('/api/conversations?q=second')).body, {
      conversations: [{ conversation_id: 'talk-1' }],
      total: 1,
    });
    await sessions.end('talk-1');
    const ended = await user.get<Many>('/api/conversations?status=ended&page_size=1');
    t.match(ended.body, { conversations: [{ status: 'ended', ended_at: /Z$/ }], total: 1 });
    t.match(await user.get('/api/conversations?status=gone'), refused(400, 'BAD_REQUEST'));

    t.match(await user.delete(path), { status: 200, body: { success: true } });
    t.equal((await user.get<Many>('/api/conversations')).body.total, 1);
    for (const one of paths)
      t.match(await user.get(one), refused(410, 'CONVERSATION_DELETED'), one);
    t.match(await user.delete(path), refused(410, 'CONVERSATION_DELETED'));
    t.match(await other.get(path), refused(404, 'CONVERSATION_NOT_FOUND'));
  });
});

t.test('messages are read in pages, in both directions', async (t) => {
  await onBoth(t, async (t, database) => {
    const { user, sessions } = await start(t, database);
    await user.post('/api/conversations', { id: 'c' });
    const empty = { success: true, messages: [], total: 0, has_before: false, has_after: false };
    t.same((await user.get('/api/conversations/c/messages')).body, empty);
    for (let i = 0; i < 5; i++) {
      await sessions.recordTurn('c', { turnId: `t${i}`, user: `q${i}`, ai: [`a${i}`] });
    }
    const page = async (query: string) => {
      const { body } = await user.get<Page & { has_before: boolean; has_after: boolean }>(
        `/api/conversations/c/messages?${query}`,
      );
      t.match(body, { total: 10 });
      return [body.messages.map(({ text }) => text), body.has_before, body.has_after];
    };
    t.match((await user.get<Page>('/api/conversations/c/messages')).body.messages[0], {
      message_id: String,
      position: 0,
      speaker: 'user',
      text: 'q0',
      turn_id: 't0',
      created_at: /Z$/,
    });
    t.same(await page('limit=4'), [['q3', 'a3', 'q4', 'a4'], true, false]);
    t.same(await page('limit=4&before=6'), [['q1', 'a1', 'q2', 'a2'], true, true]);
    t.same(await page('limit=4&before=2'), [['q0', 'a0'], false, true]);
    t.same(await page('limit=4&after=-1'), [['q0', 'a0', 'q1', 'a1'], false, true]);
    t.same(await page('limit=4&after=5'), [['q3', 'a3', 'q4', 'a4'], true, false]);
    t.same(await page('limit=4&after=9'), [[], true, false]);
    t.same(await page('limit=4&before=0'), [[], false, true]);
    for (const query of ['limit=0', 'limit=201', 'before=x', 'after=-2', 'before=99999999999']) {
      t.match(
        await user.get(`/api/conversations/c/messages?${query}`),
        refused(400, 'BAD_REQUEST'),
        query,
      );
    }
  });
});

t.test('an export is a file with everything that was said', async (t) => {
  await onBoth(t, async (t, database) => {
    const { user, sessions } = await start(t, database);
    await user.post('/api/conversations', { id: 'c', role_id: 'clara' });
    await sessions.recordTurn('c', {
      turnId: '0',
      user: 'A "walk"/ride\nin Zürich <b>?',
      ai: ['Yes.'],
    });
    for (let i = 1; i < 6; i++) {
      const ai = Array.from({ length: 200 }, (_, n) => `a${i}.${n}`);
      await sessions.recordTurn('c', { turnId: `${i}`, user: `q${i}`, ai });
    }
    const markdown = await user.get<Uint8Array>('/api/conversations/c/export?format=markdown');
    t.equal(markdown.status, 200);
    t.equal(markdown.headers.get('content-type'), 'text/markdown; charset=utf-8');
    t.equal(markdown.headers.get('x-content-type-options'), 'nosniff');
    t.match(markdown.headers.get('content-disposition'), /^attachment; /);
    t.match(
      decodeURIComponent(markdown.headers.get('content-disposition') ?? ''),
      /filename\*=UTF-8''A walk ride in Zürich b\.md$/,
    );
    const text = Buffer.from(markdown.body).toString();
    t.match(text, /^# A "walk"\/ride in Zürich \\<b\\>\?\n/);
    t.match(text, /\n- Between: Joe\\_1 and Clara\n/);
    t.match(text, /\*\*Joe\\_1\*\* · \d{4}-[\d:.T-]+Z\n\nA "walk"\/ride\\\nin Zürich \\<b\\>\?\n/);
    t.equal(text.match(/^\*\*Clara\*\* · /gm)?.length, 1001);
    t.match(text, /\n\na5\.199\n$/);

    const json = await user.get<{ messages: { position: number }[] }>(
      '/api/conversations/c/export?format=json',
    );
    t.match(json.headers.get('content-disposition'), /^attachment; .*\.json/);
    t.match(json.body, { conversation: { conversation_id: 'c' }, role: { name: 'Clara' } });
    t.same(
      json.body.messages.map(({ position }) => position),
      Array.from({ length: 1007 }, (_, i) => i),
    );
    t.equal(
      (await user.get('/api/conversations/c/export')).headers.get('content-type'),
      'text/markdown; charset=utf-8',
    );
    t.match(await user.get('/api/conversations/c/export?format=pdf'), refused(400, 'BAD_REQUEST'));
    await user.post('/api/conversations', { id: 'bare' });
    const bare = await user.get<Uint8Array>('/api/conversations/bare/export');
    t.equal(bare.headers.get('content-disposition'), 'attachment; filename=conversation.md');
    t.match(Buffer.from(bare.body).toString(), /^# Conversation\n\n- Between: Joe\\_1 and AI\n/);
  });
});
