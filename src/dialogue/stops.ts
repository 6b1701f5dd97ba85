/** What stands around the end of a sentence in English and Chinese. */

/** Titles and the like: the sentence always goes on. */
const ALWAYS = new Set(
  (
    'mr mrs ms messrs mx dr prof st hon rev fr sgt capt cpt lt col gen adm maj cmdr gov sen rep ' +
    'pres mt e.g i.e eg ie cf viz ca approx vs al'
  ).split(' '),
);

/** Shortened words when a number follows: `No. 5`, `Fig. 2`, `Jan. 12`. */
const BEFORE_NUMBER = new Set(
  (
    'no nos nr fig figs vol vols p pp ch sec art eq ed tel op ' +
    'jan feb mar apr jun jul aug sep sept oct nov dec'
  ).split(' '),
);

/** Ends of quotations, brackets and emphasis, which belong to the sentence before. */
const CLOSING = new Set([...'"\'”’»)]}）］】」』》〉〕*_']);
const STOPS = new Set([...'.!?…。！？｡．']);
const WIDE_STOP = /[。！？｡．]/;
const WIDE_PAUSE = /[，、；：]/;
const PAUSE = /[,;:—–]/;
const WIDE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff00-\uffef]/u;
const JOINING = /^[\p{M}\p{Emoji_Modifier}\u200d]$/u;

export const isSpace = (char: string): boolean => /^\s$/.test(char);
export const isStop = (char: string): boolean => STOPS.has(char);
export const hasWords = (text: string): boolean => /[\p{L}\p{N}]/u.test(text);
const isWide = (char: string): boolean => WIDE.test(char);
const isLower = (char: string): boolean => /^\p{Ll}$/u.test(char);
const isDigit = (char: string): boolean => /^\p{Nd}$/u.test(char);

/** The whole character at `at`, which may be two code units; empty behind the end. */
export function charAt(text: string, at: number): string {
  const code = text.codePointAt(at);
  return code === undefined ? '' : String.fromCodePoint(code);
}

/** A rough measure of how long it takes to say; never less than the number of code units. */
export function widthOf(char: string): number {
  return char.length > 1 || isWide(char) ? 2 : 1;
}

/** Whether a cut before `at` would take an accent or half of an emoji from its character. */
export function splitsCharacter(text: string, at: number): boolean {
  const low = text.charCodeAt(at);
  if (low >= 0xdc00 && low <= 0xdfff) return true;
  return JOINING.test(charAt(text, at)) || text.charAt(at - 1) === '\u200d';
}

/** Undefined: what comes next decides. */
export type Verdict = boolean | undefined;

/** Whether the character at `at` is a pause of speech, and not part of a number, time or word. */
export function isPause(text: string, at: number, ended: boolean): Verdict {
  const char = text.charAt(at);
  if (WIDE_PAUSE.test(char)) return true;
  if (!PAUSE.test(char)) return false;
  const next = charAt(text, at + 1);
  if (next === '') return ended ? true : undefined;
  return isSpace(next) || isWide(next) || char === '—';
}

/** Whether the line ends at the line feed at `at`, and is not merely broken there. */
export function endsLine(text: string, at: number, ended: boolean): Verdict {
  const after = skipSpaces(text, at + 1);
  if (text.slice(at + 1, after).includes('\n')) return true;
  const next = charAt(text, after);
  if (next === '') return ended ? true : undefined;
  return !isLower(next);
}

/** The end of the stops and closing marks that begin at `at`. */
export function endOfStop(text: string, at: number): number {
  let end = at;
  while (isStop(text.charAt(end))) end++;
  while (CLOSING.has(text.charAt(end))) end++;
  return end;
}

/**
 * Whether the stops and closing marks from `at` to `end` are the end of a sentence; undefined, too,
 * while more of them may follow.
 */
export function endsSentence(text: string, at: number, end: number, ended: boolean): Verdict {
  const next = charAt(text, end);
  if (next === '') return ended ? true : undefined;
  const stops = text.slice(at, end);
  if (WIDE_STOP.test(stops)) return !(stops === '．' && isDigit(next));
  const single = stops.startsWith('.') && !isStop(stops.charAt(1));
  if (single && continues(text, at)) return false;
  if (isWide(next)) return true;
  if (!isSpace(next)) return false;

  const after = skipSpaces(text, end);
  if (text.slice(end, after).includes('\n')) return true;
  const following = charAt(text, after);
  if (following === '') return ended ? true : undefined;
  if (single && isDigit(following) && BEFORE_NUMBER.has(wordBefore(text, at).toLowerCase())) {
    return false;
  }
  // `"Really?" she asked`, `Well... perhaps`, `Inc. of`
  return /^[!?]+$/.test(stops) || !isLower(following);
}

/** After `Dr.`, `U.S.`, `J.`, and after the `1.` that opens a line of a list. */
function continues(text: string, at: number): boolean {
  const before = text.slice(Math.max(0, at - 16), at);
  const opening = /(?:^|\n)[ \t]*[*_([]*\d{1,3}$/.exec(before);
  if (opening !== null && (before.length === at || opening[0].startsWith('\n'))) return true;
  const word = wordBefore(text, at);
  if (isDigit(text.charAt(at - word.length - 1))) return false;
  if (/^[ap]\.?m$/i.test(word)) return false;
  return ALWAYS.has(word.toLowerCase()) || /^(\p{L}\.)+\p{L}$|^(?!I$)\p{Lu}$/u.test(word);
}

/** The word that ends before `at`, with its inner full stops. */
function wordBefore(text: string, at: number): string {
  return /[\p{L}.]{1,16}$/u.exec(text.slice(Math.max(0, at - 16), at))?.[0] ?? '';
}

function skipSpaces(text: string, from: number): number {
  let at = from;
  while (at < text.length && isSpace(text.charAt(at))) at++;
  return at;
}
