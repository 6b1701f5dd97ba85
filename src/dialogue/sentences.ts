import {
  charAt,
  endOfStop,
  endsLine,
  endsSentence,
  hasWords,
  isPause,
  isSpace,
  isStop,
  splitsCharacter,
  widthOf,
} from './stops.js';

/** Lengths in letters; a Chinese character or an emoji counts two. */
const MAX_WIDTH = 200;
/** Shorter sentences are spoken with the next, except the first, which somebody waits for. */
const MIN_WIDTH = 16;
/** From here on the first sentence may end at a comma. */
const FIRST_WIDTH = 40;
/** How far beyond the longest sentence we look for what decides. */
const LOOK_AHEAD = 64;
const VIEW = MAX_WIDTH + LOOK_AHEAD;

/**
 * Cuts text into sentences to be spoken, each as soon as it is complete. How the text was cut into
 * pieces makes no difference, and no character but white space is lost.
 */
export class SentenceSplitter {
  #rest = '';
  #first = true;

  /** The sentences that `piece` completes. */
  push(piece: string): string[] {
    this.#rest += piece;
    return this.#cut(false);
  }

  /** What is left when no more comes. */
  end(): string[] {
    const last = this.#cut(true);
    const rest = this.#rest.trim();
    this.#rest = '';
    this.#first = true;
    return rest === '' ? last : [...last, rest];
  }

  #cut(ended: boolean): string[] {
    const sentences: string[] = [];
    for (;;) {
      this.#rest = this.#rest.trimStart();
      const end = nextCut(this.#rest, this.#first, ended);
      if (end === undefined) return sentences;
      sentences.push(this.#rest.slice(0, end).trimEnd());
      this.#rest = this.#rest.slice(end);
      this.#first = false;
    }
  }
}

/** The sentences of a text that is still being written. */
export async function* sentencesOf(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  const splitter = new SentenceSplitter();
  for await (const piece of pieces) yield* splitter.push(piece);
  yield* splitter.end();
}

/**
 * Where the first sentence of `rest` ends; undefined while that is open. An answer never changes
 * when more text arrives: each step decides for good or waits for what decides.
 */
function nextCut(rest: string, first: boolean, isEnd: boolean): number | undefined {
  const text = viewOf(rest, isEnd);
  const ended = isEnd || rest.length >= VIEW;
  let width = 0;
  let decidedTo = 0;
  let pause = 0;
  let gap = 0;
  for (let at = 0; at < text.length;) {
    const char = charAt(text, at);
    const after = at + char.length;
    width += widthOf(char);
    if (width > MAX_WIDTH) return forcedCut(text, at, pause, gap);

    if (at >= decidedTo && isStop(char)) {
      const end = endOfStop(text, at);
      const verdict = endsSentence(text, at, end, ended);
      if (verdict === undefined) return undefined;
      if (verdict && isEnough(text.slice(0, end), first ? 0 : MIN_WIDTH)) return end;
      decidedTo = end;
    } else if (char === '\n') {
      const verdict = endsLine(text, at, ended);
      if (verdict === undefined) return undefined;
      if (verdict && isEnough(text.slice(0, at), first ? 0 : MIN_WIDTH)) return at;
    } else if (at >= decidedTo) {
      const verdict = isPause(text, at, ended);
      if (verdict === undefined) return undefined;
      if (verdict && first && width >= FIRST_WIDTH && hasWords(text.slice(0, at))) return after;
      if (verdict) pause = after;
    }
    if (isSpace(char)) gap = at;
    at = after;
  }
  return undefined;
}

/** As much of the text as may count; half a character at its end waits for the other half. */
function viewOf(rest: string, ended: boolean): string {
  const text = rest.slice(0, VIEW);
  const last = text.charCodeAt(text.length - 1);
  return !ended && last >= 0xd800 && last <= 0xdbff ? text.slice(0, -1) : text;
}

function isEnough(text: string, least: number): boolean {
  if (!hasWords(text)) return false;
  let width = 0;
  for (const char of text) width += widthOf(char);
  return width >= least;
}

/** A sentence that goes on for too long ends at its last pause, else at a space, else anywhere. */
function forcedCut(text: string, limit: number, pause: number, gap: number): number {
  if (pause > MAX_WIDTH / 8) return pause;
  if (gap > MAX_WIDTH / 8) return gap;
  let at = limit;
  while (at > limit - 32 && splitsCharacter(text, at)) at--;
  return splitsCharacter(text, at) ? limit : at;
}
