import type { Connection } from './connection.js';

/** Idle connections, used again by the next sentence while they last. */
export class ConnectionPool {
  readonly #open: (signal: AbortSignal) => Promise<Connection>;
  readonly #idleMs: number;
  /** All that are open, and the timers of the idle ones, newest last. */
  readonly #all = new Set<Connection>();
  readonly #idle = new Map<Connection, NodeJS.Timeout>();

  constructor(open: (signal: AbortSignal) => Promise<Connection>, idleMs: number) {
    this.#open = open;
    this.#idleMs = idleMs;
  }

  async take(signal: AbortSignal): Promise<Connection> {
    const idle = [...this.#idle].at(-1);
    if (idle !== undefined) {
      const [connection, timer] = idle;
      clearTimeout(timer);
      this.#idle.delete(connection);
      return connection;
    }
    const connection = await this.#open(signal);
    this.#all.add(connection);
    connection.onceClosed(() => this.#forget(connection));
    return connection;
  }

  /** Gives back a connection whose task has finished. */
  give(connection: Connection): void {
    if (!connection.isOpen || !this.#all.has(connection)) return connection.close();
    const timer = setTimeout(() => connection.close(), this.#idleMs);
    this.#idle.set(connection, timer);
  }

  /** Closes the idle connections and those at work. */
  close(): void {
    for (const connection of this.#all) {
      this.#forget(connection);
      connection.close();
    }
  }

  #forget(connection: Connection): void {
    clearTimeout(this.#idle.get(connection));
    this.#idle.delete(connection);
    this.#all.delete(connection);
  }
}

/** Lets a number of callers pass; the others wait in order. */
export class Gate {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(places: number) {
    this.#free = places;
  }

  /** Resolves with the function that gives the place back. */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#turn(signal);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    };
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const enter = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(enter);
    });
  }
}
