import { setTimeout as sleep } from 'node:timers/promises';

/** Work that is done from time to time and never twice at once; `failed` hears what goes wrong. */
export class Repeated {
  readonly #everyMs: number;
  readonly #work: () => Promise<unknown>;
  readonly #failed: (error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  constructor(everyMs: number, work: () => Promise<unknown>, failed: (error: unknown) => void) {
    this.#everyMs = everyMs;
    this.#work = work;
    this.#failed = failed;
  }

  /** Does it now, and then every so often. */
  start(): void {
    void this.now();
    this.#timer = setInterval(() => void this.now(), this.#everyMs).unref();
  }

  /** Once more, unless it is being done: then that. */
  now(): Promise<void> {
    this.#running ??= this.#work()
      .then(() => undefined, this.#failed)
      .finally(() => (this.#running = undefined));
    return this.#running;
  }

  /** Waits for what is being done, for `waitMs` at most where a Redis that is away may hold it up. */
  async stop(waitMs?: number): Promise<void> {
    clearInterval(this.#timer);
    const late = waitMs === undefined ? [] : [sleep(waitMs, undefined, { ref: false })];
    await Promise.race([this.#running, ...late]);
  }
}
