/** What users and roles may put into a command line. */

/** A value that no program can take for an option or a path; undefined for all others. */
function word(value: string | undefined, pattern: RegExp): string | undefined {
  return value !== undefined && pattern.test(value) ? value : undefined;
}

/** `{language}`, such as en-GB, and `{lang}`, such as en: known when a role says it. */
export const languageNames = { language: false, lang: false };

export function languageValues(
  tag: string | undefined,
): Record<'language' | 'lang', string | undefined> {
  const language = word(tag, /^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$/);
  return { language, lang: language?.split('-')[0]?.toLowerCase() };
}

export function voiceName(value: string | undefined): string | undefined {
  return word(value, /^[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}$/);
}

/**
 * A text as an argument: it begins with a space, so that no program takes it for an option, and as
 * flite takes one word for the name of a file, for two words.
 */
export function textArgument(text: string): string {
  return ` ${text}`;
}

/** One line without control characters. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\s]+/gu, ' ').trim();
}
