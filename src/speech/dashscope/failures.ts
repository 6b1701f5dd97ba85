import { Type } from 'typebox';
import { Value } from 'typebox/value';
import { CodedError, type ErrorCode } from '../../errors.js';
import { retryable, retryAfterMs } from '../../provider/resilience.js';

const kinds = {
  asr: { failed: 'ASR_FAILED', unavailable: 'ASR_UNAVAILABLE', what: 'speech recognition' },
  tts: { failed: 'TTS_FAILED', unavailable: 'TTS_UNAVAILABLE', what: 'speech synthesis' },
} as const satisfies Record<string, { failed: ErrorCode; unavailable: ErrorCode; what: string }>;

export interface Refusal {
  /** Of HTTP; undefined in a frame of the socket. */
  readonly status?: number | undefined;
  readonly code: string;
  readonly message: string;
  readonly requestId?: string | undefined;
  /** Of a speech task. */
  readonly voice?: string | undefined;
  readonly retryAfter?: string | null | undefined;
}

const errorBody = Type.Object({
  code: Type.String({ minLength: 1 }),
  message: Type.Optional(Type.String()),
  request_id: Type.Optional(Type.String()),
});

/** Shared by whoever sends Alibaba a model's name. */
const hints: readonly [pattern: RegExp, hint: string][] = [
  [/^InvalidApiKey/, 'check DASHSCOPE_API_KEY; keys belong to one region'],
  [/^(AccessDenied|Model\.AccessDenied|Workspace)/, 'check DASHSCOPE_WORKSPACE and its models'],
  [/^(ModelNotFound|Model\.NotExist)/, 'check the model'],
  [/^Arrearage/, 'look at the bill of the account'],
  [/^Throttling/, 'too much is asked at once: ask again later or raise the limits of the account'],
];

/** Refusals of the service that may pass, whatever status they came with. */
const passing = /^(Throttling|InternalError|ServiceUnavailable|ModelServingError|RequestTimeOut)/i;
/** What the engine answers to a voice of another model, under a code of internal errors. */
const wrongVoice = /error code: ?418/;

/** The service said no, with a code of its own. */
export class ServiceRefusal extends CodedError {
  readonly serviceCode: string;
  /** The model does not have the voice that was asked for. */
  readonly isAboutVoice: boolean;

  constructor(code: ErrorCode, message: string, serviceCode: string, isAboutVoice: boolean) {
    super(code, message);
    this.serviceCode = serviceCode;
    this.isAboutVoice = isAboutVoice;
  }
}

/** Makes our errors of the service's; what they say never holds the API key. */
export class Failures {
  readonly #kind: (typeof kinds)[keyof typeof kinds];
  readonly #apiKey: string;
  readonly #model: string;

  constructor(kind: keyof typeof kinds, apiKey: string, model: string) {
    this.#kind = kinds[kind];
    this.#apiKey = apiKey;
    this.#model = model;
  }

  /** The service said no: ..._FAILED, marked where a retry may help. */
  refusal({ status, code, message, requestId, voice, retryAfter }: Refusal): CodedError {
    const said = message === '' ? code : `${code}: ${message}`;
    const details = [
      ...(status === undefined ? [] : [`HTTP ${status}`]),
      `model ${this.#model}`,
      ...(voice === undefined ? [] : [`voice ${voice}`]),
      ...(requestId === undefined ? [] : [`request ${requestId}`]),
    ].join(', ');
    const isAboutVoice = wrongVoice.test(message);
    const hint = isAboutVoice
      ? 'the voice does not belong to the model: set TTS_VOICE to one that does'
      : hints.find(([pattern]) => pattern.test(code))?.[1];
    const text = `refused: ${said} (${details})${hint === undefined ? '' : `; ${hint}`}`;
    const error = new ServiceRefusal(this.#kind.failed, this.#sentence(text), code, isAboutVoice);
    const passes =
      status === 408 ||
      status === 429 ||
      (status !== undefined && status >= 500) ||
      passing.test(code) ||
      /rate limit exceeded/i.test(message);
    if (!passes || isAboutVoice) return error;
    return retryable(error, retryAfterMs(retryAfter));
  }

  /** A refusal that came as the body of an HTTP reply. */
  httpRefusal(status: number, text: string, retryAfter: string | null | undefined): CodedError {
    const body = parsed(text);
    const [code, message, requestId] = Value.Check(errorBody, body)
      ? [body.code, body.message ?? '', body.request_id]
      : [`status ${status}`, text.replace(/\s+/g, ' ').trim().slice(0, 200)];
    return this.refusal({ status, code, message, requestId, retryAfter });
  }

  /** An answer that is not what the protocol says. */
  malformed(what: string): CodedError {
    return this.#error(
      this.#kind.failed,
      `answered in an unknown way: ${what}; check the DASHSCOPE_..._BASE_URL settings and the model (${this.#model})`,
    );
  }

  /** The connection ended in the middle. */
  lost(what: string): CodedError {
    return retryable(this.#error(this.#kind.unavailable, `broke off: ${what}`));
  }

  late(what: string): CodedError {
    return retryable(this.#error('PROVIDER_TIMEOUT', `is too slow: ${what}`));
  }

  /** What a library threw: errors of the network pass, all else is no reply of this protocol. */
  foreign(error: unknown): unknown {
    if (!(error instanceof Error) || error instanceof CodedError) return error;
    const causes: (Error & { code?: unknown })[] = [error];
    for (let one = error.cause; one instanceof Error && causes.length < 4; one = one.cause) {
      causes.push(one);
    }
    const coded = causes.find(({ code }) => typeof code === 'string');
    if (coded !== undefined && !/^(HPE|WS_ERR)_/.test(String(coded.code))) return error;
    return this.malformed((coded ?? causes.at(-1) ?? error).message);
  }

  #error(code: ErrorCode, text: string): CodedError {
    return new CodedError(code, this.#sentence(text));
  }

  #sentence(text: string): string {
    const whole = `DashScope ${this.#kind.what} ${text}`;
    return whole.replaceAll(this.#apiKey, '[redacted]').slice(0, 1000);
  }
}

/** Undefined when the text is no JSON. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** The code and message of an envelope that is an error, whatever status it came with. */
export function errorOf(envelope: unknown): Refusal | undefined {
  if (!Value.Check(errorBody, envelope)) return undefined;
  const { code, message = '', request_id: requestId } = envelope;
  return { code, message, requestId };
}
