import t from 'tap';
import { listeningFeedback, opening, profileGreeting } from '../../src/dialogue/index.js';
import { profileFields } from '../../src/dialogue/openings.js';

const lin = { name: 'Lin', personality: 'warm' };
const chineseLin = { ...lin, name: '小林', language: 'zh-CN' };
const profile = {
  ...{ nickname: 'Wang', birth_year: 1948, birth_place: 'Suzhou' },
  ...{ grew_up_place: 'Shanghai', occupation: 'nurse' },
};
const seeds = Array.from({ length: 200 }, (_, i) => `conversation-${i}`);
const isChinese = (text: string) => /\p{Script=Han}/u.test(text) && !/[a-z]{4}/.test(text);

t.test('the greeting asks for what is missing, and for nothing else', async (t) => {
  const all = profileGreeting(profileFields, null);
  t.equal(all.length, 3);
  t.match(all.join(' '), /call you.*year.*born.*Where were you born.*grow up.*living/s);

  const one = profileGreeting(['birth_place'], 'Wang');
  t.equal(one.length, 2);
  t.match(one[0], /Hello Wang/);
  t.match(one[1], /^Where were you born\?$/);
  t.notMatch(one.join(' '), /call you|year|grow up|living/);

  t.same(profileGreeting([], 'Wang'), ['Hello Wang, how nice to see you!']);
  for (const field of profileFields) {
    for (const language of ['en', 'zh']) {
      const messages = profileGreeting([field], undefined, language);
      t.ok(messages.length >= 1 && messages.length <= 3);
      t.ok(messages.every((text) => text.trim() !== ''));
    }
  }
});

t.test('Chinese users are asked in Chinese', async (t) => {
  for (const tag of ['zh', 'zh-CN', 'zh-Hant-TW', 'cmn', 'yue-HK']) {
    t.ok(profileGreeting(profileFields, null, tag).every(isChinese), tag);
  }
  t.ok(opening({ birth_year: 1950 }, chineseLin, 'a').every(isChinese));
  t.ok(isChinese(listeningFeedback('a', 'zh')));
  for (const tag of [undefined, 'en', 'de-DE', 'zhx', '']) {
    t.match(profileGreeting([], null, tag)[0], /^Hello/, `${tag}`);
  }
});

t.test('an opening fits the profile; the seed decides which', async (t) => {
  const seen = new Set(seeds.map((seed) => opening(profile, lin, seed)[1] as string));
  const spoken = [...seen].join('\n');
  t.match(spoken, /nurse/);
  t.match(spoken, /Shanghai/);
  t.match(spoken, /born in Suzhou and grew up in Shanghai/);
  t.match(spoken, /1960s/, 'the years of their youth');
  t.ok(seen.size >= 6, `${seen.size} openings`);
  t.same(opening(profile, lin, 'x'), opening(profile, lin, 'x'));
  t.match(opening(profile, lin, 'x')[0], /Hello Wang, I am Lin/);
});

t.test('an empty profile has openings too', async (t) => {
  const empty = { nickname: null, birth_year: null, birth_place: null };
  for (const character of [lin, chineseLin]) {
    for (const seed of seeds) {
      const messages = opening(empty, character, seed);
      t.equal(messages.length, 2);
      t.notMatch(messages.join(' '), /undefined|null|NaN/);
    }
  }
});

t.test('nobody is told that they moved when they stayed', async (t) => {
  const stayed = { birth_place: 'Suzhou', grew_up_place: 'Suzhou' };
  for (const seed of seeds) t.notMatch(opening(stayed, lin, seed)[1], /born in/);
});

t.test('what a user wrote of themselves stays a few words', async (t) => {
  const odd = { nickname: ` A\n\u0000${'b'.repeat(500)}`, occupation: 'nurse.' };
  for (const seed of seeds) {
    const messages = opening(odd, lin, seed);
    t.ok(messages.join('').length < 400);
    t.notMatch(messages.join(''), /\p{Cc}|nurse\.[?,]/u);
  }
});

t.test('listening feedback varies with the seed', async (t) => {
  const heard = new Set(seeds.map((seed) => listeningFeedback(seed)));
  t.ok(heard.size >= 4);
  t.equal(listeningFeedback('a'), listeningFeedback('a'));
  t.notMatch(listeningFeedback(), /^$/);
});
