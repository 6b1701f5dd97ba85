import { computed, effect } from '@preact/signals';
import { oneOf, stored } from '../stored.js';
import { en } from './en/index.js';
import { zh } from './zh/index.js';

export const languages = { en: 'English', zh: '中文' } as const;
export type Language = keyof typeof languages;
export type Dictionary = typeof en;

const dictionaries: Record<Language, Dictionary> = { en, zh };
/** As HTML names them. */
const tags: Record<Language, string> = { en: 'en', zh: 'zh-Hans' };

function preferred(): Language {
  const wanted = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase());
  return (wanted.find((one) => Object.hasOwn(dictionaries, one)) as Language | undefined) ?? 'en';
}

export const language = stored<Language>('language', preferred(), oneOf<Language>('en', 'zh'));
export const locale = computed(() => tags[language.value]);
const words = computed(() => dictionaries[language.value]);

/** The words of the chosen language; a component that asks is drawn again when it changes. */
export const t = (): Dictionary => words.value;

export function followLanguage(): void {
  effect(() => {
    document.documentElement.lang = locale.value;
  });
}
