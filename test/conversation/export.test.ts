import t from 'tap';
import { jsonOf, markdownOf } from '../../src/conversation/export.js';
import type { ConversationRow, MessageRow } from '../../src/store/schema.js';

const conversation: ConversationRow = {
  id: 'c-1',
  user_id: 'u',
  role_id: 'r',
  title: 'A *bold* title\n# not two',
  status: 'ended',
  started_at: Date.UTC(2026, 10, 22, 9, 30),
  last_message_at: Date.UTC(2026, 10, 22, 9, 31),
  ended_at: Date.UTC(2026, 10, 22, 9, 32),
  deleted_at: null,
};

async function* saying(...texts: string[]): AsyncGenerator<MessageRow> {
  for (const [position, text] of texts.entries()) {
    yield {
      id: `m${position}`,
      conversation_id: 'c-1',
      position,
      speaker: position % 2 === 0 ? 'user' : 'ai',
      text,
      turn_id: 't',
      created_at: Date.UTC(2026, 10, 22, 9, 30, position),
    };
  }
}

async function whole(parts: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const part of parts) text += part;
  return text;
}

const markdown = (...texts: string[]) =>
  whole(
    markdownOf({
      conversation,
      userName: 'J_o_e',
      role: { id: 'r', name: '<b>Clara</b>' },
      messages: saying(...texts),
    }),
  );

/** What the document holds of one message. */
const said = async (text: string) => (await markdown(text)).split('Z\n\n').at(-1)?.slice(0, -1);

t.test('Markdown names who spoke and when', async (t) => {
  t.equal(
    await markdown('Hello.', 'Good\nmorning.\n\nHow are you?'),
    `# A \\*bold\\* title # not two

- Between: J\\_o\\_e and \\<b\\>Clara\\</b\\>
- Started: 2026-11-22T09:30:00.000Z
- Ended: 2026-11-22T09:32:00.000Z
- Conversation: c-1

---

**J\\_o\\_e** · 2026-11-22T09:30:00.000Z

Hello.

---

**\\<b\\>Clara\\</b\\>** · 2026-11-22T09:30:01.000Z

Good\\
morning.

How are you?
`,
  );
});

t.test('nothing that was typed acts as Markdown or HTML', async (t) => {
  for (const [typed, written] of [
    ['# big', '\\# big'],
    ['- item', '\\- item'],
    ['+ item', '\\+ item'],
    ['* item', '\\* item'],
    ['1. item', '1\\. item'],
    ['12) item', '12\\) item'],
    ['text\n===', 'text\\\n\\==='],
    ['text\n---', 'text\\\n\\---'],
    ['> quote', '\\> quote'],
    ['```\ncode\n```', '\\`\\`\\`\\\ncode\\\n\\`\\`\\`'],
    ['~~gone~~', '\\~\\~gone\\~\\~'],
    ['    code', '\u00a0\u00a0\u00a0\u00a0code'],
    ['\tcode', '\u00a0code'],
    ['[x](javascript:alert(1))', '\\[x\\](javascript:alert(1))'],
    ['![x](http://a/b.png)', '!\\[x\\](http://a/b.png)'],
    ['<script>alert(1)</script>', '\\<script\\>alert(1)\\</script\\>'],
    ['&lt;b&gt;', '\\&lt;b\\&gt;'],
    ['a | b\n--|--', 'a \\| b\\\n\\--\\|--'],
    ['$x$ and \\', '\\$x\\$ and \\\\'],
    ['\\# tricky', '\\\\# tricky'],
    ['*a* _b_ `c`', '\\*a\\* \\_b\\_ \\`c\\`'],
    ['two\r\nlines\rthree', 'two\\\nlines\\\nthree'],
    ['\n\nkeeps\n\n\nparagraphs\n\n', 'keeps\n\n\nparagraphs'],
    ['bell\u0007 and \u001b[31mred', 'bell and \\[31mred'],
    ['blanks   \nat the end', 'blanks\\\nat the end'],
    ['plain - text, 3.5 + 2 = 5.5 #1', 'plain - text, 3.5 + 2 = 5.5 #1'],
    ['日本語。😀', '日本語。😀'],
  ] as const) {
    t.equal(await said(typed), written, JSON.stringify(typed));
  }
});

t.test('nobody can forge what another said', async (t) => {
  const text = await markdown('Yes.\n\n---\n\n**Clara** · 2026-11-22T09:30:01.000Z\n\nI agree.');
  t.equal(text.match(/^---$/gm)?.length, 1);
  t.equal(text.match(/^\*\*/gm)?.length, 1);
});

t.test('JSON is exact', async (t) => {
  const texts = ['Say "hi"\n\u2028', '<b>*hi*</b> 😀'];
  const exported = {
    conversation,
    userName: 'Joe',
    role: { id: 'r', name: 'Clara' },
    messages: saying(...texts),
  };
  const data = JSON.parse(await whole(jsonOf(exported))) as { messages: { text: string }[] };
  t.match(data, {
    conversation: {
      conversation_id: 'c-1',
      title: conversation.title,
      status: 'ended',
      started_at: '2026-11-22T09:30:00.000Z',
    },
    user: { name: 'Joe' },
    role: { role_id: 'r', name: 'Clara' },
    exported_at: /Z$/,
    messages: [
      { position: 0, speaker: 'user', created_at: '2026-11-22T09:30:00.000Z' },
      { position: 1, speaker: 'ai' },
    ],
  });
  t.same(
    data.messages.map(({ text }) => text),
    texts,
  );
  const empty = { ...exported, role: undefined, messages: saying() };
  t.match(JSON.parse(await whole(jsonOf(empty))), { role: null, messages: [] });
});
