import type { SessionEvent } from '../events.js';

export interface Numbered {
  readonly seq: number;
  readonly event: SessionEvent;
}

/** The latest events of a session, for a client that comes back. */
export class EventRing {
  readonly #size: number;
  readonly #events: Numbered[] = [];

  constructor(size: number) {
    this.#size = size;
  }

  add(entry: Numbered): void {
    this.#events.push(entry);
    if (this.#events.length > this.#size) this.#events.shift();
  }

  /** Everything after `seq`, oldest first; undefined when some of it is no longer here. */
  after(seq: number): Numbered[] | undefined {
    const oldest = this.#events[0]?.seq;
    const newest = this.#events.at(-1)?.seq ?? 0;
    if (seq > newest) return undefined;
    if (oldest === undefined || seq === newest) return [];
    return seq + 1 < oldest ? undefined : this.#events.slice(seq + 1 - oldest);
  }
}
