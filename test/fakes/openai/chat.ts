/** The scripted answers of the fake chat model and the rules for what it is asked. */

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface ChatRequest {
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  readonly stream: boolean;
  readonly stream_options?: { readonly include_usage?: boolean };
  readonly enable_thinking?: boolean;
}

/** What the service says no with. */
export class Refusal {
  constructor(
    readonly status: number,
    readonly code: string | null,
    readonly message: string,
    readonly headers: Readonly<Record<string, string>> = {},
    /** Instead of OpenAI's envelope. */
    readonly body?: string,
  ) {}
}

/** One thing that happens in a stream; a text is what the model writes next. */
export type Step =
  | string
  | { readonly reasoning: string }
  | { readonly refusal: string }
  | { readonly finish: string }
  /** An error in the stream, after the status line said 200. */
  | { readonly error: { readonly code: string; readonly message: string } }
  /** Bytes as they are. */
  | { readonly raw: string }
  /** The connection breaks, or the body ends without a last word. */
  | { readonly cut: 'connection' | 'body' };

export type ChatScript = string | Refusal | Iterable<Step> | AsyncIterable<Step>;

const known = new Set(['model', 'messages', 'stream', 'stream_options']);
const loneSurrogate = /\p{Surrogate}/u;

/** What is wrong with a request; strict as the strictest servers are. */
export function chatProblems(body: unknown, dashscope: boolean): string[] {
  if (typeof body !== 'object' || body === null) return ['the body is no object'];
  const request = body as Record<string, unknown>;
  const problems: string[] = [];
  for (const key of Object.keys(request)) {
    if (!known.has(key) && !(dashscope && key === 'enable_thinking')) {
      problems.push(`unknown parameter ${key}`);
    }
  }
  if (typeof request['model'] !== 'string' || request['model'] === '') problems.push('no model');
  if (request['stream'] !== true) problems.push('stream is not true');
  if (dashscope && request['enable_thinking'] !== false) {
    problems.push('enable_thinking is not false: a voice cannot wait for thoughts');
  }
  problems.push(...messageProblems(request['messages']));
  return problems;
}

function messageProblems(messages: unknown): string[] {
  if (!Array.isArray(messages) || messages.length === 0) return ['no messages'];
  const problems: string[] = [];
  (messages as Partial<ChatMessage>[]).forEach((message, i) => {
    const { role, content } = message;
    if (typeof content !== 'string' || content.trim() === '') problems.push(`${i}: empty content`);
    else if (loneSurrogate.test(content)) problems.push(`${i}: half a character`);
    if (role === 'system' && i > 0) problems.push(`${i}: system is only allowed first`);
    else if (!['system', 'user', 'assistant'].includes(role ?? '')) {
      problems.push(`${i}: role ${role}`);
    }
    if (i > 0 && messages[i - 1] && (messages[i - 1] as ChatMessage).role === role) {
      problems.push(`${i}: conversation roles must alternate user/assistant/user/assistant/...`);
    }
  });
  const first = (messages as ChatMessage[]).find(({ role }) => role !== 'system');
  if (first?.role !== 'user') problems.push('the conversation does not begin with the user');
  if ((messages as ChatMessage[]).at(-1)?.role !== 'user') problems.push('the last is no user');
  return problems;
}

export function lastWords(request: ChatRequest): string {
  return request.messages.at(-1)?.content ?? '';
}

/** `Hello, you there` as a model writes it: word by word. */
export function wordByWord(text: string): string[] {
  return text.match(/\s*\S+|\s+$/g) ?? [];
}
