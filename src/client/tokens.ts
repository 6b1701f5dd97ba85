import type { TokenAnswer } from '../account/http-schema.js';

export interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string;
  /** When the access token ends; milliseconds since 1970. */
  readonly expiresAt: number;
}

/** Where a login is kept: in memory, or by a page in its storage, which its tabs share. */
export interface TokenStore {
  get(): Tokens | undefined;
  set(tokens: Tokens | undefined): void;
}

export function memoryStore(tokens?: Tokens): TokenStore {
  return {
    get: () => tokens,
    set: (next) => (tokens = next),
  };
}

export function tokensOf(answer: TokenAnswer): Tokens {
  return {
    accessToken: answer.access_token,
    refreshToken: answer.refresh_token,
    expiresAt: Date.now() + answer.expires_in * 1000,
  };
}

interface Locks {
  request<T>(name: string, work: () => Promise<T>): Promise<T>;
}

/** A refresh token is good for one use, so the tabs of a page take turns. */
export async function alone<T>(work: () => Promise<T>): Promise<T> {
  const { navigator } = globalThis as { navigator?: { locks?: Locks } };
  return navigator?.locks === undefined
    ? work()
    : navigator.locks.request('echomimic-tokens', work);
}
