import { randomUUID } from 'node:crypto';

/** What a route answered: JSON as it is, anything else as bytes. */
export interface Answer<T> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T;
}
type Body = Record<string, unknown>;

/** Someone who talks JSON with the server, with a token or without. */
export class Client {
  readonly #url: string;
  readonly token: string | undefined;

  constructor(url: string, token?: string) {
    this.#url = url;
    this.token = token;
  }

  /** A client with a new account. */
  static async register(url: string, name = 'someone', profile: object = {}): Promise<Client> {
    const account = { username: `${name}-${randomUUID().slice(0, 8)}`, password: randomUUID() };
    const { status, body } = await new Client(url).post<{ access_token?: string }>(
      '/api/auth/register',
      { ...account, ...profile },
    );
    if (body.access_token === undefined) {
      throw new Error(`no account: ${status} ${JSON.stringify(body)}`);
    }
    return new Client(url, body.access_token);
  }

  get = <T = Body>(path: string, headers: Record<string, string> = {}) =>
    this.request<T>('GET', path, undefined, headers);
  post = <T = Body>(path: string, body: unknown) => this.request<T>('POST', path, body);
  patch = <T = Body>(path: string, body: unknown) => this.request<T>('PATCH', path, body);
  delete = <T = Body>(path: string) => this.request<T>('DELETE', path);

  async request<T>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> {
    const response = await fetch(path.startsWith('/') ? this.#url + path : path, {
      method,
      headers: {
        ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
    const data = new Uint8Array(await response.arrayBuffer());
    return {
      status: response.status,
      headers: response.headers,
      body: (isJson ? JSON.parse(Buffer.from(data).toString()) : data) as T,
    };
  }
}
