import type { SessionEvent } from '../events.js';
import { EventRing } from './ring.js';

/** The session ended, another connection took it over, or the login it belonged to has ended. */
export type Farewell = 'ended' | 'replaced' | 'revoked';

/** Where a session's events go: one connection. Neither method may throw. */
export interface Sink {
  event(event: SessionEvent, seq: number): void;
  /** Nothing more comes: see `Farewell`. */
  over(why: Farewell): void;
}

/** Numbers a session's events, hands them to its connection, and keeps the latest for the next. */
export class Outlet {
  readonly #ring: EventRing;
  #sink: Sink | undefined;
  #seq: number;
  #heard: number;

  /** `seq`: the number of the last event that was told already. */
  constructor(ringSize: number, seq = 0) {
    this.#ring = new EventRing(ringSize);
    this.#seq = seq;
    this.#heard = seq;
  }

  /** The number of the latest event. */
  get seq(): number {
    return this.#seq;
  }

  get sink(): Sink | undefined {
    return this.#sink;
  }

  open(sink: Sink): void {
    this.#sink = sink;
  }

  emit(event: SessionEvent): void {
    this.#deliver(event, this.number(event));
  }

  /** Keeps an event that the caller sends itself; its number. */
  number(event: SessionEvent): number {
    this.#ring.add({ seq: ++this.#seq, event });
    return this.#seq;
  }

  /**
   * Goes on with another connection: `greeting` first, whose number is that of the last event
   * before those that follow, then everything after `lastSeq` (by default what no connection was
   * given). False when some of that is no longer here: then only what is new follows.
   */
  attach(sink: Sink, greeting: SessionEvent, lastSeq = this.#heard): boolean {
    const old = this.#sink;
    this.#sink = undefined;
    old?.over('replaced');
    this.#sink = sink;
    const missed = this.#ring.after(lastSeq);
    this.#heard = missed === undefined ? this.#seq : lastSeq;
    sink.event(greeting, this.#heard);
    for (const { event, seq } of missed ?? []) this.#deliver(event, seq);
    return missed !== undefined;
  }

  /** False when `sink` had already lost the session to another connection. */
  detach(sink: Sink): boolean {
    if (this.#sink !== sink) return false;
    this.#sink = undefined;
    return true;
  }

  close(why: Farewell = 'ended'): void {
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.over(why);
  }

  #deliver(event: SessionEvent, seq: number): void {
    if (this.#sink === undefined) return;
    this.#heard = seq;
    this.#sink.event(event, seq);
  }
}
