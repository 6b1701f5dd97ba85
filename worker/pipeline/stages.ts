import type { OpenSpan } from '../../src/observe/trace.js';
import { beginSpan } from '../../src/observe/trace.js';
import type { WorkFacts } from '../../src/queue/fields.js';
import type { VideoStage } from './video.js';

export type Stage = 'downloading' | VideoStage | 'upload';

/** How long a task is in each of its stages, which follow each other; each is a span of its trace. */
export class StageClock {
  readonly #seconds = new Map<Stage, number>();
  #current: Stage | undefined;
  #since = 0;
  #span: OpenSpan | undefined;
  #rendering: { readonly span: OpenSpan; readonly begun: number } | undefined;

  enter(stage: Stage): void {
    if (stage === this.#current) return;
    this.leave();
    this.#current = stage;
    this.#since = performance.now();
    this.#span = beginSpan(stage);
    if (stage === 'inference' && this.#span)
      this.#rendering = { span: this.#span, begun: Date.now() };
  }

  /** Ends the stage of now; more than once does nothing. */
  leave(error?: unknown): void {
    if (this.#current === undefined) return;
    const spent = (performance.now() - this.#since) / 1000;
    this.#seconds.set(this.#current, (this.#seconds.get(this.#current) ?? 0) + spent);
    this.#current = undefined;
    this.#span?.end(error);
    this.#span = undefined;
  }

  /** Of the stage of now, for the requests that it sends. */
  get traceparent(): string | undefined {
    return this.#span?.traceparent;
  }

  /**
   * What the engine did, ms of each of its own stages. Decoding overlaps with the last step; here
   * they stand one after the other.
   */
  rendered({ total: _, ...timings }: Readonly<Record<string, number>>): void {
    if (this.#rendering === undefined) return;
    const { span, begun } = this.#rendering;
    let at = begun;
    for (const [name, ms] of Object.entries(timings)) {
      const part = beginSpan(name, { startTime: at, parent: span.traceparent });
      part?.end(undefined, (at += ms));
    }
  }

  /** Seconds of each stage so far, to the millisecond. */
  seconds(): Record<string, number> {
    const rounded = [...this.#seconds].map(([stage, spent]) => [stage, Number(spent.toFixed(3))]);
    return Object.fromEntries(rounded) as Record<string, number>;
  }

  facts(): WorkFacts {
    const named = Object.entries(this.seconds());
    return Object.fromEntries(named.map(([stage, spent]) => [`seconds_${stage}`, String(spent)]));
  }
}
