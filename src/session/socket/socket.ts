import type { Socket as NetSocket } from 'node:net';
import type { WebSocket } from 'ws';
import type { Config } from '../../config.js';
import { CodedError, type ErrorCode, retryAfterOf } from '../../errors.js';
import type { Log } from '../../log.js';
import { meters } from '../../observe/meters.js';
import { withOnlyIds } from '../../observe/scope.js';
import { type CloseCode, closeCodes, closeReason } from './close.js';
import type { ClientSocket, Connection, ConnectionEnd, Dialect } from '../dialect.js';
import { parseFrame } from './frame.js';
import { Alarm, TokenBucket } from './limits.js';
import { Outbox } from './outbox.js';

/** What a connection may send altogether before it is known who it is. */
export const strangerBytes = 64 * 1024;
/** This many frames in a row that make no sense end a connection. */
export const maxBadFrames = 10;
/** Frames that wait for the one before them: above this nothing more is read. */
const maxFramesWaiting = 16;
const defaultStuckMs = 10_000;
const lingerMs = 1000;

/** How `ws` names what it closes for, and with what. */
const brokenFrames: Readonly<Record<string, number>> = {
  WS_ERR_EXPECTED_FIN: 1002,
  WS_ERR_EXPECTED_MASK: 1002,
  WS_ERR_INVALID_CLOSE_CODE: 1002,
  WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH: 1002,
  WS_ERR_INVALID_OPCODE: 1002,
  WS_ERR_INVALID_UTF8: 1007,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: closeCodes.policy,
  WS_ERR_UNEXPECTED_MASK: 1002,
  WS_ERR_UNEXPECTED_RSV_1: 1002,
  WS_ERR_UNEXPECTED_RSV_2_3: 1002,
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: closeCodes.tooLarge,
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: closeCodes.tooLarge,
};

export interface SocketOptions {
  readonly id: string;
  readonly address: string;
  readonly isRelayed: boolean;
  readonly query: Readonly<Record<string, string>>;
  readonly params: Readonly<Record<string, string>>;
  readonly authorization: string | undefined;
  readonly limits: Config['sessions'];
  readonly stuckMs?: number | undefined;
  readonly log: Log;
}

/** One connection: its limits, its deadlines, and its frames in order, both ways. */
export class Socket implements ClientSocket {
  readonly id: string;
  readonly address: string;
  readonly isRelayed: boolean;
  readonly query: Readonly<Record<string, string>>;
  readonly params: Readonly<Record<string, string>>;
  readonly authorization: string | undefined;
  /** Resolves when the connection is over and its dialect has dealt with that. */
  readonly ended: Promise<void>;

  readonly #ws: WebSocket;
  readonly #line: NetSocket;
  readonly #limits: Config['sessions'];
  readonly #log: Log;
  readonly #dialect: Dialect;
  readonly #outbox: Outbox;
  readonly #bucket: TokenBucket;
  readonly #expiry = new Alarm(() =>
    this.#fail('TOKEN_EXPIRED', closeCodes.unauthorised, 'the access token ran out: connect anew'),
  );
  readonly #authDeadline: NodeJS.Timeout;
  readonly #idleDeadline: NodeJS.Timeout;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #resolveEnded: () => void;

  #connection: Connection | undefined;
  #isKnown = false;
  #strangerBytes = 0;
  #isAlive = true;
  readonly #incoming: Buffer[] = [];
  #incomingBytes = 0;
  #isBusy = true;
  #badFrames = 0;
  #end: ConnectionEnd | undefined;

  /** Attaches everything at once: a frame may come right behind the upgrade. */
  constructor(ws: WebSocket, line: NetSocket, dialect: Dialect, options: SocketOptions) {
    const { id, address, isRelayed, query, params, authorization, limits, log } = options;
    this.id = id;
    this.address = address;
    this.isRelayed = isRelayed;
    this.query = query;
    this.params = params;
    this.authorization = authorization;
    this.#ws = ws;
    this.#line = line;
    this.#limits = limits;
    this.#log = log;
    this.#dialect = dialect;
    this.#bucket = new TokenBucket(limits.framesPerSecond);
    let resolveEnded = () => {};
    this.ended = new Promise((resolve) => (resolveEnded = resolve));
    this.#resolveEnded = resolveEnded;
    this.#outbox = new Outbox(
      ws,
      { ...limits, stuckMs: options.stuckMs ?? defaultStuckMs },
      (message) => this.#terminate(closeCodes.policy, `CLIENT_TOO_SLOW: ${message}`, true),
    );
    this.#authDeadline = setTimeout(
      () =>
        this.#fail(
          'AUTH_TIMEOUT',
          closeCodes.unauthorised,
          `nobody said who connects within ${limits.authMs / 1000} s`,
        ),
      limits.authMs,
    );
    this.#idleDeadline = setTimeout(
      () =>
        this.#fail(
          'IDLE_TIMEOUT',
          closeCodes.policy,
          `nothing happened for ${limits.idleMs / 1000} s: connect again`,
        ),
      limits.idleMs,
    );
    this.#heartbeat = setInterval(() => this.#beat(), limits.heartbeatMs);

    ws.on('message', (data, isBinary) => this.#receive(data as Buffer, isBinary));
    ws.on('ping', () => this.#count());
    ws.on('pong', () => (this.#isAlive = true));
    ws.on('error', (error) => this.#broken(error));
    ws.on('close', (code, reason) => this.#closed(code, reason.toString()));
    line.on('data', this.#onData);
    log.debug('connected');
    void this.#open();
  }

  get isOpen(): boolean {
    return this.#end === undefined && this.#ws.readyState === this.#ws.OPEN;
  }

  send(frame: object, options: { readonly coalesce?: string | undefined } = {}): void {
    if (!this.isOpen) return;
    this.#idleDeadline.refresh();
    meters.frames.inc({ dialect: this.#dialect.name, direction: 'out' });
    this.#outbox.send(JSON.stringify(frame), options.coalesce);
  }

  welcome(expiresAt?: number): void {
    if (!this.isOpen) return;
    this.#isKnown = true;
    clearTimeout(this.#authDeadline);
    if (expiresAt === undefined) this.#expiry.clear();
    else this.#expiry.set(expiresAt);
  }

  close(code: CloseCode, reason: string): void {
    if (!this.isOpen) return;
    this.#end = { code, reason: closeReason(reason), byServer: true };
    this.#stopTimers();
    this.#outbox.flush();
    this.#ws.resume();
    this.#ws.close(code, this.#end.reason);
  }

  /** For a client that does not answer a close. */
  terminate(): void {
    this.#ws.terminate();
  }

  async #open(): Promise<void> {
    try {
      await withOnlyIds({ connection: this.id }, () => {
        this.#connection = this.#dialect.connect(this);
        return this.#connection.ready;
      });
    } catch (error) {
      this.#refuse(error);
      this.close(closeCodes.internal, 'INTERNAL: the server failed; its log says why');
    }
    this.#isBusy = false;
    await this.#work();
  }

  readonly #onData = (chunk: Buffer): void => {
    // A large frame on its way keeps the pong behind it: any byte is a sign of life.
    this.#isAlive = true;
    if (this.#isKnown) return;
    this.#strangerBytes += chunk.length;
    this.#checkStranger();
  };

  /** While it is being checked who connects, whatever else comes waits outside. */
  #checkStranger(): void {
    if (this.#isKnown || this.#strangerBytes <= strangerBytes || !this.isOpen) return;
    if (this.#isBusy) return this.#ws.pause();
    this.#fail(
      'FRAME_TOO_LARGE',
      closeCodes.tooLarge,
      `before it is known who connects, ${strangerBytes} bytes may be sent`,
    );
    // What is still on its way is not read; the client gets a moment to read why.
    this.#ws.pause();
    setTimeout(() => this.terminate(), lingerMs).unref();
  }

  #receive(data: Buffer, isBinary: boolean): void {
    meters.frames.inc({ dialect: this.#dialect.name, direction: 'in' });
    if (this.#end !== undefined || !this.#count()) return;
    this.#idleDeadline.refresh();
    if (isBinary) {
      return this.#fail(
        'FRAME_MALFORMED',
        closeCodes.unsupported,
        `a frame is JSON in a text message; ${data.length} bytes of a binary one came`,
      );
    }
    this.#incoming.push(data);
    this.#incomingBytes += data.length;
    const isMuch = this.#incomingBytes > this.#limits.maxFrameBytes;
    if (isMuch || this.#incoming.length > maxFramesWaiting) this.#ws.pause();
    void this.#work();
  }

  /** False, and the end, when too many came in too short a time. */
  #count(): boolean {
    if (this.#end !== undefined) return false;
    if (this.#bucket.take()) return true;
    const perSecond = this.#limits.framesPerSecond;
    this.#fail(
      'FRAME_RATE_EXCEEDED',
      closeCodes.policy,
      `more than ${perSecond} frames per second came`,
    );
    return false;
  }

  async #work(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    for (let next = this.#incoming.shift(); next; next = this.#incoming.shift()) {
      this.#incomingBytes -= next.length;
      if (this.#end?.byServer !== true) await this.#handle(next);
    }
    this.#isBusy = false;
    if (this.isOpen) {
      if (this.#ws.isPaused) this.#ws.resume();
      this.#checkStranger();
    } else if (this.#ws.readyState === this.#ws.CLOSED) {
      await this.#finish();
    }
  }

  async #handle(data: Buffer): Promise<void> {
    try {
      await withOnlyIds({ connection: this.id }, () => this.#connection?.frame(parseFrame(data)));
      this.#badFrames = 0;
    } catch (error) {
      this.#refuse(error);
    }
  }

  #refuse(error: unknown): void {
    if (!(error instanceof CodedError)) {
      this.#log.error({ err: error }, 'a frame could not be handled');
      return this.#sendError('INTERNAL', 'the server failed; its log says why');
    }
    this.#log.debug({ code: error.code }, error.message);
    this.#sendError(error.code, error.message, error.retryAfterSeconds);
    if (!error.code.startsWith('FRAME_')) return;
    if (++this.#badFrames < maxBadFrames) return;
    this.close(closeCodes.policy, `${error.code}: ${maxBadFrames} frames in a row made no sense`);
  }

  #sendError(code: ErrorCode, message: string, retryAfter = retryAfterOf(code)): void {
    meters.errors.inc({ code, via: 'socket' });
    try {
      this.send(this.#dialect.error(this, code, message, retryAfter));
    } catch (error) {
      this.#log.error({ err: error, code }, 'an error could not be told');
    }
  }

  #fail(code: ErrorCode, closeCode: CloseCode, message: string): void {
    this.#sendError(code, message);
    this.close(closeCode, `${code}: ${message}`);
  }

  #beat(): void {
    if (!this.#isAlive && !this.#ws.isPaused) {
      // As if the line had said so itself: the client may come back.
      return this.#terminate(1006, 'the client did not answer the heartbeat', false);
    }
    this.#isAlive = false;
    this.#ws.ping();
  }

  #terminate(code: number, reason: string, byServer: boolean): void {
    this.#end ??= { code, reason, byServer };
    this.#ws.terminate();
  }

  /** `ws` closes on its own, with the code that fits, when a frame breaks the protocol. */
  #broken(error: Error & { code?: unknown }): void {
    const code = brokenFrames[String(error.code)];
    if (code === undefined) return this.#log.debug({ err: error }, 'the line broke');
    const reason =
      code === closeCodes.tooLarge
        ? `FRAME_TOO_LARGE: a frame may have ${this.#limits.maxFrameBytes} bytes`
        : `FRAME_MALFORMED: ${error.message}`;
    this.#end ??= { code, reason, byServer: true };
    this.#stopTimers();
  }

  #stopTimers(): void {
    clearTimeout(this.#authDeadline);
    clearTimeout(this.#idleDeadline);
    clearInterval(this.#heartbeat);
    this.#expiry.clear();
  }

  #closed(code: number, reason: string): void {
    this.#end ??= { code, reason, byServer: false };
    // Whoever closes properly has sent the frames before that to be heeded.
    if (this.#end.byServer || this.#end.code === 1006) this.#incoming.length = 0;
    this.#stopTimers();
    this.#outbox.close();
    this.#line.off('data', this.#onData);
    const { code: endCode, reason: endReason, byServer } = this.#end;
    this.#log.debug({ code: endCode, reason: endReason, byServer }, 'disconnected');
    if (!this.#isBusy) void this.#finish();
  }

  async #finish(): Promise<void> {
    try {
      await this.#connection?.closed(this.#end as ConnectionEnd);
    } catch (error) {
      this.#log.error({ err: error }, 'the end of a connection could not be handled');
    }
    this.#resolveEnded();
  }
}
