import type { ErrorCode } from '../errors.js';

/**
 * Codes of the client itself, beside those of the server: `OFFLINE` no server answered, `CLOSED`
 * the session's line is closed for good, `UNEXPECTED` the answer is not one of this server.
 */
export type ClientCode = 'OFFLINE' | 'CLOSED' | 'UNEXPECTED';

export interface ApiErrorDetails extends ErrorOptions {
  /** Of the answer; 0 where no answer came, or on a session's line. */
  readonly status?: number;
  /** Seconds after which it is worth trying again. */
  readonly retryAfter?: number | undefined;
}

/** A request, or a session, that failed. */
export class ApiError extends Error {
  readonly code: ErrorCode | ClientCode;
  readonly status: number;
  readonly retryAfter: number | undefined;

  constructor(code: ErrorCode | ClientCode, message: string, details: ApiErrorDetails = {}) {
    super(message, details);
    this.name = 'ApiError';
    this.code = code;
    this.status = details.status ?? 0;
    this.retryAfter = details.retryAfter;
  }

  /** Of an answer that is no success. */
  static of(status: number, text: string, retryAfter: string | null): ApiError {
    const seconds = retryAfter === null ? NaN : Number(retryAfter);
    const details = { status, retryAfter: Number.isFinite(seconds) ? seconds : undefined };
    try {
      const { code, message } = JSON.parse(text) as { code?: unknown; message?: unknown };
      if (typeof code === 'string' && typeof message === 'string') {
        return new ApiError(code as ErrorCode, message, details);
      }
    } catch {
      // a proxy's page, perhaps
    }
    return new ApiError('UNEXPECTED', `the server answered ${status}`, details);
  }
}
