import type { WorkFacts } from '../../src/queue/fields.js';
import type { VideoStage } from './video.js';

export type Stage = 'downloading' | VideoStage | 'upload';

/** How long a task is in each of its stages, which follow each other. */
export class StageClock {
  readonly #seconds = new Map<Stage, number>();
  #current: Stage | undefined;
  #since = 0;

  enter(stage: Stage): void {
    if (stage === this.#current) return;
    this.leave();
    this.#current = stage;
    this.#since = performance.now();
  }

  /** Ends the stage of now; more than once does nothing. */
  leave(): void {
    if (this.#current === undefined) return;
    const spent = (performance.now() - this.#since) / 1000;
    this.#seconds.set(this.#current, (this.#seconds.get(this.#current) ?? 0) + spent);
    this.#current = undefined;
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
