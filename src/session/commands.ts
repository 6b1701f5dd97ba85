/** What a client asks of its session, in either dialect, after its frame was checked. */
export type Command =
  /** A recording that was uploaded before. */
  | { readonly type: 'upload'; readonly fileId: string }
  /** A piece of a recording; `pcm` formats are 16 kHz 16-bit mono samples without a header. */
  | {
      readonly type: 'chunk';
      readonly data: Uint8Array;
      readonly isLast: boolean;
      readonly format?: string | undefined;
    }
  /** A whole recording in one frame. */
  | { readonly type: 'recording'; readonly data: Uint8Array; readonly seconds?: number | undefined }
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'interrupt' }
  | { readonly type: 'stop' }
  | { readonly type: 'recording-started'; readonly voiceSessionId: string }
  /** One numbered piece of an utterance, each a recording of its own. */
  | {
      readonly type: 'segment';
      readonly voiceSessionId: string;
      readonly index: number;
      readonly data: Uint8Array;
      readonly isLast: boolean;
      readonly seconds?: number | undefined;
    }
  | { readonly type: 'transcribe'; readonly data: Uint8Array }
  | { readonly type: 'end-conversation' };
