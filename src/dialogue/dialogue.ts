/** What the session asks of a dialogue model. */

/** The part of a role that shapes its answers. */
export interface Character {
  readonly name: string;
  readonly gender?: string | undefined;
  readonly age?: number | undefined;
  readonly personality: string;
  readonly language?: string | undefined;
}

export interface Utterance {
  readonly speaker: 'user' | 'ai';
  readonly text: string;
}

export interface ReplyRequest {
  readonly text: string;
  /** Oldest first, without `text`. */
  readonly history: readonly Utterance[];
  readonly character: Character;
  /** What is known of the user (nickname, occupation ...), for the model. */
  readonly userProfile?: string | undefined;
}

export interface Dialogue {
  readonly name: string;
  /** The reply as the model writes it, in pieces of any length. */
  reply(request: ReplyRequest, options: { readonly signal: AbortSignal }): AsyncIterable<string>;
  close?(): Promise<void>;
}
