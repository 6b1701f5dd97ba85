import type { Dialogue, ReplyRequest } from './dialogue.js';

/** Answers with the user's own words, as the predecessor does; needs no service. */
export class EchoDialogue implements Dialogue {
  readonly name = 'echo';

  async *reply(
    request: ReplyRequest,
    options: { readonly signal: AbortSignal },
  ): AsyncGenerator<string> {
    options.signal.throwIfAborted();
    yield request.text;
  }
}
