import { ApiError } from '../../src/client/index.js';
import { t } from './i18n/index.js';

/** A failure as pages keep it: plain, so that it outlives a reload. */
export interface Failure {
  readonly code: string;
  /** The server's own words, in English. */
  readonly message: string;
  readonly retryAfter?: number | undefined;
}

export function failureOf(error: unknown): Failure {
  if (error instanceof ApiError) {
    const { code, message, retryAfter } = error;
    return { code, message, retryAfter };
  }
  return { code: 'UNEXPECTED', message: error instanceof Error ? error.message : String(error) };
}

/** What went wrong and what to do, in the chosen language where there are words for it. */
export function describe({ code, message, retryAfter }: Failure): string {
  const { errors } = t();
  const known = (errors.codes as Record<string, string>)[code];
  const text = code === 'OFFLINE' ? errors.offline : (known ?? message);
  return retryAfter === undefined ? text : `${text} ${errors.retryAfter(duration(retryAfter))}`;
}

/** In one unit: 75 → "2 minutes", 10000 → "3 hours". */
export function duration(seconds: number): string {
  const { common } = t();
  if (seconds < 60) return common.seconds(Math.max(1, Math.round(seconds)));
  if (seconds < 2 * 3600) return common.minutes(Math.ceil(seconds / 60));
  if (seconds < 2 * 86_400) return common.hours(Math.ceil(seconds / 3600));
  return common.days(Math.ceil(seconds / 86_400));
}
