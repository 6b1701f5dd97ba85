/** What the session asks of speech services; each provider implements one of these. */

/** Recorded speech as it reached us: any accepted format, judged by its content. */
export interface Recording {
  readonly data: Uint8Array;
  /** Media type, such as `audio/wav` or `audio/mp4`. */
  readonly mime: string;
  /** File name extension that fits `mime`, without a dot. */
  readonly extension: string;
  /** An address that services on the internet can fetch; only with PUBLIC_BASE_URL. */
  readonly publicUrl?: string | undefined;
}

export interface RecogniseOptions {
  readonly signal: AbortSignal;
  /** BCP 47, when the role or the user says it. */
  readonly language?: string | undefined;
}

export interface Recogniser {
  readonly name: string;
  /**
   * The words of the recording; an empty text when nobody speaks. Undefined: this recogniser does
   * not know words at all (`parrot`), and the reply is the recording itself.
   */
  recognise(recording: Recording, options: RecogniseOptions): Promise<string | undefined>;
  close?(): Promise<void>;
}

/** 16-bit mono samples. */
export interface Speech {
  readonly pcm: Uint8Array;
  readonly sampleRate: number;
}

export interface SpeakOptions {
  readonly signal: AbortSignal;
  /** The provider's name of the voice; its default when undefined or unknown to it. */
  readonly voice?: string | undefined;
  /** 0.5 to 2, 1 is normal. */
  readonly rate?: number | undefined;
  readonly pitch?: number | undefined;
  readonly language?: string | undefined;
}

export interface Synthesiser {
  readonly name: string;
  /** Speaks one sentence (or a few); the session calls it sentence by sentence. */
  speak(text: string, options: SpeakOptions): Promise<Speech>;
  close?(): Promise<void>;
}
