import { unlessAborted } from '../../provider/abort.js';

/** The same pieces, but none after the signal aborts, even when their maker does not listen to it. */
export async function* piecesUntil<T>(
  pieces: AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T> {
  const iterator = pieces[Symbol.asyncIterator]();
  let done = false;
  try {
    for (;;) {
      const next = await unlessAborted(iterator.next(), signal);
      if (next.done === true) {
        done = true;
        return;
      }
      yield next.value;
    }
  } catch (error) {
    done = !signal.aborted;
    throw error;
  } finally {
    if (!done) void iterator.return?.().catch(() => undefined);
  }
}
