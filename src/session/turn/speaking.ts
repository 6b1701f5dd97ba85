import { sentencesOf } from '../../dialogue/sentences.js';
import { spokenText } from '../../dialogue/spoken.js';
import type { Speech } from '../../speech/speech.js';
import { piecesUntil, unlessAborted } from '../../abort.js';

export interface Spoken {
  readonly text: string;
  readonly speech: Speech;
  readonly isLast: boolean;
}

/** Sentences in the making at the same time: the one to be heard next, and those after it. */
const lookAhead = 3;
/** How long a finished sentence waits for a model that may have ended or may go on. */
const undecidedMs = 200;
const silenceSeconds = 0.1;

interface Making {
  readonly text: string;
  readonly speech: Promise<Speech>;
}

/**
 * Speaks a reply while it is being written: the sentences in order, each as soon as it is spoken
 * and everything before it was handed over. When the model pauses so long after what was its last
 * sentence that the sentence had to go out as one of many, an empty one closes the reply.
 */
export async function* spoken(
  pieces: AsyncIterable<string>,
  speak: (text: string) => Promise<Speech>,
  signal: AbortSignal,
): AsyncGenerator<Spoken> {
  const reply = new Reply(pieces, speak, signal);
  let open = false;
  let format = { sampleRate: 16_000 };
  for (let at = 0; ; at++) {
    const making = await reply.sentence(at);
    if (making === undefined) break;
    const speech = await unlessAborted(making.speech, signal);
    reply.taken(at);
    const isLast = await reply.isLast(at);
    yield { text: making.text, speech, isLast };
    format = speech;
    open = !isLast;
  }
  if (open) yield { text: '', speech: silence(format.sampleRate), isLast: true };
}

class Reply {
  readonly #speak: (text: string) => Promise<Speech>;
  readonly #signal: AbortSignal;
  readonly #making: Making[] = [];
  #taken = 0;
  /** Letters the model wrote, less those of the sentences found so far. */
  #unused = 0;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(
    pieces: AsyncIterable<string>,
    speak: (text: string) => Promise<Speech>,
    signal: AbortSignal,
  ) {
    this.#speak = speak;
    this.#signal = signal;
    signal.addEventListener('abort', this.#wake, { once: true });
    void this.#read(pieces);
  }

  async #read(pieces: AsyncIterable<string>): Promise<void> {
    try {
      for await (const text of sentencesOf(this.#counted(pieces))) {
        this.#unused -= lettersIn(text);
        const words = spokenText(text);
        const speech = words === '' ? Promise.resolve(silence(16_000)) : this.#speak(words);
        speech.catch(() => undefined);
        this.#making.push({ text, speech });
        this.#wake();
        while (!this.#signal.aborted && this.#making.length - this.#taken >= lookAhead) {
          await this.#change();
        }
        if (this.#signal.aborted) return;
      }
    } catch (error) {
      this.#failure = { error };
    } finally {
      this.#ended = true;
      this.#signal.removeEventListener('abort', this.#wake);
      this.#wake();
    }
  }

  async *#counted(pieces: AsyncIterable<string>): AsyncGenerator<string> {
    for await (const piece of piecesUntil(pieces, this.#signal)) {
      this.#unused += lettersIn(piece);
      this.#wake();
      yield piece;
    }
  }

  /** The sentence at a position; undefined after the last. */
  async sentence(at: number): Promise<Making | undefined> {
    for (;;) {
      this.#signal.throwIfAborted();
      const making = this.#making[at];
      if (making !== undefined) return making;
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#ended) return undefined;
      await this.#change();
    }
  }

  taken(at: number): void {
    this.#taken = at + 1;
    this.#wake();
  }

  async isLast(at: number): Promise<boolean> {
    const deadline = performance.now() + undecidedMs;
    for (;;) {
      this.#signal.throwIfAborted();
      if (this.#making.length > at + 1) return false;
      if (this.#ended) return this.#failure === undefined;
      const left = deadline - performance.now();
      if (this.#unused > 0 || left <= 0) return false;
      await this.#change(left);
    }
  }

  #change(ms?: number): Promise<void> {
    if (this.#signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = ms === undefined ? undefined : setTimeout(wake, ms);
      this.#waiting.add(wake);
    });
  }

  readonly #wake = (): void => {
    for (const wake of this.#waiting) wake();
  };
}

const lettersIn = (text: string): number => text.replace(/\s+/g, '').length;

function silence(sampleRate: number): Speech {
  return { pcm: new Uint8Array(2 * Math.round(silenceSeconds * sampleRate)), sampleRate };
}
