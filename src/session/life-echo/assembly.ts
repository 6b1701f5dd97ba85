import { CodedError } from '../../errors.js';

/** The words of one segment. */
export interface Piece {
  readonly text: string;
  readonly seconds: number;
}

/**
 * The segments of one utterance: they may arrive in any order and more than once, are transcribed
 * at the same time, and are consumed strictly in the order of their indexes.
 */
export class Assembly {
  /** Offered and not yet settled. */
  readonly #pending = new Set<number>();
  /** Settled, but one before them is not. */
  readonly #settled = new Map<number, Piece | undefined>();
  readonly #texts: string[] = [];
  #next = 0;
  #last: number | undefined;
  #highest = -1;
  #isClosed = false;

  /**
   * False for a segment that came before; it may still say that it was the last one. FRAME_INVALID
   * when it contradicts what is known of the last one.
   */
  offer(index: number, isLast: boolean): boolean {
    this.#checkLast(index, isLast);
    const isNew = !this.#isClosed && index >= this.#next && !this.#has(index);
    if (isLast && !this.#isClosed) this.#last = index;
    if (!isNew) return false;
    this.#pending.add(index);
    this.#highest = Math.max(this.#highest, index);
    return true;
  }

  /**
   * A segment's words; undefined when it has none, and the rest goes on without it. Returns what is
   * consumed now.
   */
  settle(index: number, piece: Piece | undefined): Piece[] {
    if (!this.#pending.delete(index)) return [];
    this.#settled.set(index, piece);
    const consumed: Piece[] = [];
    while (this.#settled.has(this.#next)) {
      this.#take(this.#next++, consumed);
    }
    return consumed;
  }

  /** What was consumed until now. */
  get text(): string {
    return joinTexts(this.#texts);
  }

  /** Whether everything up to the last one was consumed. */
  get isComplete(): boolean {
    return this.#last !== undefined && this.#next > this.#last;
  }

  get hasLast(): boolean {
    return this.#last !== undefined;
  }

  get isTranscribing(): boolean {
    return this.#pending.size > 0;
  }

  /** Those before the last one, or before the highest that came, that never did. */
  get missing(): number[] {
    const missing: number[] = [];
    for (let index = this.#next; index < (this.#last ?? this.#highest); index++) {
      if (!this.#has(index)) missing.push(index);
    }
    return missing;
  }

  /** Ends it: what comes now is a duplicate. Returns what waited for a missing one. */
  close(): Piece[] {
    const rest: Piece[] = [];
    for (const index of [...this.#settled.keys()].sort((a, b) => a - b)) this.#take(index, rest);
    this.#pending.clear();
    this.#isClosed = true;
    return rest;
  }

  #checkLast(index: number, isLast: boolean): void {
    if (this.#last !== undefined && index > this.#last) {
      throw contradiction(`segment ${index} comes after ${this.#last}, which was the last`);
    }
    if (!isLast || index === this.#last) return;
    const later = this.#last ?? this.#highest;
    if (later > index)
      throw contradiction(`segment ${index} cannot be the last: ${later} has come`);
  }

  #has(index: number): boolean {
    return this.#pending.has(index) || this.#settled.has(index);
  }

  #take(index: number, into: Piece[]): void {
    const piece = this.#settled.get(index);
    this.#settled.delete(index);
    const text = piece?.text.trim() ?? '';
    if (piece === undefined || text === '') return;
    this.#texts.push(text);
    into.push({ ...piece, text });
  }
}

/** Scripts that put no space between sentences. */
const unspaced =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\u3000-\u303f\uff00-\uffef]/u;

/** With a space between them, except where Chinese or Japanese meets its like. */
export function joinTexts(texts: readonly string[]): string {
  let whole = '';
  for (const text of texts) {
    const before = [...whole.slice(-2)].at(-1) ?? '';
    const [after = ''] = text;
    whole += (whole === '' || (unspaced.test(before) && unspaced.test(after)) ? '' : ' ') + text;
  }
  return whole;
}

function contradiction(message: string): CodedError {
  return new CodedError('FRAME_INVALID', `audio_segment: data.segment_index: ${message}`);
}
