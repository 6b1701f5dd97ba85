/** The part of a `ws` socket that frames leave through. */
export interface Line {
  /** Bytes that were sent but not yet taken by the network. */
  readonly bufferedAmount: number;
  send(text: string, sent: (error?: Error | null) => void): void;
}

export interface OutboxLimits {
  /** Above this many unsent bytes frames wait here, where those that may be are replaced. */
  readonly coalesceBytes: number;
  /** Above this many unsent bytes, waiting ones included, the client is too slow. */
  readonly maxBufferBytes: number;
  /** The client is too slow as well when it takes nothing for this long. */
  readonly stuckMs: number;
}

interface Waiting {
  readonly text: string;
  readonly bytes: number;
  readonly key: string | undefined;
}

/** Frames on their way to one client, in order. */
export class Outbox {
  readonly #line: Line;
  readonly #limits: OutboxLimits;
  readonly #tooSlow: (message: string) => void;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #underway = 0;
  #stuck: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** `tooSlow` is called once, at most; nothing is sent afterwards. */
  constructor(line: Line, limits: OutboxLimits, tooSlow: (message: string) => void) {
    this.#line = line;
    this.#limits = limits;
    this.#tooSlow = tooSlow;
  }

  send(text: string, key?: string): void {
    if (this.#isClosed) return;
    if (key !== undefined) this.#forget(key);
    const bytes = Buffer.byteLength(text);
    this.#waiting.push({ text, bytes, key });
    this.#waitingBytes += bytes;
    this.#drain();
    const unsent = this.#line.bufferedAmount + this.#waitingBytes;
    if (unsent > this.#limits.maxBufferBytes) {
      this.#giveUp(
        `${unsent} bytes wait for the client, the limit is ${this.#limits.maxBufferBytes}`,
      );
    }
  }

  /** Hands everything to the network and takes nothing more. */
  flush(): void {
    for (const waiting of this.#take()) this.#pass(waiting.text);
    this.#isClosed = true;
  }

  close(): void {
    this.#isClosed = true;
    this.#take();
    clearTimeout(this.#stuck);
    this.#stuck = undefined;
  }

  #drain(): void {
    let count = 0;
    while (
      count < this.#waiting.length &&
      this.#line.bufferedAmount <= this.#limits.coalesceBytes
    ) {
      const next = this.#waiting[count++] as Waiting;
      this.#waitingBytes -= next.bytes;
      this.#pass(next.text);
    }
    if (count > 0) this.#waiting.splice(0, count);
  }

  #pass(text: string): void {
    this.#underway++;
    this.#stuck ??= setTimeout(
      () => this.#giveUp(`the client took nothing for ${this.#limits.stuckMs / 1000} s`),
      this.#limits.stuckMs,
    );
    this.#line.send(text, () => this.#sent());
  }

  /** The network took a frame, or will never take it: then the socket's close event follows. */
  #sent(): void {
    this.#underway--;
    if (this.#stuck !== undefined) {
      if (this.#underway > 0) this.#stuck.refresh();
      else {
        clearTimeout(this.#stuck);
        this.#stuck = undefined;
      }
    }
    if (!this.#isClosed) this.#drain();
  }

  #forget(key: string): void {
    const at = this.#waiting.findIndex((waiting) => waiting.key === key);
    if (at === -1) return;
    this.#waitingBytes -= (this.#waiting[at] as Waiting).bytes;
    this.#waiting.splice(at, 1);
  }

  #take(): Waiting[] {
    const taken = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    return taken;
  }

  #giveUp(message: string): void {
    this.close();
    this.#tooSlow(message);
  }
}
