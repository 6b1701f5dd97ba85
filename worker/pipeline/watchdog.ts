import { CodedError } from '../../src/errors.js';

/** Tells work that makes no progress from work that is slow. */
export class Watchdog {
  readonly #ms: number;
  #last = performance.now();

  /** `ms`: how long there may be no progress. */
  constructor(ms: number) {
    this.#ms = ms;
  }

  alive(): void {
    this.#last = performance.now();
  }

  /** The outcome of `work`, or TASK_STALLED; then the work goes on, as nothing can stop it. */
  async watch<T>(work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const stalled = new Promise<never>((_resolve, reject) => {
      const look = () => {
        const left = this.#last + this.#ms - performance.now();
        if (left > 0) timer = setTimeout(look, left);
        else reject(this.#stalled());
      };
      look();
    });
    try {
      return await Promise.race([work, stalled]);
    } finally {
      clearTimeout(timer);
    }
  }

  #stalled(): CodedError {
    return new CodedError(
      'TASK_STALLED',
      `the worker made no progress for ${this.#ms / 1000} s (TASK_STALL_SECONDS)`,
    );
  }
}
