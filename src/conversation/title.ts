import { CodedError } from '../errors.js';
import { oneLine } from '../store/text.js';

const longest = 60;

/** A title that someone typed; BAD_REQUEST when nothing of it can be seen. */
export function properTitle(text: string): string {
  const title = oneLine(text);
  if (title === '') throw new CodedError('BAD_REQUEST', 'the title has no letters');
  return title;
}

/** As many whole words as fit; languages that do not part words are cut between characters. */
export function firstWords(text: string): string {
  const line = oneLine(text);
  const characters = [...line];
  if (characters.length <= longest) return line;
  const start = characters.slice(0, longest).join('');
  const whole = characters[longest] === ' ' ? start : start.replace(/ \S*$/, '');
  return `${whole.trimEnd()}…`;
}
