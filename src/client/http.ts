import type { TokenAnswer } from '../account/http-schema.js';
import { ApiError } from './errors.js';
import { type TokenStore, alone, tokensOf } from './tokens.js';

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
}

type Query = Record<string, string | number | boolean | undefined>;

export interface Call extends RequestOptions {
  /** Sent as JSON, a form as it is. */
  readonly body?: object | undefined;
  readonly query?: object | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** In place of the login's; an empty one is none at all. */
  readonly bearer?: string | undefined;
}

export interface HttpOptions {
  readonly baseUrl: string;
  readonly fetch: typeof fetch;
  readonly store: TokenStore;
}

/** An access token that ends sooner is refreshed before it is used. */
const leastMs = 30_000;

/** Requests to one server, with the login that is kept; every failure is an ApiError. */
export class Http {
  readonly baseUrl: string;
  readonly #fetch: typeof fetch;
  readonly #store: TokenStore;
  #refreshing: Promise<void> | undefined;

  constructor({ baseUrl, fetch, store }: HttpOptions) {
    this.baseUrl = baseUrl.replace(/\/+$/, '');
    this.#fetch = fetch;
    this.#store = store;
  }

  /** The JSON of a good answer. */
  async json<T>(method: string, path: string, call: Call = {}): Promise<T> {
    const response = await this.send(method, path, call);
    return await reading(response.json() as Promise<T>, call.signal);
  }

  /** A good answer, its body unread. An access token that does not hold any more is refreshed once. */
  async send(method: string, path: string, call: Call = {}): Promise<Response> {
    const used = call.bearer ?? (await this.accessToken());
    try {
      return await this.#once(method, path, call, used);
    } catch (error) {
      if (call.bearer !== undefined || used === undefined) throw error;
      if (!(error instanceof ApiError) || !['TOKEN_EXPIRED', 'TOKEN_INVALID'].includes(error.code))
        throw error;
      await this.refresh(used);
      return this.#once(method, path, call, this.#store.get()?.accessToken);
    }
  }

  /** One that still holds; undefined without a login. */
  async accessToken(): Promise<string | undefined> {
    const tokens = this.#store.get();
    if (tokens === undefined) return undefined;
    if (tokens.expiresAt - Date.now() < leastMs) await this.refresh(tokens.accessToken);
    return this.#store.get()?.accessToken;
  }

  /**
   * Gets the next pair of tokens, once for all who ask at the same time; nothing when another tab
   * did so since `used` was read. A login that has ended is forgotten.
   */
  refresh(used?: string): Promise<void> {
    this.#refreshing ??= alone(() => this.#refresh(used)).finally(
      () => (this.#refreshing = undefined),
    );
    return this.#refreshing;
  }

  async #refresh(used: string | undefined): Promise<void> {
    const tokens = this.#store.get();
    if (tokens === undefined) throw new ApiError('UNAUTHORIZED', 'there is no login: log in');
    if (used !== undefined && tokens.accessToken !== used) return;
    try {
      const body = { refresh_token: tokens.refreshToken };
      const response = await this.#once('POST', '/api/auth/refresh', { body }, undefined);
      this.#store.set(tokensOf(await reading(response.json() as Promise<TokenAnswer>)));
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.#store.set(undefined);
      throw error;
    }
  }

  async #once(
    method: string,
    path: string,
    { body, query, headers, signal }: Call,
    bearer: string | undefined,
  ): Promise<Response> {
    const isForm = body instanceof FormData;
    const init: RequestInit = {
      method,
      headers: {
        ...(bearer === undefined || bearer === '' ? {} : { authorization: `Bearer ${bearer}` }),
        ...(body === undefined || isForm ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    };
    const url = this.url(path, query);
    const response = await reading(this.#fetch(url, init), signal);
    if (response.ok) return response;
    const text = await reading(response.text(), signal);
    throw ApiError.of(response.status, text, response.headers.get('retry-after'));
  }

  /** What is absolute stays as it is. */
  url(path: string, query: object = {}): string {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query as Query)) {
      if (value !== undefined) search.set(name, String(value));
    }
    const url = /^https?:/.test(path) ? path : this.baseUrl + path;
    return search.size === 0 ? url : `${url}?${search.toString()}`;
  }
}

/** A broken line as an ApiError; what the caller aborted as it aborted it. */
export async function reading<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (signal?.aborted === true || error instanceof ApiError) throw error;
    if (error instanceof SyntaxError) {
      throw new ApiError('UNEXPECTED', 'the answer is not JSON', { cause: error });
    }
    throw new ApiError('OFFLINE', 'the server cannot be reached', { cause: error });
  }
}
