import { WebSocket } from 'ws';

export interface Recorded {
  readonly from: 'client' | 'server';
  /** Milliseconds since the connection was asked for. */
  readonly at: number;
  readonly frame: Record<string, unknown>;
}

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

/** A plain WebSocket client, as any program could write it, that keeps every frame both ways. */
export class SocketClient {
  readonly frames: Recorded[] = [];
  readonly closed: Promise<Closed>;
  readonly socket: WebSocket;
  readonly #started = performance.now();
  /** How far `next` has looked. */
  #read = 0;
  #end: Closed | undefined;
  readonly #waiting = new Set<() => void>();

  private constructor(url: string, headers: Record<string, string>) {
    this.socket = new WebSocket(url, { headers, perMessageDeflate: false });
    this.socket.on('message', (data: Buffer) =>
      this.#record('server', JSON.parse(data.toString('utf8')) as Record<string, unknown>),
    );
    this.closed = new Promise((resolve) => {
      this.socket.once('close', (code: number, reason: Buffer) => {
        this.#end = { code, reason: reason.toString('utf8') };
        resolve(this.#end);
        this.#wake();
      });
    });
  }

  /** Resolves when the socket is open; rejects with the status of a refused upgrade. */
  static async connect(url: string, headers: Record<string, string> = {}): Promise<SocketClient> {
    const client = new SocketClient(url.replace(/^http/, 'ws'), headers);
    await new Promise<void>((resolve, reject) => {
      client.socket.once('open', resolve);
      client.socket.once('unexpected-response', (_request, response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => (body += chunk.toString()));
        response.on('end', () => reject(new Error(`HTTP ${response.statusCode}: ${body}`)));
      });
      client.socket.on('error', reject);
    });
    return client;
  }

  send(frame: Record<string, unknown>): void {
    this.#record('client', frame);
    this.socket.send(JSON.stringify(frame));
  }

  get received(): Record<string, unknown>[] {
    return this.frames.filter(({ from }) => from === 'server').map(({ frame }) => frame);
  }

  /** The next frame of the server that fits; those before it are passed over. */
  async next(
    fits: (frame: Record<string, unknown>) => boolean,
    what: string,
    ms = 60_000,
  ): Promise<Record<string, unknown>> {
    const deadline = Date.now() + ms;
    for (;;) {
      while (this.#read < this.frames.length) {
        const { from, frame } = this.frames[this.#read++] as Recorded;
        if (from === 'server' && fits(frame)) return frame;
      }
      if (this.#end !== undefined) {
        throw new Error(`closed (${this.#end.code} ${this.#end.reason}) before ${what}`);
      }
      const rest = deadline - Date.now();
      if (rest <= 0) throw new Error(`waited ${ms} ms in vain for ${what}`);
      await this.#more(rest);
    }
  }

  close(code?: number): Promise<Closed> {
    this.socket.close(code);
    return this.closed;
  }

  #record(from: 'client' | 'server', frame: Record<string, unknown>): void {
    this.frames.push({ from, at: performance.now() - this.#started, frame });
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }

  async #more(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#waiting.add(wake);
    });
  }
}
