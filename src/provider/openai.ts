import { APIConnectionError, APIConnectionTimeoutError, APIError, OpenAI } from 'openai';
import { CodedError, type ErrorCode } from '../errors.js';
import { retryAfterMs, retryable } from './resilience.js';

export interface OpenAiService {
  /** Stands in messages: `openai`, `dashscope`. */
  readonly name: string;
  readonly url: string;
  /** Local servers often have none. */
  readonly apiKey: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The codes of what a service may say no to. */
export interface FailureCodes {
  readonly failed: ErrorCode;
  readonly unavailable: ErrorCode;
}

/** `resilient` cuts attempts short; the SDK only needs to keep out of its way. */
const NO_TIMEOUT_MS = 24 * 3_600_000;
const MAX_MESSAGE = 300;

/**
 * The SDK's client: it tries once, logs nothing and reads no environment variables. Whatever it
 * throws goes through `failureOf`.
 */
export function openAiClient(service: OpenAiService): OpenAI {
  return new Client({
    baseURL: service.url,
    apiKey: service.apiKey ?? 'none',
    organization: null,
    project: null,
    webhookSecret: null,
    defaultHeaders: {
      ...(service.apiKey === undefined ? { Authorization: null } : {}),
      ...service.headers,
    },
    maxRetries: 0,
    timeout: NO_TIMEOUT_MS,
    logLevel: 'off',
    // what people say goes to the address that the operator named, and to no other
    fetchOptions: { redirect: 'error' },
  });
}

class Client extends OpenAI {
  /** Not every server wraps its refusals as OpenAI does: FastAPI says `detail`, others nothing. */
  protected override makeStatusError(
    status: number,
    body: object | undefined,
    message: string | undefined,
    headers: Headers,
  ): APIError {
    const plain = body as { error?: unknown; detail?: unknown } | undefined;
    const wrapped =
      typeof plain !== 'object' || plain === null || plain.error !== undefined
        ? plain
        : { error: plain.detail === undefined ? plain : asError(plain.detail) };
    return super.makeStatusError(status, wrapped as object, message, headers);
  }
}

function asError(detail: unknown): object {
  if (typeof detail === 'object' && detail !== null && 'message' in detail) return detail;
  return { message: typeof detail === 'string' ? detail : JSON.stringify(detail) };
}

/**
 * Our error for what the SDK threw: the service's own status, code and message, never the key;
 * marked when another attempt may succeed. Our own errors pass.
 */
export function failureOf(error: unknown, service: OpenAiService, codes: FailureCodes): CodedError {
  if (error instanceof CodedError) return error;
  if (error instanceof APIConnectionTimeoutError) {
    const text = `the service ${service.name} did not answer in time`;
    return retryable(new CodedError('PROVIDER_TIMEOUT', text));
  }
  if (error instanceof SyntaxError) {
    const text = `the service ${service.name} sent what is no JSON: ${excerpt(error.message, service)}`;
    return new CodedError(codes.failed, text);
  }
  if (error instanceof APIConnectionError || !(error instanceof APIError)) {
    return unreachable(error, service, codes);
  }
  return refused(error as APIError, service, codes);
}

function refused(error: APIError, service: OpenAiService, codes: FailureCodes): CodedError {
  const { status, type, requestID } = error;
  const code = error.code ?? type;
  const said = [
    `the service ${service.name} answered`,
    status === undefined ? 'with an error in its stream' : String(status),
    ...(code === undefined ? [] : [`(${excerpt(String(code), service)})`]),
  ].join(' ');
  const id = requestID == null ? '' : ` [request ${excerpt(requestID, service)}]`;
  const text = `${said}: ${excerpt(messageOf(error), service)}${id}${advice(status)}`;
  if (isContentRefusal(String(code))) return new CodedError('PROVIDER_REFUSED', text);
  // a key without credit answers 429 as well, and goes on doing so
  const exhausted = /insufficient_quota|arrearage/i.test(String(code));
  const passing =
    !exhausted && (status === undefined || [408, 409, 429].includes(status) || status >= 500);
  const failure = new CodedError(codes.failed, text);
  return passing ? retryable(failure, retryAfterMs(error.headers?.get('retry-after'))) : failure;
}

/** What the service's own rules forbid: the words are at fault, not the service. */
export function isContentRefusal(code: string): boolean {
  return /content_filter|content_policy|data_?inspection/i.test(code);
}

function advice(status: number | undefined): string {
  if (status === 401 || status === 403) return '; check the key of this service';
  if (status === 404) return '; check the base URL and the name of the model';
  return '';
}

/** The SDK puts the status before the message of the service, or the whole body in its place. */
function messageOf(error: APIError): string {
  const body = error.error as { message?: unknown } | string | undefined;
  if (typeof body === 'string') return body;
  if (typeof body?.message === 'string') return body.message;
  return error.message.replace(/^\d{3} /, '');
}

function unreachable(error: unknown, service: OpenAiService, codes: FailureCodes): CodedError {
  const why = excerpt(rootCause(error), service);
  const text = `the connection to the service ${service.name} failed (${why}); check its address and the network`;
  return retryable(new CodedError(codes.unavailable, text));
}

/** `fetch` hides what happened two causes deep. */
function rootCause(error: unknown): string {
  let text = String(error);
  for (let one = error, depth = 0; one instanceof Error && depth < 4; one = one.cause, depth++) {
    const { code } = one as { code?: unknown };
    text = typeof code === 'string' ? code : one.message;
  }
  return text;
}

/** At most a few lines of what a service wrote, with anything like a key blotted out. */
export function excerpt(text: string, { apiKey }: OpenAiService): string {
  const clean = (apiKey === undefined ? text : text.replaceAll(apiKey, '[key]'))
    .replace(/\b(sk|key)-[A-Za-z0-9_*-]{4,}/g, '[key]')
    .replace(/\bBearer\s+\S+/gi, 'Bearer [key]')
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim();
  return clean.length > MAX_MESSAGE ? `${clean.slice(0, MAX_MESSAGE)}...` : clean;
}
