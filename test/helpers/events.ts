import { once } from 'node:events';
import { type IncomingMessage, get } from 'node:http';
import type { Test } from 'tap';
import type { TaskUpdate } from '../../src/queue/update.js';
import { until } from './until.js';

/** What one request for a task's events is told, on a line of its own. */
export class EventReader {
  readonly updates: TaskUpdate[] = [];
  isOver = false;

  private constructor(readonly response: IncomingMessage) {
    let text = '';
    response.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const whole = text.split('\n\n');
      text = whole.pop() ?? '';
      for (const event of whole) {
        const data = /^data: (.*)$/m.exec(event)?.[1];
        if (data !== undefined) this.updates.push(JSON.parse(data) as TaskUpdate);
      }
    });
    response.on('error', () => undefined).once('close', () => (this.isOver = true));
  }

  static async open(
    t: Test,
    url: string,
    headers: Record<string, string> = {},
  ): Promise<EventReader> {
    const request = get(url, { headers, agent: false });
    t.teardown(() => request.destroy());
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    request.on('error', () => undefined);
    return new EventReader(response);
  }

  leave(): void {
    this.response.destroy();
  }

  /** The last update, when the server has ended the stream. */
  async end(): Promise<TaskUpdate | undefined> {
    await until(() => this.isOver, 'the end of the events');
    return this.updates.at(-1);
  }
}
