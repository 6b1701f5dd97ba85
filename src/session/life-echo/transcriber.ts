import { CodedError } from '../../errors.js';
import { durationOf, recordingOf } from '../../media/recording.js';
import type { Session } from '../core/session.js';
import { unlessAborted } from '../../abort.js';
import type { Piece } from './assembly.js';

/** How many recordings of one conversation are with the recogniser at the same time. */
const maxAtOnce = 4;

/** Turns recordings into words for one conversation, some at the same time. */
export class Transcriber {
  readonly #session: Session;
  readonly #running = new Set<Promise<void>>();

  constructor(session: Session) {
    this.#session = session;
  }

  /**
   * Starts when there is room, which is what the promise waits for: a client that sends faster
   * than its words are recognised is read more slowly. `done` gets the words or the failure, and
   * nothing when the session ended meanwhile.
   */
  async start(data: Uint8Array, done: (result: Piece | Error) => Promise<void>): Promise<void> {
    while (this.#running.size >= maxAtOnce) await Promise.race(this.#running);
    const { signal, services, id } = this.#session;
    const work = this.#transcribe(data)
      .catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))))
      .then((result) => (signal.aborted ? undefined : done(result)))
      .catch((error: unknown) => {
        services.log.error({ err: error, session: id }, 'a transcript could not be used');
      })
      .finally(() => this.#running.delete(work));
    this.#running.add(work);
  }

  /** Resolves when nothing runs. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #transcribe(data: Uint8Array): Promise<Piece> {
    const { signal, setup, services } = this.#session;
    const recording = await recordingOf(data);
    const maxSeconds = services.config.tasks.maxAudioSeconds;
    const seconds = await durationOf(recording, { signal, maxSeconds });
    const reservation =
      setup.user &&
      (await services.quota.reserve(setup.user, { audio_seconds: Math.ceil(seconds) }));
    let isDone = false;
    try {
      const language = setup.role.language ?? undefined;
      const text = await unlessAborted(
        services.recogniser.recognise(recording, { signal, language }),
        signal,
      );
      if (text === undefined) throw wordless();
      isDone = true;
      return { text: text.trim(), seconds };
    } finally {
      await (isDone ? reservation?.settle({}) : reservation?.release());
    }
  }
}

function wordless(): CodedError {
  return new CodedError(
    'ASR_UNAVAILABLE',
    'this server recognises no words (ASR=parrot): send text, or ask its operator to set ASR',
  );
}
