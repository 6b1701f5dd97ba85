/** What `work` gives, or the signal's reason as soon as it aborts; the work itself is not waited for. */
export async function until<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => undefined);
  signal.throwIfAborted();
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
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
      const next = await until(iterator.next(), signal);
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
