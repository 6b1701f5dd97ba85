import type { Character } from './dialogue.js';
import { type Language, phrases } from './phrases.js';

/** What is asked of a user of dialect B. */
export const profileFields = [
  'nickname',
  'birth_year',
  'birth_place',
  'grew_up_place',
  'occupation',
] as const;
export type ProfileField = (typeof profileFields)[number];

export interface UserProfile {
  readonly nickname?: string | null;
  readonly birth_year?: number | null;
  readonly birth_place?: string | null;
  readonly grew_up_place?: string | null;
  readonly occupation?: string | null;
}

const MAX_VALUE = 60;

/** `zh` and its kin are answered in Chinese, everything else in English. */
export function languageOf(tag: string | undefined): Language {
  return /^(zh|cmn|yue)\b/i.test(tag ?? '') ? 'zh' : 'en';
}

/** One to three messages that ask for what the profile lacks. */
export function profileGreeting(
  missing: readonly ProfileField[],
  nickname?: string | null,
  language?: string,
): string[] {
  const words = phrases[languageOf(language)];
  const name = clean(nickname);
  const hello = name === undefined ? words.hello : words.helloName(name);
  const asked = profileFields.filter((field) => missing.includes(field));
  if (asked.length === 0) return [hello];
  const questions = asked.map((field) => words.ask[field]);
  const first = questions.slice(0, 2).join(words.space);
  const others = questions.slice(2).join(words.space);
  return [`${hello}${words.space}${words.why}`, first, ...(others === '' ? [] : [others])];
}

/**
 * One or two messages that begin a conversation with a user whose profile is known. Which of the
 * variants is taken follows from the seed: the same for the same seed.
 */
export function opening(profile: UserProfile, character: Character, seed = ''): string[] {
  const words = phrases[languageOf(character.language)];
  const name = clean(profile.nickname);
  const hello = words.iAm(clean(character.name) ?? 'EchoMimic', name);
  return [hello, chosen(topics(profile, words), seed)];
}

/** A few words that show that somebody listens, while a long recording goes on. */
export function listeningFeedback(seed = '', language?: string): string {
  return chosen(phrases[languageOf(language)].listening, seed);
}

/** Everything that may be asked of this profile. */
function topics(profile: UserProfile, words: (typeof phrases)[Language]): readonly string[] {
  const occupation = clean(profile.occupation);
  const birthPlace = clean(profile.birth_place);
  const home = clean(profile.grew_up_place) ?? birthPlace;
  const year = profile.birth_year;
  // the years that people tell most about: about ten to twenty
  const youth = typeof year === 'number' && year > 1900 ? decadeOf(year + 15) : undefined;
  const fitting = [
    ...(occupation === undefined ? [] : words.aboutWork(occupation)),
    ...(home === undefined ? [] : words.aboutHome(home)),
    ...(birthPlace === undefined || birthPlace === home
      ? []
      : words.aboutMoving(birthPlace, home as string)),
    ...(youth === undefined ? [] : words.aboutYouth(youth)),
  ];
  return fitting.length > 0 ? fitting : words.aboutAnything;
}

function decadeOf(year: number): number {
  return Math.floor(Math.min(year, new Date().getFullYear()) / 10) * 10;
}

/** What a user wrote of themselves, as one line that fits into a sentence. */
function clean(text: string | null | undefined): string | undefined {
  const line = (text ?? '')
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim()
    .replace(/[.,;:!?。，；：！？]+$/, '');
  const short = [...line].slice(0, MAX_VALUE).join('');
  return short === '' ? undefined : short;
}

/** FNV-1a: spreads seeds that differ in a digit. */
function chosen(variants: readonly string[], seed: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < seed.length; i++) {
    hash = Math.imul(hash ^ seed.charCodeAt(i), 0x01000193) >>> 0;
  }
  hash = (hash ^ (hash >>> 15)) >>> 0;
  return variants[hash % variants.length] as string;
}
