import { until } from '../helpers/until.js';

/** The stages of a task, in their order. */
export const stages = [
  'claimed',
  'downloading',
  'rendering',
  'muxing',
  'uploading',
  'finishing',
] as const;
export type Stage = (typeof stages)[number];

/** Where one task is to be held; closed at the start of a round, open for every later attempt. */
export class Gate {
  #reached = false;
  #open: () => void = () => undefined;
  #opened: Promise<void> = Promise.resolve();
  #isClosed = false;

  close(): void {
    this.#reached = false;
    this.#isClosed = true;
    this.#opened = new Promise((resolve) => (this.#open = resolve));
  }

  open(): void {
    this.#isClosed = false;
    this.#open();
  }

  /** Whether who comes now has to wait; the first one only. */
  take(): boolean {
    if (!this.#isClosed || this.#reached) return false;
    this.#reached = true;
    return true;
  }

  get opened(): Promise<void> {
    return this.#opened;
  }

  async reached(what: string): Promise<void> {
    await until(() => this.#reached, what, 60_000);
  }
}
