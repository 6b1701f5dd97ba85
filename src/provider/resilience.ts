import {
  CircuitState,
  type CircuitBreakerPolicy,
  ConsecutiveBreaker,
  DelegateBackoff,
  circuitBreaker,
  handleWhen,
  retry,
} from 'cockatiel';
import { timeLimit, unlessAborted } from '../abort.js';
import type { Config } from '../config.js';
import { CodedError, type ErrorCode } from '../errors.js';
import type { Log } from '../log.js';
import { meters } from '../observe/meters.js';

const kinds = {
  asr: { what: 'speech recognition', unavailable: 'ASR_UNAVAILABLE' },
  tts: { what: 'speech synthesis', unavailable: 'TTS_UNAVAILABLE' },
  dialogue: { what: 'dialogue', unavailable: 'DIALOGUE_UNAVAILABLE' },
} as const satisfies Record<string, { what: string; unavailable: ErrorCode }>;

/** What a service does for us and who runs it, such as `asr:dashscope`. */
export type ServiceName = `${keyof typeof kinds}:${string}`;

export interface Tuning {
  /** Failures in a row that open the circuit. */
  readonly threshold?: number;
  /** How long an open circuit waits before it lets one call try. */
  readonly openMs?: number;
  /** The wait before the first retry; it doubles with each, and half of it is chance. */
  readonly backoffMs?: number;
}

export interface Resilient {
  /**
   * Runs `work`, again where it fails in a way that may pass. The signal that `work` gets is aborted
   * by the caller's and when the attempt takes too long; after `work` has settled only by the
   * caller's, so it may live on in a stream. Rejects with the signal's reason as soon as it is
   * aborted, with PROVIDER_TIMEOUT, with ..._UNAVAILABLE, or with what `work` threw.
   */
  run<T>(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T>;
}

const retryables = new WeakMap<object, { readonly afterMs: number }>();

/** Marks a failure that may pass by itself; `afterMs` is what the service asked us to wait. */
export function retryable<E extends CodedError>(error: E, afterMs = 0): E {
  retryables.set(error, { afterMs });
  return error;
}

export function isRetryable(error: unknown): boolean {
  return typeof error === 'object' && error !== null && retryables.has(error);
}

/** The milliseconds of a `Retry-After` header, which holds seconds or a date. */
export function retryAfterMs(header: string | null | undefined): number | undefined {
  const text = header?.trim() ?? '';
  const ms = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

export function resilient(
  name: ServiceName,
  settings: Pick<Config['providers'], 'timeoutMs' | 'retries'>,
  log: Log,
  tuning: Tuning = {},
): Resilient {
  return new Service(name, settings, log, tuning);
}

/** A refusal says that the service lives: for the circuit it is a success. */
type Answer<T> = { readonly value: T } | { readonly refusal: unknown };

class Service implements Resilient {
  readonly #provider: string;
  readonly #kind: (typeof kinds)[keyof typeof kinds];
  readonly #settings: Pick<Config['providers'], 'timeoutMs' | 'retries'>;
  readonly #log: Log;
  readonly #threshold: number;
  readonly #openMs: number;
  readonly #backoffMs: number;
  readonly #circuit: CircuitBreakerPolicy;

  constructor(
    name: ServiceName,
    settings: Pick<Config['providers'], 'timeoutMs' | 'retries'>,
    log: Log,
    { threshold = 5, openMs = 10_000, backoffMs = 250 }: Tuning,
  ) {
    const [kind, provider] = name.split(/:(.*)/) as [keyof typeof kinds, string];
    this.#kind = kinds[kind];
    this.#provider = provider;
    this.#settings = settings;
    this.#log = log.child({ service: name });
    this.#threshold = threshold;
    this.#openMs = openMs;
    this.#backoffMs = backoffMs;
    this.#circuit = circuitBreaker(handleWhen(isInfrastructure), {
      breaker: new ConsecutiveBreaker(threshold),
      halfOpenAfter: openMs,
    });
    const open = meters.circuitOpen.labels(name);
    open.set(0);
    this.#circuit.onBreak((reason) => {
      open.set(1);
      const error = 'error' in reason ? reason.error : undefined;
      this.#log.warn({ err: error }, `${this.#what} fails; it gets no calls for a while`);
    });
    this.#circuit.onReset(() => {
      open.set(0);
      this.#log.info(`${this.#what} is called again`);
    });
  }

  async run<T>(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    const lastStart = Date.now() + this.#settings.timeoutMs;
    let delayMs = 0;
    // who waits for an answer waits for one timeout at most until the last attempt begins
    const worthwhile = (error: Error): boolean => {
      const asked = retryables.get(error);
      if (asked === undefined) return false;
      delayMs = asked.afterMs + this.#backoffMs * 2 ** attempt * (0.5 + Math.random() / 2);
      return Date.now() + delayMs < lastStart;
    };
    let attempt = 0;
    const policy = retry(handleWhen(worthwhile), {
      maxAttempts: this.#settings.retries,
      backoff: new DelegateBackoff(() => delayMs),
    });
    policy.onRetry(({ delay, ...reason }) => {
      attempt++;
      const err = 'error' in reason ? reason.error : undefined;
      this.#log.info({ err, attempt, delay: Math.round(delay) }, `${this.#what} is tried again`);
    });
    const answer = policy.execute(() => this.#guarded(work, signal));
    return unlessAborted(answer, signal);
  }

  get #what(): string {
    return `the ${this.#kind.what} service (${this.#provider})`;
  }

  async #guarded<T>(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    // cockatiel would let everybody wait for the one call that tries
    if (this.#circuit.state === CircuitState.HalfOpen) throw this.#left();
    let called = false;
    let answer: Answer<T>;
    try {
      answer = await this.#circuit.execute(async () => {
        called = true;
        return this.#attempt(work, signal);
      });
    } catch (error) {
      throw called ? error : this.#left();
    }
    if ('refusal' in answer) throw answer.refusal;
    return answer.value;
  }

  async #attempt<T>(
    work: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<Answer<T>> {
    const time = timeLimit(signal, this.#settings.timeoutMs, () => this.#timedOut());
    try {
      return { value: await unlessAborted(work(time.signal), time.signal) };
    } catch (error) {
      // the caller's abort says nothing of the service
      signal.throwIfAborted();
      const failure = this.#named(time.limit.aborted ? time.limit.reason : error);
      if (isInfrastructure(failure)) throw failure;
      return { refusal: failure };
    } finally {
      time.end();
    }
  }

  /** Errors of the network get our code; all others pass. */
  #named(error: unknown): unknown {
    const why = networkError(error);
    if (error instanceof CodedError || why === undefined) return error;
    const text = `${this.#what} could not be reached (${why}); check its address and the network`;
    return retryable(new CodedError(this.#kind.unavailable, text, { cause: error }));
  }

  #timedOut(): CodedError {
    const text = `${this.#what} had not answered after ${this.#settings.timeoutMs / 1000} s`;
    return new CodedError('PROVIDER_TIMEOUT', text);
  }

  #left(): CodedError {
    const text = `${this.#what} failed ${this.#threshold} times in a row and gets no calls for ${this.#openMs / 1000} s; try again after that`;
    return new CodedError(this.#kind.unavailable, text);
  }
}

function isInfrastructure(error: unknown): boolean {
  return isRetryable(error) || (error instanceof CodedError && error.code === 'PROVIDER_TIMEOUT');
}

const networkCodes =
  /^(E(CONN(REFUSED|RESET|ABORTED)|NOTFOUND|AI_AGAIN|TIMEDOUT|PIPE|HOSTUNREACH|NETUNREACH|PROTO)|UND_ERR_\w+|CERT_\w+|DEPTH_ZERO_\w+|SELF_SIGNED_\w+|ERR_TLS_\w+)$/;

/** The system's code of a failed connection, wherever `fetch` or a socket has put it. */
function networkError(error: unknown): string | undefined {
  for (let one = error, depth = 0; one instanceof Error && depth < 4; one = one.cause, depth++) {
    const { code } = one as { code?: unknown };
    if (typeof code === 'string' && networkCodes.test(code)) return code;
    const first = one instanceof AggregateError ? (one.errors as unknown[])[0] : undefined;
    if (first !== undefined) return networkError(first);
  }
  return undefined;
}
