import type { Claim, WorkerQueue } from '../../src/queue/worker-queue.js';
import { type TaskUpdate, type WorkStatus, progressUpdate } from '../../src/queue/update.js';

/** At most this many messages of one stage are sent per second; a new stage is always told. */
const messagesPerSecond = 10;

/**
 * Publishes how a task comes along. Never backwards, every stage at least once, and never more
 * than one message under way, so that a slow Redis costs messages and not memory.
 */
export class Reporter {
  readonly #queue: WorkerQueue;
  readonly #claim: Claim;
  readonly #onLost: () => void;
  readonly #waiting: TaskUpdate[] = [];
  #sending: Promise<void> | undefined;
  #progress = 0;
  #closed = false;

  /** `onLost` is called when the task turns out to belong to another worker by now. */
  constructor(queue: WorkerQueue, claim: Claim, onLost: () => void) {
    this.#queue = queue;
    this.#claim = claim;
    this.#onLost = onLost;
  }

  get progress(): number {
    return this.#progress;
  }

  update(status: WorkStatus, progress: number, message: string): void {
    if (this.#closed) return;
    const update = progressUpdate(
      this.#claim.entry,
      status,
      Math.max(progress, this.#progress),
      message,
    );
    this.#progress = update.progress;
    if (this.#waiting.at(-1)?.status === status) this.#waiting.pop();
    this.#waiting.push(update);
    this.#sending ??= this.#send().finally(() => (this.#sending = undefined));
  }

  async #send(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (!(await this.#queue.report(this.#claim, next))) {
        this.#waiting.length = 0;
        this.#closed = true;
        this.#onLost();
        return;
      }
      if (this.#waiting.length < 2 && !this.#closed) {
        await new Promise((resolve) => setTimeout(resolve, 1000 / messagesPerSecond));
      }
    }
  }

  /** Sends what waits; nothing is accepted any more. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#sending;
  }
}
