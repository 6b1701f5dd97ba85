import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import type { Test } from 'tap';

/** A bare TCP connection, for clients that no library would be. */
export class RawLine {
  readonly socket: Socket;
  #text = '';

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => (this.#text += chunk.toString('latin1')));
  }

  static async open(t: Test, url: string): Promise<RawLine> {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port) });
    t.teardown(() => socket.destroy());
    const line = new RawLine(socket);
    await once(socket, 'connect');
    return line;
  }

  /** What the server said until now. */
  get text(): string {
    return this.#text;
  }

  send(text: string): void {
    this.socket.write(text);
  }

  /** Everything the server said, once it has closed the line. */
  async end(): Promise<string> {
    if (!this.socket.closed) await once(this.socket, 'close');
    return this.#text;
  }
}
