import type { Dialogue } from '../dialogue/dialogue.js';
import { codeOf } from '../errors.js';
import type { Recogniser, Synthesiser } from '../speech/speech.js';
import { meters } from './meters.js';
import { traced } from './trace.js';

/** The same recogniser, with its calls measured. */
export function observedRecogniser(inner: Recogniser): Recogniser {
  const service = `asr:${inner.name}`;
  return {
    name: inner.name,
    recognise: (recording, options) =>
      observed(service, options.signal, () => inner.recognise(recording, options)),
    close: async () => inner.close?.(),
  };
}

/** The same synthesiser, with its calls measured. */
export function observedSynthesiser(inner: Synthesiser): Synthesiser {
  const service = `tts:${inner.name}`;
  return {
    name: inner.name,
    speak: (text, options) => observed(service, options.signal, () => inner.speak(text, options)),
    close: async () => inner.close?.(),
  };
}

/** The same dialogue; what is measured is how long its first words take. */
export function observedDialogue(inner: Dialogue): Dialogue {
  const service = `dialogue:${inner.name}`;
  return {
    name: inner.name,
    async *reply(request, options) {
      const pieces = inner.reply(request, options)[Symbol.asyncIterator]();
      try {
        let next = await observed(service, options.signal, () => pieces.next());
        for (; next.done !== true; next = await pieces.next()) yield next.value;
      } finally {
        await pieces.return?.();
      }
    },
    close: async () => inner.close?.(),
  };
}

async function observed<T>(
  service: string,
  signal: AbortSignal,
  call: () => Promise<T>,
): Promise<T> {
  const begun = performance.now();
  const end = (outcome: 'ok' | 'failed' | 'cut') =>
    meters.providerDuration.observe({ service, outcome }, (performance.now() - begun) / 1000);
  try {
    const answer = await traced(service, { kind: 'client' }, call);
    end('ok');
    return answer;
  } catch (error) {
    end(signal.aborted ? 'cut' : 'failed');
    if (!signal.aborted) meters.providerFailures.inc({ service, code: codeOf(error) });
    throw error;
  }
}
