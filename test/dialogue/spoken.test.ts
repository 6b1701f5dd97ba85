import fc from 'fast-check';
import t from 'tap';
import { spokenText } from '../../src/dialogue/index.js';
import { cpuMs } from '../helpers/cpu.js';

const cases: [what: string, text: string, spoken: string][] = [
  ['plain words', "It's 5 o'clock, isn't it? (Yes.)", "It's 5 o'clock, isn't it? (Yes.)"],
  [
    'emphasis',
    'This is **very** _important_ and ***urgent***, ~~not~~ `now`.',
    'This is very important and urgent, not now.',
  ],
  ['emphasis whose end is in another sentence', '**Well, then.', 'Well, then.'],
  ['titles and lists', '# Plan\n- bread\n* milk\n1. cheese', 'Plan. bread. milk. 1. cheese'],
  ['Chinese lines', '计划\n面包', '计划。面包'],
  ['quotes of text', '> He said so.\n> Indeed.', 'He said so. Indeed.'],
  [
    'links and pictures',
    'Look at [the map](https://x.org/a?b=c) and ![a cat](cat.png).',
    'Look at the map and a cat.',
  ],
  [
    'addresses',
    'It is at https://www.example.com/a/b?c=d. Go there.',
    'It is at example.com. Go there.',
  ],
  ['Chinese after an address', '请看https://example.com/a，谢谢。', '请看example.com，谢谢。'],
  ['code', 'Write:\n```js\nlet x;\n```\nDone.', 'Write: let x; Done.'],
  ['tables', '| a | b |\n|---|:-:|\n| 1 | 2 |', 'a b. 1 2'],
  ['tags', 'One<br/>two <b class="x">three</b>, 3 < 5 and 6 > 2', 'One two three, 3 < 5 and 6 > 2'],
  ['emoji', 'Hi 👋🏽! I am 👨‍👩‍👧 from 🇨🇳 ❤️ 1️⃣.', 'Hi! I am from 1.'],
  [
    'signs that are words',
    '5 % of 3 € © 2024, 20°C & so on + more',
    '5 % of 3 € © 2024, 20°C & so on + more',
  ],
  ['names of programs', 'snake_case, 2 * 3 * 4, C#, a_b', 'snake_case, 2 * 3 * 4, C#, a_b'],
  ['control characters', 'a\u0000b\u0007c\u202ed\ufeff e\u200bf', 'a b cd ef'],
  ['halves of characters', 'a\ud83db', 'ab'],
  ['joiners of other scripts', 'می\u200cخواهم', 'می\u200cخواهم'],
  ['escapes', 'Not \\*this\\*', 'Not this'],
  ['no words at all', '😀 --- *** … !', ''],
  ['nothing', '', ''],
];
for (const [what, text, spoken] of cases) {
  t.test(what, async (t) => t.equal(spokenText(text), spoken));
}

t.test('whatever is written: no control characters, no emoji, nothing but one line', async () => {
  const text = fc
    .array(
      fc.oneof(
        fc.string({ unit: 'binary', maxLength: 8 }),
        fc.string({ unit: 'grapheme', maxLength: 8 }),
        fc.constantFrom('**', '`', '[a](b)', '\n', '# ', '👍🏽', '<b>', '|', '```\n', 'https://a.b'),
      ),
      { maxLength: 20 },
    )
    .map((parts) => parts.join(''));
  fc.assert(
    fc.property(text, (raw) => {
      const spoken = spokenText(raw);
      return (
        spoken === spoken.trim() &&
        !/[\p{Cc}\p{Cs}\p{Co}\p{Emoji_Presentation}]/u.test(spoken) &&
        (spoken === '' || /[\p{L}\p{N}]/u.test(spoken))
      );
    }),
    { numRuns: 2000 },
  );
});

t.test('words without markup stay as they are', async () => {
  const word = fc.stringMatching(/^[\p{L}]{1,10}$/u).filter((text) => !/\p{M}/u.test(text));
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 10 }), (words) => {
      const text = words.join(' ');
      return spokenText(text) === text;
    }),
  );
});

t.test('hostile text takes no time', async (t) => {
  const units = [
    '*',
    '_',
    '[',
    '[a](',
    '<a ',
    '`',
    '|',
    '-',
    '- ',
    ' ',
    '\n',
    '> ',
    'http://',
    '\u200d',
    'e\u0301',
  ];
  const ms = cpuMs(() => {
    for (const unit of units) spokenText(unit.repeat(20_000));
  });
  t.ok(ms < 5000, `${Math.round(ms)} ms`);
});
