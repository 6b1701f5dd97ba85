import { CodedError } from '../../errors.js';

/** What a client said takes its place in line when it was said, even if its words come later. */
export class Order {
  readonly #most: number;
  readonly #fail: (error: unknown) => void;
  #tail: Promise<void> = Promise.resolve();
  #waiting = 0;

  /** `fail` is told what goes wrong; what comes behind it goes on. */
  constructor(most: number, fail: (error: unknown) => void) {
    this.#most = most;
    this.#fail = fail;
  }

  /** TOO_MANY_TURNS when too much waits already. */
  checkRoom(): void {
    if (this.#waiting < this.#most) return;
    throw new CodedError(
      'TOO_MANY_TURNS',
      `${this.#most} messages wait already; wait for their replies`,
    );
  }

  /** Runs `work` when everything before it is done. */
  add(work: () => Promise<void>): void {
    this.#waiting++;
    this.#tail = this.#tail
      .then(work)
      .catch(this.#fail)
      .finally(() => this.#waiting--);
  }

  /** Resolves when everything that was added until now is done. */
  done(): Promise<void> {
    return this.#tail;
  }
}
