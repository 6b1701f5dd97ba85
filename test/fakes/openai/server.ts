import {
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
  createServer,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';
import {
  type ChatRequest,
  type ChatScript,
  Refusal,
  type Step,
  chatProblems,
  lastWords,
  wordByWord,
} from './chat.js';
import {
  type Sound,
  type SpeechRequest,
  type Transcription,
  speechProblems,
  transcriptionOf,
} from './audio.js';
import { textsOfWav, wavOfText } from './voice.js';

export { type ChatRequest, type ChatScript, Refusal, type Step } from './chat.js';
export type { Sound, SpeechRequest, Transcription } from './audio.js';

/** One request as the fake saw it. */
export interface Exchange {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** The parsed body: JSON, or a form's fields. */
  readonly body: unknown;
  /** How it ended: `aborted` when the client closed before the answer was complete. */
  readonly closed: Promise<'complete' | 'aborted'>;
}

export interface FakeOptions {
  /** Null: a local server without keys, to which none may be sent. */
  readonly apiKey?: string | null;
  /** DashScope's compatible mode: chat only, with its rules. */
  readonly dashscope?: boolean;
  readonly voices?: readonly string[];
  chat?(request: ChatRequest, exchange: Exchange): ChatScript | Promise<ChatScript>;
  transcribe?(
    request: Transcription,
    exchange: Exchange,
  ): string | Refusal | { body: string } | Promise<string | Refusal | { body: string }>;
  speak?(request: SpeechRequest, exchange: Exchange): Sound | Refusal | Promise<Sound | Refusal>;
}

export interface OpenAiFake {
  readonly url: string;
  readonly apiKey: string;
  /** The environment that leads speech and dialogue here. */
  readonly settings: Record<string, string>;
  /** What clients did that a strict server refuses; a test ends by expecting none. */
  readonly violations: string[];
  readonly requests: Exchange[];
}

/**
 * A server of OpenAI's HTTP API on a free port. Without scripts the model answers `You said: ...`,
 * the voice holds its text (`textsOfWav`), and the ears read such a voice.
 */
export async function startOpenAiFake(t: Test, options: FakeOptions = {}): Promise<OpenAiFake> {
  const violations: string[] = [];
  const requests: Exchange[] = [];
  const apiKey = options.apiKey === undefined ? 'sk-fake-0123456789abcdef' : options.apiKey;
  const prefix = options.dashscope === true ? '/compatible-mode/v1' : '/v1';
  const fake = new Fake({ ...options, apiKey }, prefix, violations, requests);
  const server = createServer((request, response) => void fake.handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}${prefix}`;
  return {
    url,
    apiKey: apiKey ?? '',
    settings: settingsOf(url, apiKey, options.dashscope === true),
    violations,
    requests,
  };
}

function settingsOf(
  url: string,
  apiKey: string | null,
  dashscope: boolean,
): Record<string, string> {
  if (dashscope) {
    return {
      DIALOGUE: 'dashscope',
      DASHSCOPE_COMPATIBLE_BASE_URL: url,
      DASHSCOPE_API_KEY: apiKey ?? '',
    };
  }
  return {
    ...{ ASR: 'openai', TTS: 'openai', DIALOGUE: 'openai', DIALOGUE_MODEL: 'fake-chat' },
    OPENAI_BASE_URL: url,
    ...(apiKey === null ? {} : { OPENAI_API_KEY: apiKey }),
  };
}

class Fake {
  readonly #options: FakeOptions;
  readonly #prefix: string;
  readonly #violations: string[];
  readonly #requests: Exchange[];

  constructor(options: FakeOptions, prefix: string, violations: string[], requests: Exchange[]) {
    this.#options = options;
    this.#prefix = prefix;
    this.#violations = violations;
    this.#requests = requests;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const closed = new Promise<'complete' | 'aborted'>((resolve) => {
      response.once('close', () => resolve(response.writableFinished ? 'complete' : 'aborted'));
    });
    response.on('error', () => undefined);
    try {
      const raw = await bodyOf(request);
      const answer = await this.#answer(request, raw, closed);
      if (answer instanceof Refusal) refuse(response, answer);
      else await answer(response);
    } catch (error) {
      if (response.destroyed) return;
      this.#violations.push(`the fake failed: ${String(error)}`);
      response.destroy();
    }
  }

  async #answer(
    request: IncomingMessage,
    raw: Buffer,
    closed: Exchange['closed'],
  ): Promise<Refusal | ((response: ServerResponse) => Promise<void>)> {
    const denied = this.#checkKey(request.headers.authorization);
    const path = (request.url ?? '').slice(this.#prefix.length);
    const route = `${request.method} ${path}`;
    const exchange = { path, headers: request.headers, closed };
    if (denied !== undefined) {
      this.#requests.push({ ...exchange, body: undefined });
      return denied;
    }
    if (route === 'POST /chat/completions') return this.#chat(parsed(raw), exchange);
    if (!this.#options.dashscope && route === 'POST /audio/transcriptions') {
      return this.#transcribe(request.headers['content-type'], raw, exchange);
    }
    if (!this.#options.dashscope && route === 'POST /audio/speech') {
      return this.#speak(parsed(raw), exchange);
    }
    return this.#invalid([`no such route: ${request.method} ${request.url}`], 404);
  }

  /** As the real one does, the refusal repeats the key that was sent. */
  #checkKey(authorization: string | undefined): Refusal | undefined {
    const { apiKey } = this.#options;
    if (apiKey === null) {
      if (authorization === undefined) return undefined;
      this.#violations.push('a key was sent to a server that has none');
      return new Refusal(400, null, 'no Authorization is expected here');
    }
    const sent = /^bearer (.+)$/i.exec(authorization ?? '')?.[1];
    if (sent === apiKey) return undefined;
    const message = `Incorrect API key provided: ${sent ?? 'none'}.`;
    return new Refusal(401, 'invalid_api_key', message);
  }

  #invalid(problems: string[], status = 400): Refusal {
    this.#violations.push(...problems);
    return new Refusal(status, 'invalid_parameter', problems.join('; '));
  }

  async #chat(body: unknown, seen: Omit<Exchange, 'body'>) {
    const exchange = { ...seen, body };
    this.#requests.push(exchange);
    const problems = chatProblems(body, this.#options.dashscope === true);
    if (problems.length > 0) return this.#invalid(problems);
    const request = body as ChatRequest;
    const script =
      (await this.#options.chat?.(request, exchange)) ?? `You said: ${lastWords(request)}`;
    if (script instanceof Refusal) return script;
    const steps = typeof script === 'string' ? wordByWord(script) : script;
    return (response: ServerResponse) => stream(response, steps, request);
  }

  async #transcribe(type: string | undefined, raw: Buffer, seen: Omit<Exchange, 'body'>) {
    const { request, problems } = await transcriptionOf(type, raw);
    const exchange = { ...seen, body: request };
    this.#requests.push(exchange);
    if (request === undefined || problems.length > 0) return this.#invalid(problems);
    const heard =
      (await this.#options.transcribe?.(request, exchange)) ??
      textsOfWav(request.file)?.join(' ') ??
      'hello';
    if (heard instanceof Refusal) return heard;
    const text = typeof heard === 'string' ? JSON.stringify({ text: heard }) : heard.body;
    return async (response: ServerResponse) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(text);
    };
  }

  async #speak(body: unknown, seen: Omit<Exchange, 'body'>) {
    const exchange = { ...seen, body };
    this.#requests.push(exchange);
    const problems = speechProblems(body);
    if (problems.length > 0) return this.#invalid(problems);
    const request = body as SpeechRequest;
    const { voices = ['alloy', 'nova'] } = this.#options;
    if (!voices.includes(request.voice)) {
      return new Refusal(
        400,
        'invalid_value',
        `voice: input should be one of ${voices.join(', ')}`,
      );
    }
    // as the real one: streamed, so the header does not know its size
    const sound = (await this.#options.speak?.(request, exchange)) ?? {
      type: 'audio/wav',
      data: wavOfText(request.input, { claimed: 0xffffffff }),
    };
    if (sound instanceof Refusal) return sound;
    return async (response: ServerResponse) => {
      response.writeHead(200, { 'content-type': sound.type });
      for await (const part of 'data' in sound ? [sound.data] : sound.parts) response.write(part);
      response.end();
    };
  }
}

async function stream(
  response: ServerResponse,
  steps: Iterable<Step> | AsyncIterable<Step>,
  request: ChatRequest,
): Promise<void> {
  const chunk = (choices: unknown[], more = {}) => ({
    ...{ id: 'chatcmpl-fake', object: 'chat.completion.chunk', created: 1, model: request.model },
    choices,
    ...more,
  });
  const choice = (delta: unknown, finish: string | null = null) =>
    chunk([{ index: 0, delta, logprobs: null, finish_reason: finish }]);
  const send = (event: unknown) => response.write(`data: ${JSON.stringify(event)}\n\n`);
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  send(choice({ role: 'assistant', content: '' }));
  let finished = false;
  for await (const step of steps) {
    if (response.destroyed) return;
    if (typeof step === 'string') send(choice({ content: step }));
    else if ('reasoning' in step)
      send(choice({ content: null, reasoning_content: step.reasoning }));
    else if ('refusal' in step) send(choice({ refusal: step.refusal }));
    else if ('error' in step) send({ error: { ...step.error, type: 'server_error', param: null } });
    else if ('raw' in step) response.write(step.raw);
    else if ('cut' in step) return cut(response, step.cut);
    else {
      finished = true;
      send(choice({}, step.finish));
    }
  }
  if (!finished) send(choice({}, 'stop'));
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
  if (request.stream_options?.include_usage === true) send(chunk([], { usage }));
  response.end('data: [DONE]\n\n');
}

async function cut(response: ServerResponse, what: 'connection' | 'body'): Promise<void> {
  if (what === 'body') return void response.end();
  // what was written before goes out first
  await new Promise((resolve) => setImmediate(resolve));
  response.destroy();
}

function refuse(response: ServerResponse, refusal: Refusal): void {
  const { code, message } = refusal;
  const envelope = { error: { message, type: 'invalid_request_error', param: null, code } };
  response
    .writeHead(refusal.status, { 'content-type': 'application/json', ...refusal.headers })
    .end(refusal.body ?? JSON.stringify(envelope));
}

function parsed(raw: Buffer): unknown {
  try {
    return JSON.parse(raw.toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
