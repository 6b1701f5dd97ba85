import type { OpenAI } from 'openai';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import type { Log } from '../log.js';
import {
  type FailureCodes,
  type OpenAiService,
  excerpt,
  failureOf,
  openAiClient,
} from '../provider/openai.js';
import { type Resilient, resilient, retryable } from '../provider/resilience.js';
import type { Dialogue, ReplyRequest } from './dialogue.js';
import { messagesOf } from './prompt.js';
import { withoutThinking } from './thinking.js';

const codes: FailureCodes = { failed: 'DIALOGUE_FAILED', unavailable: 'DIALOGUE_UNAVAILABLE' };

/** A reply ends here, wherever the model is: nobody listens for ten minutes. */
const MAX_REPLY = 8000;

export interface ChatOptions extends OpenAiService {
  readonly name: 'openai' | 'dashscope';
  readonly model: string;
  /** What this service wants in the body besides. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** A chat model behind the OpenAI-compatible `/chat/completions`, streaming. */
export class ChatDialogue implements Dialogue {
  readonly name: string;
  readonly #options: ChatOptions;
  readonly #client: OpenAI;
  readonly #service: Resilient;
  readonly #stallMs: number;

  constructor(options: ChatOptions, settings: Config['providers'], log: Log) {
    this.name = options.name;
    this.#options = options;
    this.#client = openAiClient(options);
    this.#service = resilient(`dialogue:${options.name}`, settings, log);
    this.#stallMs = settings.timeoutMs;
  }

  /**
   * The reply in pieces. Attempts are repeated until the first piece came; after that a failure
   * ends the reply. Rejects with DIALOGUE_FAILED, DIALOGUE_UNAVAILABLE, PROVIDER_TIMEOUT,
   * PROVIDER_REFUSED (the service's content rules) or the reason of `signal`.
   */
  async *reply(
    request: ReplyRequest,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<string> {
    const { stream, first } = await this.#service.run(
      (attempt) => this.#begin(request, attempt),
      signal,
    );
    try {
      let written = first.length;
      yield first;
      while (written < MAX_REPLY) {
        const piece = await stream.next();
        if (piece === undefined) return;
        written += piece.length;
        yield piece;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      stream.close();
    }
  }

  async #begin(request: ReplyRequest, signal: AbortSignal): Promise<Begun> {
    const stream = new PieceStream(this.#options, this.#stallMs, signal);
    try {
      await stream.open(this.#client, {
        ...this.#options.extra,
        model: this.#options.model,
        messages: messagesOf(request),
        stream: true,
      });
      const first = await stream.next();
      if (first === undefined) throw stream.empty();
      return { stream, first };
    } catch (error) {
      stream.close();
      throw error;
    }
  }
}

interface Begun {
  readonly stream: PieceStream;
  readonly first: string;
}

type Request = OpenAI.ChatCompletionCreateParamsStreaming;

/** The text of one streamed answer; every failure has its code. */
class PieceStream {
  readonly #service: OpenAiService;
  readonly #stallMs: number;
  readonly #controller = new AbortController();
  readonly #signal: AbortSignal;
  readonly #follow: () => void;
  #pieces: AsyncIterator<string> | undefined;
  #finish: string | undefined;

  constructor(service: OpenAiService, stallMs: number, signal: AbortSignal) {
    this.#service = service;
    this.#stallMs = stallMs;
    this.#signal = signal;
    this.#follow = () => this.#controller.abort(signal.reason);
    signal.addEventListener('abort', this.#follow, { once: true });
    if (signal.aborted) this.#follow();
  }

  async open(client: OpenAI, request: Request): Promise<void> {
    try {
      const { signal } = this.#controller;
      const chunks = await client.chat.completions.create(request, { signal });
      this.#pieces = withoutThinking(this.#texts(chunks))[Symbol.asyncIterator]();
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** The next text; undefined when the model has finished. */
  async next(): Promise<string | undefined> {
    const timer = setTimeout(() => this.#controller.abort(this.#stalled()), this.#stallMs);
    try {
      const result = await this.#pieces?.next();
      this.#controller.signal.throwIfAborted();
      if (result?.done === false) return result.value;
    } catch (error) {
      // what happens to the stream after its last word changes nothing
      if (this.#finish === undefined || this.#signal.aborted) throw this.#failure(error);
    } finally {
      clearTimeout(timer);
    }
    this.#checkFinish();
    return undefined;
  }

  /** Ends the request if it still runs; the service sees its connection close. */
  close(): void {
    this.#signal.removeEventListener('abort', this.#follow);
    this.#controller.abort();
  }

  empty(): CodedError {
    const text = `the model of ${this.#service.name} wrote an empty reply (finish reason: ${this.#finish})`;
    return retryable(new CodedError('DIALOGUE_FAILED', text));
  }

  async *#texts(chunks: AsyncIterable<OpenAI.ChatCompletionChunk>): AsyncGenerator<string> {
    for await (const chunk of chunks) {
      // usage comes in a chunk without choices; some servers leave the field out
      const choice = (chunk.choices as OpenAI.ChatCompletionChunk['choices'] | undefined)?.[0];
      if (choice === undefined) continue;
      const delta = choice.delta as OpenAI.ChatCompletionChunk.Choice.Delta | undefined;
      // a model that declines says so in a field of its own: those words are its reply
      const text = delta?.content ?? delta?.refusal;
      if (typeof text === 'string' && text !== '') yield text;
      if (typeof choice.finish_reason === 'string') this.#finish = choice.finish_reason;
    }
  }

  #checkFinish(): void {
    const { name } = this.#service;
    if (this.#finish === undefined) {
      const text = `the stream of ${name} broke off before the reply was complete`;
      throw retryable(new CodedError('DIALOGUE_FAILED', text));
    }
    if (/content_filter|sensitive/.test(this.#finish)) {
      const reason = excerpt(this.#finish, this.#service);
      const text = `the service ${name} stopped the reply by its content rules (finish reason: ${reason})`;
      throw new CodedError('PROVIDER_REFUSED', text);
    }
  }

  #failure(error: unknown): unknown {
    // the SDK reports any abort as its own error, or as the end of the stream
    if (this.#controller.signal.aborted) return this.#controller.signal.reason;
    return failureOf(error, this.#service, codes);
  }

  #stalled(): CodedError {
    const text = `the service ${this.#service.name} sent nothing for ${this.#stallMs / 1000} s in the middle of a reply`;
    return new CodedError('PROVIDER_TIMEOUT', text);
  }
}
