import type { Test } from 'tap';
import type { TaskUpdate } from '../../src/task/update.js';
import { until } from './until.js';

/** What one request for a task's events is told. */
export class EventReader {
  readonly updates: TaskUpdate[] = [];
  /** All of it, comments included. */
  text = '';
  isOver = false;

  private constructor(readonly response: Response) {}

  static async open(
    t: Test,
    url: string,
    headers: Record<string, string> = {},
  ): Promise<EventReader & { leave(): void }> {
    const abort = new AbortController();
    t.teardown(() => abort.abort());
    const response = await fetch(url, { headers, signal: abort.signal });
    const reader = new EventReader(response);
    void reader.#read();
    return Object.assign(reader, { leave: () => abort.abort() });
  }

  async #read(): Promise<void> {
    try {
      for await (const chunk of this.response.body ?? []) {
        this.text += Buffer.from(chunk as Uint8Array).toString();
        const whole = this.text.split('\n\n').slice(0, -1);
        const told = whole.flatMap((event) => /^data: (.*)$/m.exec(event)?.[1] ?? []);
        for (const data of told.slice(this.updates.length)) {
          this.updates.push(JSON.parse(data) as TaskUpdate);
        }
      }
    } catch {
      // left
    }
    this.isOver = true;
  }

  /** Resolves when the server has ended the stream. */
  async end(): Promise<TaskUpdate | undefined> {
    await until(() => this.isOver, 'the end of the events');
    return this.updates.at(-1);
  }
}
