import { randomUUID } from 'node:crypto';
import type { Connection } from './connection.js';
import type { Failures } from './failures.js';
import {
  type SpeechRequest,
  type TaskEvent,
  continueTask,
  finishTask,
  readEvent,
  runTask,
} from './frames.js';

/** An hour and a half of speech: a service that sends without end is left. */
const MAX_AUDIO_BYTES = 256 * 1024 * 1024;

/** The socket was closed before the service said anything to this task. */
export class Unanswered extends Error {}

export interface TaskOptions {
  readonly startedMs: number;
  readonly failures: Failures;
  readonly signal: AbortSignal;
}

/**
 * Runs one task on a connection that is open and idle; resolves with its samples. After a failure
 * or an abort the connection is of no further use, and closed.
 */
export function speakTask(
  connection: Connection,
  request: SpeechRequest,
  options: TaskOptions,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    new Task(connection, request, options, resolve, reject).start();
  });
}

class Task {
  readonly #connection: Connection;
  readonly #request: SpeechRequest;
  readonly #options: TaskOptions;
  readonly #resolve: (samples: Uint8Array) => void;
  readonly #reject: (error: Error) => void;
  readonly #id = randomUUID().replaceAll('-', '');
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #answered = false;
  #started = false;
  /** Old servers end their reply with an event without output, and close. */
  #summedUp = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    connection: Connection,
    request: SpeechRequest,
    options: TaskOptions,
    resolve: (samples: Uint8Array) => void,
    reject: (error: Error) => void,
  ) {
    this.#connection = connection;
    this.#request = request;
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    const { signal, startedMs, failures } = this.#options;
    if (signal.aborted) return this.#onAbort();
    signal.addEventListener('abort', this.#onAbort, { once: true });
    this.#timer = setTimeout(() => {
      this.#fail(failures.late(`a task had not started after ${startedMs / 1000} s`));
    }, startedMs);
    this.#connection.listen({
      text: (frame) => this.#onText(frame),
      audio: (chunk) => this.#onAudio(chunk),
      closed: (code, reason) => this.#onClosed(code, reason),
    });
    this.#connection.send(runTask(this.#id, this.#request));
    if (!this.#connection.isOpen) this.#onClosed(1006, '');
  }

  readonly #onAbort = (): void => this.#fail(this.#options.signal.reason as Error);

  #onText(text: string): void {
    this.#answered = true;
    const event = readEvent(text);
    if (event === undefined) {
      return this.#fail(this.#options.failures.malformed(`the frame ${text.slice(0, 100)}`));
    }
    const { task_id: id = this.#id, event: name } = event.header;
    if (id !== this.#id) {
      return this.#fail(this.#options.failures.malformed(`${name} of another task`));
    }
    if (name === 'task-started') this.#onStarted();
    else if (name === 'task-failed') this.#onFailed(event);
    else if (name === 'task-finished') this.#onFinished();
    else if (event.payload?.output === null) this.#summedUp = true;
    // other events tell of sentences and words
  }

  #onStarted(): void {
    if (this.#started) return;
    this.#started = true;
    clearTimeout(this.#timer);
    for (const piece of this.#request.pieces) this.#connection.send(continueTask(this.#id, piece));
    this.#connection.send(finishTask(this.#id));
  }

  #onFailed({ header }: TaskEvent): void {
    const { error_code: code = 'task-failed', error_message: message = '' } = header;
    const { voice } = this.#request;
    this.#fail(this.#options.failures.refusal({ code, message, voice, requestId: this.#id }));
  }

  #onAudio(chunk: Buffer): void {
    this.#answered = true;
    if (!this.#started) {
      return this.#fail(this.#options.failures.malformed('sound before the task had started'));
    }
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes > MAX_AUDIO_BYTES) {
      this.#fail(this.#options.failures.malformed(`more than ${MAX_AUDIO_BYTES} bytes of sound`));
    }
  }

  #onClosed(code: number, reason: string): void {
    if (!this.#answered) return this.#fail(new Unanswered(`closed (${code})`));
    if (code === 1000 && this.#summedUp) return this.#onFinished();
    const why = `the connection was closed (${code}${reason === '' ? '' : ` ${reason}`})`;
    this.#fail(this.#options.failures.lost(`${why} in the middle of a task`));
  }

  #onFinished(): void {
    const { failures } = this.#options;
    if (!this.#started) return this.#fail(failures.malformed('task-finished before task-started'));
    if (this.#bytes < 2) {
      return this.#fail(failures.malformed('the task finished without any sound'));
    }
    this.#settle();
    this.#connection.used = true;
    // chunks end at any byte, the whole ends with a sample
    this.#resolve(Buffer.concat(this.#chunks, this.#bytes - (this.#bytes % 2)));
  }

  #fail(error: Error): void {
    this.#settle();
    this.#connection.close();
    this.#reject(error);
  }

  #settle(): void {
    clearTimeout(this.#timer);
    this.#connection.listen(undefined);
    this.#options.signal.removeEventListener('abort', this.#onAbort);
  }
}
