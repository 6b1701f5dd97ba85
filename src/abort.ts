/** Settles as `work` does, but rejects with the signal's reason as soon as it is aborted. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

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

/**
 * Aborted as `signal` is, and with `late()` after so many milliseconds unless it is ended before.
 * The timer holds what it aborts: `AbortSignal.any` alone lets go of an `AbortSignal.timeout`.
 */
export function timeLimit(
  signal: AbortSignal,
  ms: number,
  late: () => Error,
): { readonly signal: AbortSignal; readonly limit: AbortSignal; end(): void } {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(late()), ms);
  const either = AbortSignal.any([signal, limit.signal]);
  return { signal: either, limit: limit.signal, end: () => clearTimeout(timer) };
}
