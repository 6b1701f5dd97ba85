import fc from 'fast-check';
import t from 'tap';
import { partsOf, sentencesOf } from '../../src/dialogue/index.js';
import { SentenceSplitter } from '../../src/dialogue/sentences.js';
import { cpuMs } from '../helpers/cpu.js';

function sentences(...pieces: string[]): string[] {
  const splitter = new SentenceSplitter();
  return [...pieces.flatMap((piece) => splitter.push(piece)), ...splitter.end()];
}

const withoutSpace = (text: string) => text.replace(/\s+/g, '');
const lead = 'This is how it begins. ';

const cases: [what: string, text: string, expected: string[]][] = [
  [
    'plain sentences',
    'One is here. Two comes after it! Is three the last?',
    ['One is here.', 'Two comes after it!', 'Is three the last?'],
  ],
  [
    'a short first sentence, for whoever waits',
    'Hi! I am glad to see you.',
    ['Hi!', 'I am glad to see you.'],
  ],
  [
    'short ones later go with their neighbours',
    `${lead}Yes. I do. So do we all.`,
    [lead.trim(), 'Yes. I do. So do we all.'],
  ],
  [
    'titles',
    'Dr. Smith met Mrs. Jones, e.g. on St. James Street, vs. Prof. Lee.',
    ['Dr. Smith met Mrs. Jones, e.g. on St. James Street,', 'vs. Prof. Lee.'],
  ],
  [
    'initials',
    'J. R. R. Tolkien never saw the U.S. at all.',
    ['J. R. R. Tolkien never saw the U.S. at all.'],
  ],
  [
    'numbers',
    'It costs 3.14 dollars at 10:30, or 1,000 yen.',
    ['It costs 3.14 dollars at 10:30, or 1,000 yen.'],
  ],
  [
    'numbers after short words',
    'See No. 5 and Fig. 2. No. That is not it at all.',
    ['See No. 5 and Fig. 2.', 'No. That is not it at all.'],
  ],
  [
    'hours',
    `${lead}We met at 5 p.m. Then we had dinner.`,
    [lead.trim(), 'We met at 5 p.m.', 'Then we had dinner.'],
  ],
  [
    'the day of a month is no abbreviation',
    'I left on the 1st. Then it rained.',
    ['I left on the 1st.', 'Then it rained.'],
  ],
  [
    'ellipses within a sentence',
    'Well... perhaps you are right. Hm… So be it, my friend.',
    ['Well... perhaps you are right.', 'Hm… So be it, my friend.'],
  ],
  [
    'small letters of two code units',
    'It went on... \u{1d41a}nd on. Well.',
    ['It went on... \u{1d41a}nd on.', 'Well.'],
  ],
  [
    'ellipses between sentences',
    'I wonder... What is that over there?',
    ['I wonder...', 'What is that over there?'],
  ],
  [
    'quotations',
    '"Really?" she asked. "Yes, really." He smiled at her.',
    ['"Really?" she asked.', '"Yes, really." He smiled at her.'],
  ],
  [
    'brackets',
    `${lead}(It was a fine day.) We went out.`,
    [lead.trim(), '(It was a fine day.)', 'We went out.'],
  ],
  [
    'emphasis',
    '**It is done.** Now *we can rest.* Good night to you.',
    ['**It is done.**', 'Now *we can rest.*', 'Good night to you.'],
  ],
  [
    'addresses',
    'See https://example.com/a.b?c=d.html now. Then write to node.js people.',
    ['See https://example.com/a.b?c=d.html now.', 'Then write to node.js people.'],
  ],
  [
    'lists',
    '1. Bread from the baker\n2. Milk from the farm\n- and a good cheese',
    ['1. Bread from the baker', '2. Milk from the farm', '- and a good cheese'],
  ],
  [
    'broken lines',
    `${lead}This line is only\nbroken in its middle.`,
    [lead.trim(), 'This line is only\nbroken in its middle.'],
  ],
  [
    'paragraphs',
    'The first paragraph\n\nthe second paragraph',
    ['The first paragraph', 'the second paragraph'],
  ],
  [
    'Chinese',
    '你好！我是小明。今天的天气真好，我们一起出去走走吧？好。',
    ['你好！', '我是小明。今天的天气真好，我们一起出去走走吧？', '好。'],
  ],
  [
    'Chinese quotations',
    '他大声地说：“我们现在就走吧。”然后大家一起离开了这个地方。',
    ['他大声地说：“我们现在就走吧。”', '然后大家一起离开了这个地方。'],
  ],
  [
    'Chinese ellipses',
    '我在想一件很久以前的事情……你还记得那个夏天吗？',
    ['我在想一件很久以前的事情……', '你还记得那个夏天吗？'],
  ],
  [
    'Chinese and numbers',
    '圆周率大约就等于3.14，全角写作３．１４，版本是v2.0。',
    ['圆周率大约就等于3.14，全角写作３．１４，', '版本是v2.0。'],
  ],
  [
    'the first sentence may end at a pause when it is long',
    'When I was a child, we lived in a small house by the sea, and every morning my father went out.',
    [
      'When I was a child, we lived in a small house by the sea,',
      'and every morning my father went out.',
    ],
  ],
  ['nothing', ' \n\t ', []],
  [
    'nothing that can be said goes with what can',
    'Hello to you all. --- And goodbye.',
    ['Hello to you all.', '--- And goodbye.'],
  ],
];
for (const [what, text, expected] of cases) {
  t.test(what, async (t) => {
    t.same(sentences(text), expected);
    t.same(sentences(...text.split('')), expected, 'unit by unit');
  });
}

t.test(
  'what never stops is cut, at a pause, a space or anywhere, but never inside a character',
  async (t) => {
    const paused = sentences(`${lead}${'and so it went on and on, '.repeat(20)}`).slice(1);
    for (const part of paused.slice(0, -1)) t.match(part, /,$/);
    for (const part of sentences('word '.repeat(200)).slice(0, -1)) t.match(part, /^(word )+word$/);
    const family = '👩‍👩‍👧‍👦';
    for (const part of sentences(family.repeat(60)))
      t.match(part, new RegExp(`^(${family})+$`, 'u'));
    for (const part of sentences('字'.repeat(500))) t.ok(part.length <= 100);
    t.ok(sentences('é'.normalize('NFD').repeat(400)).every((part) => part.startsWith('e')));
  },
);

t.test('a sentence is given out as soon as the next one begins', async (t) => {
  const splitter = new SentenceSplitter();
  t.same(splitter.push('Good morning.'), [], 'it may go on');
  t.same(splitter.push(' How'), ['Good morning.']);
  t.same(splitter.push(' are you?'), []);
  t.same(splitter.end(), ['How are you?']);
  t.same(new SentenceSplitter().push('你好。很'), ['你好。']);
});

t.test('who stops reading ends the source', async (t) => {
  let ended = false;
  async function* source() {
    try {
      yield* ['One. ', 'Two. ', 'Three'];
    } finally {
      ended = true;
    }
  }
  for await (const sentence of sentencesOf(source())) {
    t.equal(sentence, 'One.');
    break;
  }
  t.ok(ended);
});

const fragment = fc.oneof(
  fc.constantFrom(
    '. ',
    '.',
    '...',
    '! ',
    '?',
    '。',
    '！”',
    '……',
    '，',
    ', ',
    ' ',
    '\n',
    '\n\n',
    '"',
    ')',
    '”',
  ),
  fc.constantFrom(
    'Dr',
    'e.g',
    'U.S',
    'No',
    '5',
    '3.14',
    '1. ',
    '你好',
    '👨‍👩‍👧',
    '🇨🇳',
    '**',
    'https://a.b/c?d',
  ),
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 4 }),
  fc.constantFrom('x'.repeat(70), '字'.repeat(70), '.'.repeat(90), ' '.repeat(90)),
);
const prose = fc.array(fragment, { maxLength: 40 }).map((parts) => parts.join(''));

t.test('no character is lost, whatever is written and however it is cut', async () => {
  fc.assert(
    fc.property(
      prose,
      fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }),
      (text, sizes) => {
        const whole = sentences(text);
        if (withoutSpace(whole.join('')) !== withoutSpace(text)) return false;
        if (whole.some((one) => one !== one.trim() || one === '' || one.length > 264)) return false;
        const pieces: string[] = [];
        for (let at = 0, i = 0; at < text.length; i++) {
          const size = sizes[i % sizes.length] as number;
          pieces.push(text.slice(at, at + size));
          at += size;
        }
        return JSON.stringify(sentences(...pieces)) === JSON.stringify(whole);
      },
    ),
    { numRuns: 3000 },
  );
});

t.test('a cut never falls inside a surrogate pair', async () => {
  fc.assert(
    fc.property(
      prose.map((text) => text.toString().replace(/\p{Surrogate}/gu, '')),
      (text) => sentences(text).every((one) => !/\p{Surrogate}/u.test(one)),
    ),
  );
});

t.test('a written reply in messages', async (t) => {
  t.same(partsOf('One short answer.'), ['One short answer.']);
  t.same(partsOf('First.\n\nSecond\nwith two lines.\r\n \r\n\n\nThird.'), [
    'First.',
    'Second\nwith two lines.',
    'Third.',
  ]);
  t.same(partsOf(' \n\n '), []);
  const long = partsOf('This is one of many sentences that stand in a row. '.repeat(12));
  t.ok(long.length > 1);
  for (const part of long) {
    t.ok(part.length <= 280);
    t.match(part, /^This .*row\.$/);
  }
  fc.assert(
    fc.property(prose, (text) => {
      const parts = partsOf(text);
      return (
        withoutSpace(parts.join('')) === withoutSpace(text) &&
        parts.every((part) => part.trim() === part && part !== '')
      );
    }),
  );
});

t.test('hostile text takes no time', async (t) => {
  const ms = cpuMs(() => {
    for (const unit of ['.', '"', ' ', '\n', '*', 'a.', '1.', '(', ',', '。”', '\ud83d']) {
      sentences(unit.repeat(100_000 / unit.length));
      partsOf(unit.repeat(50_000 / unit.length));
    }
  });
  t.ok(ms < 10_000, `${Math.round(ms)} ms`);
});
