/** Counts what may be open so many times at once: connections, uploads, sessions. */
export interface Counts {
  /** Counts one more, unless there are `most` already: then false. */
  take(what: string, most: number): boolean | Promise<boolean>;
  give(what: string): void;
}

/** What one process counts by itself. */
export class LocalCounts implements Counts {
  readonly #counts = new Map<string, number>();

  take(what: string, most: number): boolean {
    const count = this.get(what);
    if (count >= most) return false;
    this.#counts.set(what, count + 1);
    return true;
  }

  give(what: string): void {
    const left = this.get(what) - 1;
    if (left > 0) this.#counts.set(what, left);
    else this.#counts.delete(what);
  }

  get(what: string): number {
    return this.#counts.get(what) ?? 0;
  }

  entries(): [string, number][] {
    return [...this.#counts];
  }
}
