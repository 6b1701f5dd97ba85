const OPEN = '<think>';
const CLOSE = '</think>';

/**
 * Some local servers write a reasoning model's thoughts into the reply itself, as its first
 * `<think>` block: it is dropped. Everything after it passes as it comes.
 */
export async function* withoutThinking(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  let held = '';
  let state: 'start' | 'thinking' | 'reply' = 'start';
  for await (const piece of pieces) {
    if (state === 'reply') {
      yield piece;
      continue;
    }
    held += piece;
    if (state === 'start') {
      held = held.trimStart();
      if (held.startsWith(OPEN)) state = 'thinking';
      else if (!OPEN.startsWith(held)) state = 'reply';
    }
    if (state === 'thinking') {
      const end = held.indexOf(CLOSE);
      // only what may be the beginning of the end is kept
      held = end === -1 ? OPEN + held.slice(OPEN.length).slice(-CLOSE.length) : held;
      if (end !== -1) {
        held = held.slice(end + CLOSE.length).trimStart();
        state = 'reply';
      }
    }
    if (state === 'reply' && held !== '') {
      yield held;
      held = '';
    }
  }
  if (state === 'start' && held !== '') yield held;
}
