import type { IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import type { Failures } from './failures.js';

const MAX_FRAME_BYTES = 16 * 1024 * 1024;
const MAX_REFUSAL_BYTES = 64 * 1024;
/** How long the service may take to answer our goodbye. */
const GOODBYE_MS = 1000;

/** Who gets what arrives: the task that runs. */
export interface Listener {
  text(frame: string): void;
  audio(chunk: Buffer): void;
  closed(code: number, reason: string): void;
}

export interface ConnectionOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly connectMs: number;
}

/** A socket to the synthesiser, for one task after the other. */
export class Connection {
  readonly #socket: WebSocket;
  #listener: Listener | undefined;
  #goodbye: NodeJS.Timeout | undefined;
  /** Whether a task has run here before. */
  used = false;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data: Buffer, isBinary) => {
      // what comes while no task runs has no meaning: this socket is not trusted again
      if (this.#listener === undefined) this.close();
      else if (isBinary) this.#listener.audio(data);
      else this.#listener.text(data.toString('utf8'));
    });
    socket.on('error', () => undefined);
    socket.on('close', (code, reason) => {
      clearTimeout(this.#goodbye);
      this.#listener?.closed(code, reason.toString('utf8'));
    });
  }

  /** Rejects with the service's refusal, an error of the network, or the signal's reason. */
  static async open(
    { url, headers, connectMs }: ConnectionOptions,
    failures: Failures,
    signal: AbortSignal,
  ): Promise<Connection> {
    signal.throwIfAborted();
    const socket = new WebSocket(url, {
      headers,
      perMessageDeflate: false,
      maxPayload: MAX_FRAME_BYTES,
      skipUTF8Validation: false,
    });
    return new Promise((resolve, reject) => {
      const leave = (error: Error) => {
        settle();
        // it reports its own end as an error
        socket.on('error', () => undefined);
        socket.terminate();
        reject(error);
      };
      const onAbort = () => leave(signal.reason as Error);
      const timer = setTimeout(
        () => leave(failures.late(`no connection after ${connectMs / 1000} s`)),
        connectMs,
      );
      const onOpen = () => {
        settle();
        resolve(new Connection(socket));
      };
      const onRefusal = (_request: unknown, response: IncomingMessage) => {
        readRefusal(response)
          .then((text) => {
            const { statusCode = 0, headers } = response;
            leave(failures.httpRefusal(statusCode, text, headers['retry-after']));
          })
          .catch((error: unknown) => leave(error as Error));
      };
      const settle = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        socket.off('open', onOpen).off('unexpected-response', onRefusal).off('error', onError);
      };
      const onError = (error: Error) => leave(failures.foreign(error) as Error);
      signal.addEventListener('abort', onAbort, { once: true });
      socket.on('open', onOpen).on('unexpected-response', onRefusal).on('error', onError);
    });
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** Calls `then` once, when the socket is gone. */
  onceClosed(then: () => void): void {
    if (this.#socket.readyState === WebSocket.CLOSED) then();
    else this.#socket.once('close', then);
  }

  listen(listener: Listener | undefined): void {
    this.#listener = listener;
  }

  send(frame: string): void {
    // a send that fails is followed by `closed`
    if (this.isOpen) this.#socket.send(frame, () => undefined);
  }

  close(): void {
    this.#listener = undefined;
    if (this.#goodbye !== undefined || this.#socket.readyState === WebSocket.CLOSED) return;
    this.#socket.close(1000);
    this.#goodbye = setTimeout(() => this.#socket.terminate(), GOODBYE_MS);
  }
}

async function readRefusal(response: IncomingMessage): Promise<string> {
  let text = '';
  response.setEncoding('utf8');
  for await (const chunk of response) {
    text += chunk;
    if (text.length > MAX_REFUSAL_BYTES) break;
  }
  return text;
}
