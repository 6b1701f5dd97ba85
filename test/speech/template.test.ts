import fc from 'fast-check';
import t from 'tap';
import { readTemplate, splitWords } from '../../src/speech/command/template.js';

void t.test('a command line is split as people expect', async (t) => {
  const cases: [line: string, words: string[]][] = [
    ['a  b\tc ', ['a', 'b', 'c']],
    [`a 'b c' "d e"f`, ['a', 'b c', 'd ef']],
    [`'' "" x`, ['', '', 'x']],
    [`a\\ b \\'c "d\\"e\\\\ \\n"`, ['a b', `'c`, 'd"e\\ \\n']],
    [`'a\\'b`, ['a\\b']],
    ['$HOME `id` *.txt ~ a;b >c', ['$HOME', '`id`', '*.txt', '~', 'a;b', '>c']],
    ['ends with \\', ['ends', 'with', '\\']],
  ];
  for (const [line, words] of cases) t.same(splitWords('X', line), words, line);
  t.throws(() => splitWords('X', `a 'b`), { code: 'CONFIG_INVALID' });
  fc.assert(
    fc.property(fc.array(fc.string()), (words) => {
      const line = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
      return JSON.stringify(splitWords('X', line)) === JSON.stringify(words);
    }),
  );
});

void t.test('values take their places and bring no more', async (t) => {
  const line = `sh -v {voice:en} -s {rate*175} '{rate} x{voice:}y' '{"json": {pitch*50}}' {text}`;
  const names = { voice: false, rate: true, pitch: true, text: true, output: true };
  const template = readTemplate('X', line, names);
  t.equal(template.program, 'sh');
  t.equal(template.uses('voice'), true);
  t.equal(template.uses('output'), false);
  const values = { rate: 1 / 3, pitch: 1.5, text: '{voice} {rate} $& $1', voice: undefined };
  t.same(template.fill(values), [
    ...['-v', 'en', '-s', '58.333', '0.333 xy', '{"json": 75}', '{voice} {rate} $& $1'],
  ]);
  t.same(template.fill({ ...values, voice: 'a b' }).slice(0, 2), ['-v', 'a b']);
});
