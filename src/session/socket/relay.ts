import { once } from 'node:events';
import { WebSocket } from 'ws';
import { CodedError } from '../../errors.js';
import type { ClientSocket, ConnectionEnd, Frame } from '../dialect.js';
import { type CloseCode, closeCodes } from './close.js';

/** The header in which one API process proves to another that it carries a client's line on. */
export const relayHeader = 'x-session-relay';
const connectMs = 5000;
const known: ReadonlySet<number> = new Set(Object.values(closeCodes));

/** How to get to the process that holds a session. */
export interface Passage {
  /** Of the API process there. */
  readonly url: string;
  /** What lets this process in, once. */
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * A client's line, carried on to the process that holds its session: each frame as it is, and the
 * end. That process does everything else, as if the client had come to it.
 */
export class Relay {
  readonly #line: WebSocket;
  readonly #socket: ClientSocket;

  private constructor(socket: ClientSocket, line: WebSocket) {
    this.#socket = socket;
    this.#line = line;
    line.on('message', (data: Buffer) => this.#receive(data));
    line.on('close', (code: number, reason: Buffer) => this.#closed(code, reason.toString()));
  }

  /** `path` is that of the client's own connection; throws SESSION_ELSEWHERE. */
  static async open(socket: ClientSocket, path: string, { url, headers }: Passage): Promise<Relay> {
    const { authorization } = socket;
    const line = new WebSocket(url.replace(/^http/, 'ws') + path, {
      headers: { ...headers, ...(authorization === undefined ? {} : { authorization }) },
      perMessageDeflate: false,
      handshakeTimeout: connectMs,
    });
    line.on('error', () => line.terminate());
    const relay = new Relay(socket, line);
    try {
      await once(line, 'open');
    } catch (error) {
      throw new CodedError(
        'SESSION_ELSEWHERE',
        `the API process at ${url}, which holds this session, cannot be reached: try again later`,
        { cause: error },
      );
    }
    if (!socket.isOpen) line.terminate();
    return relay;
  }

  /** Resolves when the frame is on its way. */
  async frame(frame: Frame): Promise<void> {
    if (this.#line.readyState !== WebSocket.OPEN) return;
    await new Promise<void>((resolve) => this.#line.send(JSON.stringify(frame), () => resolve()));
  }

  /** What this side ended for reasons of its own is a broken line to the other process. */
  closed({ code, byServer }: ConnectionEnd): void {
    if (byServer || code === 1006) this.#line.terminate();
    else if (code === 1005) this.#line.close();
    else this.#line.close(code);
  }

  #receive(data: Buffer): void {
    const frame = JSON.parse(data.toString('utf8')) as { event?: string; data?: Frame };
    // from here on the client may say as much as it may there
    if (frame.event === 'connection_ack') this.#socket.welcome();
    const coalesce =
      frame.event === 'task_progress' ? `progress:${String(frame.data?.['task_id'])}` : undefined;
    this.#socket.send(frame, { coalesce });
  }

  #closed(code: number, reason: string): void {
    if (known.has(code)) this.#socket.close(code as CloseCode, reason);
    else {
      this.#socket.close(
        closeCodes.goingAway,
        'SERVER_STOPPING: the process that held this session has gone: connect again',
      );
    }
  }
}
