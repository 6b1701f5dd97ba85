/** Lets `perSecond` pass on average, and twice that at once. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #now: () => number;
  #tokens: number;
  #at: number;

  constructor(perSecond: number, now: () => number = () => performance.now()) {
    this.#perSecond = perSecond;
    this.#now = now;
    this.#tokens = 2 * perSecond;
    this.#at = now();
  }

  /** False when one too many came. */
  take(): boolean {
    const now = this.#now();
    const earned = ((now - this.#at) / 1000) * this.#perSecond;
    this.#tokens = Math.min(2 * this.#perSecond, this.#tokens + earned);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

const longestTimerMs = 2 ** 31 - 1;

/** One timer that may be moved; `at` further away than a timer can count is waited for in steps. */
export class Alarm {
  readonly #ring: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(ring: () => void) {
    this.#ring = ring;
  }

  /** `at` in ms since 1970. */
  set(at: number): void {
    clearTimeout(this.#timer);
    const wait = Math.max(0, at - Date.now());
    this.#timer =
      wait > longestTimerMs
        ? setTimeout(() => this.set(at), longestTimerMs)
        : setTimeout(this.#ring, wait);
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
