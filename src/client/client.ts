import type {
  Account,
  Credentials,
  PasswordChange,
  ProfileChange,
  Registration,
  TokenAnswer,
  UsageAnswer,
} from '../account/http-schema.js';
import type {
  Conversation,
  ConversationSearch,
  ConversationsAnswer,
  MessageRange,
  MessagesAnswer,
  NewConversation,
} from '../conversation/http-schema.js';
import type { ChangedRole, NewRole, Role, RoleSearch, RolesAnswer } from '../role/http-schema.js';
import type { BatchAnswer, UploadAnswer } from '../tempfile/http-schema.js';
import type { Info } from '../web/http-schema.js';
import { Http, type RequestOptions } from './http.js';
import { operatorCalls } from './operator.js';
import { EchoMimicSession, type SessionOptions } from './session.js';
import { taskCalls } from './tasks.js';
import { type TokenStore, type Tokens, memoryStore, tokensOf } from './tokens.js';
import { type UploadOptions, formOf, transfer, uploadWith } from './upload.js';

export interface ClientOptions {
  /** Where the server is, such as `http://127.0.0.1:3000`; the page's own by default. */
  readonly baseUrl?: string | undefined;
  readonly fetch?: typeof fetch | undefined;
  /** A login that is there already, or where logins are kept. */
  readonly tokens?: Tokens | TokenStore | undefined;
  /** OPERATOR_TOKEN of the server, where it wants one for `operator`. */
  readonly operatorToken?: string | (() => string | undefined) | undefined;
  /** API_TOKEN of the server, where it wants one for temp files. */
  readonly apiToken?: string | undefined;
}

const path = (prefix: string, id: string) => `${prefix}/${encodeURIComponent(id)}`;

/** Everything the server offers over HTTP. Calls that fail throw an `ApiError`. */
export class EchoMimicClient {
  readonly baseUrl: string;
  readonly tasks: ReturnType<typeof taskCalls>;
  readonly operator: ReturnType<typeof operatorCalls>;
  readonly #http: Http;
  readonly #store: TokenStore;
  readonly #apiToken: string | undefined;

  constructor({ baseUrl, fetch: own, tokens, apiToken, operatorToken }: ClientOptions = {}) {
    const { location } = globalThis as { location?: { origin: string } };
    this.#store = tokens !== undefined && 'get' in tokens ? tokens : memoryStore(tokens);
    this.#http = new Http({
      baseUrl: baseUrl ?? location?.origin ?? '',
      fetch: own ?? ((input, init) => globalThis.fetch(input, init)),
      store: this.#store,
    });
    this.baseUrl = this.#http.baseUrl;
    this.#apiToken = apiToken;
    this.tasks = taskCalls(this.#http, () => (this.isLoggedIn ? undefined : apiToken));
    this.operator = operatorCalls(this.#http, () =>
      typeof operatorToken === 'function' ? operatorToken() : operatorToken,
    );
  }

  /** Whether there is a login; whether it still holds only the server knows. */
  get isLoggedIn(): boolean {
    return this.#store.get() !== undefined;
  }

  /** An access token that holds for a while, refreshed where needed; undefined without a login. */
  accessToken(): Promise<string | undefined> {
    return this.#http.accessToken();
  }

  async register(registration: Registration, options?: RequestOptions): Promise<Account> {
    return this.#enter('/api/auth/register', registration, options);
  }

  async login(credentials: Credentials, options?: RequestOptions): Promise<Account> {
    return this.#enter('/api/auth/login', credentials, options);
  }

  /** Done by itself when an access token runs out. */
  refresh(): Promise<void> {
    return this.#http.refresh();
  }

  /** Ends the login, or all logins of the account; it is forgotten here whatever happens. */
  async logout({
    everywhere = false,
    ...options
  }: RequestOptions & { everywhere?: boolean } = {}): Promise<void> {
    const tokens = this.#store.get();
    if (tokens === undefined) return;
    this.#store.set(undefined);
    const body = { refresh_token: tokens.refreshToken, everywhere };
    await this.#http.json('POST', '/api/auth/logout', { ...options, body });
  }

  async account(options?: RequestOptions): Promise<Account> {
    return (await this.#http.json<{ user: Account }>('GET', '/api/account', options)).user;
  }

  async changeAccount(body: ProfileChange, options?: RequestOptions): Promise<Account> {
    const call = { ...options, body };
    return (await this.#http.json<{ user: Account }>('PATCH', '/api/account', call)).user;
  }

  /** Every other login of the account ends. */
  async changePassword(body: PasswordChange, options?: RequestOptions): Promise<Account> {
    return this.#enter('/api/account/password', body, options, await this.accessToken());
  }

  async deleteAccount(password: string, options?: RequestOptions): Promise<void> {
    await this.#http.json('DELETE', '/api/account', { ...options, body: { password } });
    this.#store.set(undefined);
  }

  usage(options?: RequestOptions): Promise<UsageAnswer> {
    return this.#http.json('GET', '/api/account/usage', options);
  }

  async upload(file: Blob, options: UploadOptions = {}): Promise<UploadAnswer> {
    const { fileId, onProgress, signal } = options;
    const form = formOf(file, options);
    const query = { file_id: fileId };
    const request = onProgress && transfer();
    if (request !== undefined) {
      const bearer = this.#apiToken ?? (await this.accessToken());
      const url = this.#http.url('/api/tempfile/upload', query);
      return uploadWith(request, url, form, bearer, options);
    }
    const call = { body: form, query, signal, bearer: this.#apiToken };
    const answer = await this.#http.json<UploadAnswer>('POST', '/api/tempfile/upload', call);
    onProgress?.(file.size, file.size);
    return answer;
  }

  /** Where a file is; the URLs that sessions tell stay as they are. */
  fileUrl(idOrUrl: string): string {
    return idOrUrl.includes('/')
      ? idOrUrl
      : this.#http.url(path('/api/tempfile/download', idOrUrl));
  }

  /** The answer with the file's bytes as its unread body. */
  download(
    idOrUrl: string,
    { signal, range }: RequestOptions & { range?: string } = {},
  ): Promise<Response> {
    const headers = range === undefined ? {} : { range };
    const bearer = this.#apiToken;
    return this.#http.send('GET', this.fileUrl(idOrUrl), { signal, headers, bearer });
  }

  async deleteFile(id: string, options?: RequestOptions): Promise<void> {
    const bearer = this.#apiToken;
    await this.#http.json('DELETE', path('/api/tempfile/delete', id), { ...options, bearer });
  }

  /** How many of them were there. */
  async deleteFiles(ids: readonly string[], options?: RequestOptions): Promise<number> {
    const call = { ...options, body: { file_ids: ids }, bearer: this.#apiToken };
    const path = '/api/tempfile/batch-delete';
    return (await this.#http.json<BatchAnswer>('POST', path, call)).deleted_count;
  }

  /** What the server offers, and how much of it. */
  info(options?: RequestOptions): Promise<Info> {
    return this.#http.json('GET', '/api/info', options);
  }

  readonly roles = {
    list: (query: RoleSearch = {}, options?: RequestOptions): Promise<RolesAnswer> =>
      this.#http.json('GET', '/api/roles', { ...options, query }),
    get: (id: string, options?: RequestOptions): Promise<Role> =>
      this.#role('GET', path('/api/roles', id), options),
    create: (body: NewRole, options?: RequestOptions): Promise<Role> =>
      this.#role('POST', '/api/roles', { ...options, body }),
    update: (id: string, body: ChangedRole, options?: RequestOptions): Promise<Role> =>
      this.#role('PATCH', path('/api/roles', id), { ...options, body }),
    remove: async (id: string, options?: RequestOptions): Promise<void> =>
      void (await this.#http.json('DELETE', path('/api/roles', id), options)),
  };

  readonly conversations = {
    list: (query: ConversationSearch = {}, options?: RequestOptions) =>
      this.#http.json<ConversationsAnswer>('GET', '/api/conversations', { ...options, query }),
    get: (id: string, options?: RequestOptions): Promise<Conversation> =>
      this.#conversation('GET', path('/api/conversations', id), options),
    create: (body: NewConversation = {}, options?: RequestOptions): Promise<Conversation> =>
      this.#conversation('POST', '/api/conversations', { ...options, body }),
    rename: (id: string, title: string, options?: RequestOptions): Promise<Conversation> =>
      this.#conversation('PATCH', path('/api/conversations', id), { ...options, body: { title } }),
    remove: async (id: string, options?: RequestOptions): Promise<void> =>
      void (await this.#http.json('DELETE', path('/api/conversations', id), options)),
    messages: (id: string, query: MessageRange = {}, options?: RequestOptions) =>
      this.#http.json<MessagesAnswer>('GET', `${path('/api/conversations', id)}/messages`, {
        ...options,
        query,
      }),
    /** The answer with the document as its unread body. */
    export: (id: string, format: 'markdown' | 'json' = 'markdown', options?: RequestOptions) =>
      this.#http.send('GET', `${path('/api/conversations', id)}/export`, {
        ...options,
        query: { format },
      }),
  };

  /** A conversation with this client's login, not connected yet. */
  session(options: Omit<SessionOptions, 'url' | 'token'>): EchoMimicSession {
    return new EchoMimicSession({
      ...options,
      url: this.baseUrl,
      token: () => this.accessToken(),
    });
  }

  async #enter(
    path: string,
    body: object,
    options: RequestOptions = {},
    bearer = '',
  ): Promise<Account> {
    const answer = await this.#http.json<TokenAnswer>('POST', path, { ...options, body, bearer });
    this.#store.set(tokensOf(answer));
    return answer.user;
  }

  async #role(...request: Parameters<Http['json']>): Promise<Role> {
    return (await this.#http.json<{ role: Role }>(...request)).role;
  }

  async #conversation(...request: Parameters<Http['json']>): Promise<Conversation> {
    return (await this.#http.json<{ conversation: Conversation }>(...request)).conversation;
  }
}
