import { CodedError } from '../../errors.js';

/** What a client said takes its place in line when it was said, even if its words come later. */
export class Order {
  readonly #most: number;
  #tail: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** TOO_MANY_TURNS when too much waits already. */
  checkRoom(): void {
    if (this.#waiting < this.#most) return;
    throw new CodedError(
      'TOO_MANY_TURNS',
      `${this.#most} messages wait already; wait for their replies`,
    );
  }

  /** Runs `work`, which must not fail, when everything before it is done. */
  add(work: () => Promise<void>): void {
    this.#waiting++;
    this.#tail = this.#tail.then(work).finally(() => this.#waiting--);
  }

  /** Resolves when everything that was added until now is done. */
  done(): Promise<void> {
    return this.#tail;
  }
}
