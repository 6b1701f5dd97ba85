import type { ErrorCode } from '../errors.js';
import type {
  ClientData,
  ClientEvent,
  ConnectionRequest,
  ServerData,
  ServerEvent,
  ServerFrame,
} from '../session/echomimic/schema.js';
import { backoff } from './backoff.js';
import { base64 } from './base64.js';
import { ApiError } from './errors.js';
import { type Line, type LineEnd, type WebSocketConstructor, lineUrl, openLine } from './line.js';

/** What it takes to go on with a session. */
export interface SessionMark {
  readonly sessionId: string;
  readonly resumeToken: string;
  /** The number of the last frame that was received. */
  readonly lastSeq: number;
}

export interface SessionOptions {
  /** Where the server is, such as `http://127.0.0.1:3000`; the page's own by default. */
  readonly url?: string | undefined;
  readonly mode: 'voice' | 'video';
  /** An access token, or where to get one that holds: asked before each connection. */
  readonly token?: string | (() => Promise<string | undefined> | string | undefined) | undefined;
  readonly roleId?: string | undefined;
  readonly conversationId?: string | undefined;
  /** An uploaded picture in place of the role's portrait. */
  readonly imageId?: string | undefined;
  readonly voiceId?: string | undefined;
  readonly speechRate?: number | undefined;
  readonly pitchRate?: number | undefined;
  /** A session to go on with, such as that of a page that was loaded anew. */
  readonly resume?: SessionMark | undefined;
  /** Where there is no global one, as in Node 20: that of the package `ws`. */
  readonly WebSocket?: WebSocketConstructor | undefined;
  /** Attempts in a row that may fail before it gives up; no end by default. */
  readonly attempts?: number | undefined;
}

/** `idle` was never connected; `reconnecting` lost its line and comes back by itself. */
export type SessionState = 'idle' | 'connecting' | 'open' | 'reconnecting' | 'closed';

export type SessionEvents = { [Name in ServerEvent]: ServerData<Name> } & {
  /** Every frame of the server, as it came. */
  readonly frame: ServerFrame;
  /** While there is no line, why, and in how many milliseconds the next attempt begins. */
  readonly state: {
    readonly state: SessionState;
    readonly retryMs?: number;
    readonly why?: ApiError | undefined;
  };
  /** The server no longer has the session: a new one follows, without what was being made. */
  readonly lost: { readonly sessionId: string };
  /** Nothing more comes; undefined when it ended as asked. `connect()` begins a new session. */
  readonly closed: ApiError | undefined;
};

type Ack = ServerData<'connection_ack'>;
type Listener<Name extends keyof SessionEvents> = (data: SessionEvents[Name]) => void;

const mostQueued = 64;
const ackMs = 20_000;
/** Ends of the line after which coming back would only meet the same end. */
const finalCloses = new Set([1000, 1002, 1003, 1007, 1008, 1009, 4401, 4409]);
/** Reasons of such ends that pass. */
const passing = new Set(['AUTH_TIMEOUT', 'CLIENT_TOO_SLOW']);

/** One conversation with a portrait, over as many connections as it takes. */
export class EchoMimicSession {
  readonly #options: SessionOptions;
  readonly #listeners = new Map<keyof SessionEvents, Set<Listener<never>>>();
  readonly #queue: string[] = [];
  #state: SessionState = 'idle';
  #line: Line | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #hasFreshToken = false;
  #stopping = false;
  #ack: Ack | undefined;
  #mark: SessionMark | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#mark = options.resume;
  }

  get state(): SessionState {
    return this.#state;
  }

  /** What a session of another page, or of another day, can go on with; undefined before. */
  get mark(): SessionMark | undefined {
    return this.#mark;
  }

  /** What the server said of the session last; undefined until it is connected. */
  get ack(): Ack | undefined {
    return this.#ack;
  }

  /** Calls `listener` at each such event; the result ends that. */
  on<Name extends keyof SessionEvents>(event: Name, listener: Listener<Name>): () => void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** The frames of the server from now on, until the session is closed; throws why it was. */
  frames(): AsyncGenerator<ServerFrame, void, undefined> {
    const waiting: ServerFrame[] = [];
    let end: { readonly error: ApiError | undefined } | undefined;
    let wake = () => {};
    const ends = [
      this.on('frame', (frame) => {
        waiting.push(frame);
        wake();
      }),
      this.on('closed', (error) => {
        end = { error };
        wake();
      }),
    ];
    return (async function* () {
      try {
        for (;;) {
          yield* waiting.splice(0);
          if (waiting.length > 0) continue;
          if (end?.error !== undefined) throw end.error;
          if (end !== undefined) return;
          await new Promise<void>((resolve) => (wake = resolve));
        }
      } finally {
        for (const off of ends) off();
      }
    })();
  }

  /** Resolves at the first connection; rejects with why there is none, as `closed` tells too. */
  connect(): Promise<Ack> {
    return new Promise((resolve, reject) => {
      const ends = [
        this.on('connection_ack', (ack) => settle(() => resolve(ack))),
        this.on('closed', (error) =>
          settle(() => reject(error ?? new ApiError('CLOSED', 'the session was ended'))),
        ),
      ];
      const settle = (how: () => void) => {
        for (const end of ends) end();
        how();
      };
      if (this.#state === 'open') return settle(() => resolve(this.#ack as Ack));
      if (this.#state === 'idle' || this.#state === 'closed') this.#begin();
    });
  }

  /** While the line is away, frames wait for it. Throws when the session is closed. */
  sendText(text: string): void {
    this.#send('text_message', { text });
  }

  /** An uploaded recording. */
  sendAudioFile(fileIdOrUrl: string): void {
    this.#send('audio_uploaded', { audio_url: fileIdOrUrl });
  }

  /** A piece of a recording; `format` is needed for bare samples: `pcm`, 16 kHz, 16 bit, mono. */
  sendAudioChunk(
    bytes: Uint8Array | ArrayBuffer,
    { isLast = false, format }: { isLast?: boolean; format?: string } = {},
  ): void {
    const chunk = base64(bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes));
    this.#send('audio_stream_chunk', {
      ...{ chunk, is_last: isLast },
      ...(format === undefined ? {} : { format }),
    });
  }

  /** Cuts the reply being made and those that wait. */
  interrupt(): void {
    this.#send('interrupt', {});
  }

  /** Ends the session; resolves when the server has deleted its files, or the line is gone. */
  async stop(): Promise<void> {
    if (this.#state === 'idle' || this.#state === 'closed') return;
    const closed = new Promise<void>((resolve) => this.on('closed', () => resolve()));
    this.#stopping = true;
    if (this.#state === 'open') this.#send('stop_session', {});
    else this.#finish(undefined);
    return closed;
  }

  /** Ends the session at once. */
  close(): void {
    if (this.#state !== 'idle') this.#finish(undefined);
  }

  #begin(): void {
    this.#failures = 0;
    this.#stopping = false;
    this.#become('connecting');
    void this.#connect();
  }

  async #connect(): Promise<void> {
    let token: string | undefined;
    try {
      const { token: given } = this.#options;
      token = typeof given === 'function' ? await given() : given;
    } catch (error) {
      if (!(error instanceof ApiError))
        return this.#finish(new ApiError('UNAUTHORIZED', String(error)));
      if (error.code !== 'OFFLINE' && error.retryAfter === undefined) return this.#finish(error);
      return this.#retry(error);
    }
    if (this.#state === 'closed') return;
    const line = openLine(lineUrl(this.#options.url), this.#options.WebSocket, {
      open: () => this.#line === line && this.#request(token),
      frame: (frame) => this.#line === line && this.#receive(frame as ServerFrame, token),
      end: (end) => this.#line === line && this.#lost(end),
    });
    this.#line = line;
    this.#wait(ackMs, () => line.drop());
  }

  #request(token: string | undefined): void {
    const { mode, roleId, conversationId, imageId, voiceId, speechRate, pitchRate } = this.#options;
    const mark = this.#mark;
    const request =
      mark === undefined
        ? {
            mode,
            role_id: roleId,
            conversation_id: conversationId,
            image_id: imageId,
            voice_id: voiceId,
            speech_rate: speechRate,
            pitch_rate: pitchRate,
          }
        : {
            session_id: mark.sessionId,
            resume_token: mark.resumeToken,
            last_seq: mark.lastSeq,
          };
    // JSON leaves out what is undefined
    this.#write('request_connection', { ...request, token } as ConnectionRequest);
  }

  #receive(frame: ServerFrame, token: string | undefined): void {
    if (frame.event === 'connection_ack') this.#connected(frame.data, frame.seq);
    else if (this.#state === 'open') {
      if (frame.seq !== undefined && this.#mark) this.#mark = { ...this.#mark, lastSeq: frame.seq };
    } else if (frame.event === 'error') return this.#refused(frame.data, token);
    this.#emit('frame', frame);
    this.#emit(frame.event, frame.data);
  }

  #connected(ack: Ack, lastSeq = 0): void {
    clearTimeout(this.#timer);
    this.#ack = ack;
    this.#mark = { sessionId: ack.session_id, resumeToken: ack.resume_token, lastSeq };
    this.#failures = 0;
    this.#hasFreshToken = false;
    this.#become('open');
    for (const text of this.#queue.splice(0)) this.#line?.send(text);
  }

  /** The server did not take the request; the line is still open. */
  #refused({ code, message, retry_after }: ServerData<'error'>, token: string | undefined): void {
    const mark = this.#mark;
    if (code === 'SESSION_UNKNOWN' && mark !== undefined) {
      this.#mark = undefined;
      this.#emit('lost', { sessionId: mark.sessionId });
      return this.#request(token);
    }
    const error = new ApiError(code, message, { retryAfter: retry_after });
    if (retry_after !== undefined) return this.#retry(error);
    // what is wrong with a token is said again by the close
    if (!['UNAUTHORIZED', 'TOKEN_INVALID', 'TOKEN_EXPIRED'].includes(code)) this.#finish(error);
  }

  #lost({ code, reason, problem }: LineEnd): void {
    this.#line = undefined;
    const [name = '', ...words] = reason.split(': ');
    const isCode = /^[A-Z_]+$/.test(name);
    const error = new ApiError(
      isCode ? (name as ErrorCode) : code === 1006 ? 'OFFLINE' : 'CLOSED',
      (isCode ? words.join(': ') : reason) || problem || `the line was closed (${code})`,
    );
    if (this.#stopping || code === 1000) return this.#finish(undefined);
    if (error.code === 'TOKEN_EXPIRED' && !this.#hasFreshToken) {
      this.#hasFreshToken = typeof this.#options.token === 'function';
      if (this.#hasFreshToken) return this.#retry(error);
    }
    if (finalCloses.has(code) && !passing.has(error.code)) return this.#finish(error);
    this.#retry(error);
  }

  #retry(error: ApiError): void {
    this.#drop();
    this.#failures++;
    const { attempts = Infinity } = this.#options;
    if (this.#failures >= attempts) return this.#finish(error);
    const retryMs = backoff(this.#failures - 1, error.retryAfter);
    const state = this.#mark === undefined ? 'connecting' : 'reconnecting';
    this.#become(state, { retryMs, why: error });
    this.#wait(retryMs, () => void this.#connect());
  }

  #finish(error: ApiError | undefined): void {
    if (this.#state === 'closed') return;
    this.#drop(1000);
    this.#queue.length = 0;
    this.#mark = undefined;
    this.#become('closed', { why: error });
    this.#emit('closed', error);
  }

  /** 1000 says that the session shall end. */
  #drop(code?: 1000): void {
    clearTimeout(this.#timer);
    const line = this.#line;
    this.#line = undefined;
    line?.drop(code);
  }

  #wait(ms: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }

  #send<Name extends ClientEvent>(event: Name, data: ClientData<Name>): void {
    if (this.#state === 'open') return this.#write(event, data);
    if (this.#state === 'idle' || this.#state === 'closed') {
      throw new ApiError('CLOSED', 'the session is not connected: call connect()');
    }
    if (this.#queue.length >= mostQueued) {
      throw new ApiError('OFFLINE', `${mostQueued} frames wait for the line: wait for it`);
    }
    this.#queue.push(JSON.stringify({ event, data }));
  }

  #write<Name extends ClientEvent>(event: Name, data: ClientData<Name>): void {
    this.#line?.send(JSON.stringify({ event, data }));
  }

  #become(state: SessionState, more: Partial<SessionEvents['state']> = {}): void {
    this.#state = state;
    this.#emit('state', { ...more, state });
  }

  #emit<Name extends keyof SessionEvents>(event: Name, data: SessionEvents[Name]): void {
    const listeners = (this.#listeners.get(event) ?? []) as Iterable<Listener<Name>>;
    for (const listener of [...listeners]) listener(data);
  }
}
