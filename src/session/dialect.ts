import type { ErrorCode } from '../errors.js';
import type { CloseCode } from './socket/close.js';

/**
 * The seam between sockets, dialects and the session core. The transport (socket.ts) owns limits,
 * deadlines and the outgoing buffer; a dialect owns what frames mean; the core owns turns.
 */

/** What a client sent: a JSON object within the limits of size, depth and rate, else unchecked. */
export type Frame = Readonly<Record<string, unknown>>;

/** One connection, as a dialect sees it. No method throws, whatever state the connection is in. */
export interface ClientSocket {
  /** Of this connection, for logs. */
  readonly id: string;
  readonly address: string;
  /** Of the upgrade request; of a name that is given twice the first value. */
  readonly query: Readonly<Record<string, string>>;
  readonly params: Readonly<Record<string, string>>;
  /** The header of the upgrade request. */
  readonly authorization: string | undefined;
  readonly isOpen: boolean;
  /** Whether another API process carries it on to here. */
  readonly isRelayed: boolean;
  /**
   * Queues a frame; order is kept. While the client reads too slowly, of frames with the same
   * `coalesce` key only the latest is kept.
   */
  send(frame: object, options?: { readonly coalesce?: string | undefined }): void;
  /**
   * The client is who it says: full-size frames may come, the authentication deadline is off.
   * At `expiresAt` (ms since 1970) the socket closes with TOKEN_EXPIRED; calling again moves it.
   */
  welcome(expiresAt?: number): void;
  /** Sends what is queued, then closes. `reason` starts with a code where there is one. */
  close(code: CloseCode, reason: string): void;
}

/** How a connection ended: 1006 when the client vanished without a close frame. */
export interface ConnectionEnd {
  readonly code: number;
  readonly reason: string;
  /** Whether this side began it (a limit, a deadline, `close()`, the server's end). */
  readonly byServer: boolean;
}

/** What a dialect makes of one connection. */
export interface Connection {
  /** Frames wait for it, as for a check of who connects; the dialect closes when that fails. */
  readonly ready?: Promise<unknown> | undefined;
  /**
   * One frame. The next one is not given before the promise resolves, so it must not wait for a
   * turn. A CodedError becomes an error frame and the socket stays open; anything else INTERNAL.
   */
  frame(frame: Frame): Promise<void> | void;
  /** Called once, after the last frame. */
  closed(end: ConnectionEnd): Promise<void> | void;
}

export interface Dialect {
  readonly name: 'echomimic' | 'life-echo';
  /** Called synchronously at the upgrade. */
  connect(socket: ClientSocket): Connection;
  /** The dialect's error frame; `retryAfter` in seconds. */
  error(socket: ClientSocket, code: ErrorCode, message: string, retryAfter?: number): object;
}
