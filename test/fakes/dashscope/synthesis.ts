import { WebSocket } from 'ws';
import { type Command, readCommand, unitsOf } from './commands.js';
import type { Ledger } from './ledger.js';
import { type SpeakStep, type TaskRecord, voices } from './plan.js';
import { toneOf } from './tone.js';

export interface SynthesisOptions {
  /** How long a task may be without a frame of the client before finish-task. */
  readonly idleMs: number;
  /** How long a socket may be without a task. */
  readonly restMs: number;
  /** How long a client may take to close the socket after task-failed. */
  readonly failedMs: number;
  /** Bytes of a binary frame, whose end is in the middle of a sample when odd. */
  readonly chunkBytes: number;
  /** Tasks at a time; more are throttled. */
  readonly maxTasks: number;
}

export interface SynthesisState {
  readonly options: SynthesisOptions;
  readonly ledger: Ledger;
  readonly taskIds: Set<string>;
  running: number;
  /** Tasks that were made to hang so far. */
  stuck: number;
}

interface Running {
  readonly record: TaskRecord;
  readonly format: string;
  readonly step: SpeakStep;
  started: boolean;
  finishing: boolean;
  stuck: boolean;
}

/** One socket of the speech synthesiser, and the tasks that run on it one after the other. */
export class SynthesisSocket {
  readonly #socket: WebSocket;
  readonly #number: number;
  readonly #state: SynthesisState;
  readonly #ledger: Ledger;
  #task: Running | undefined;
  /** After a failure or a close. */
  #over = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(socket: WebSocket, number: number, state: SynthesisState) {
    this.#socket = socket;
    this.#number = number;
    this.#state = state;
    this.#ledger = state.ledger;
    socket.on('error', () => undefined);
    socket.on('message', (data: Buffer, isBinary) => this.#onMessage(data, isBinary));
    socket.on('close', () => {
      this.#ledger.forget(this.#timer);
      this.#end('closed');
    });
    this.#rest();
  }

  get isResting(): boolean {
    return this.#task === undefined;
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    // what it had sent before it could know
    if (this.#over) return;
    if (isBinary) return this.#refuse('a binary frame: speech synthesis takes text');
    const command = readCommand(data.toString('utf8'));
    if (typeof command === 'string') return this.#refuse(command);
    if (command.action === 'run-task') this.#run(command);
    else if (command.action === 'continue-task') this.#continue(command);
    else this.#finish(command);
  }

  #run({ taskId, payload }: Extract<Command, { action: 'run-task' }>): void {
    if (this.#task !== undefined) return this.#refuse('run-task while another task runs');
    if (this.#state.taskIds.has(taskId)) return this.#refuse('run-task with a task_id used before');
    this.#state.taskIds.add(taskId);
    const { model, parameters } = payload;
    const record: TaskRecord = {
      kind: 'task',
      taskId,
      model,
      voice: parameters.voice,
      rate: parameters.rate ?? 1,
      pitch: parameters.pitch ?? 1,
      sampleRate: (parameters.sample_rate as number | undefined) ?? 22_050,
      socket: this.#number,
      text: '',
      frames: 0,
      outcome: 'running',
    };
    this.#ledger.requests.push(record);
    const step = this.#ledger.plan.speak.shift() ?? {};
    const format = String(parameters.format ?? 'mp3');
    this.#task = { record, format, step, started: false, finishing: false, stuck: false };
    this.#state.running++;
    this.#ledger.forget(this.#timer);
    if (voices[model] === undefined) return this.#fail('ModelNotFound', 'Model not exist.');
    if (format !== 'pcm') return this.#fail('InvalidParameter', 'the fake speaks pcm only');
    if (this.#state.running > this.#state.options.maxTasks) {
      const text = 'Requests rate limit exceeded, please try again later.';
      return this.#fail('Throttling.RateQuota', text);
    }
    if (this.#misfortune('start')) return;
    // never at once, so that a client that does not wait is caught
    this.#ledger.later(() => this.#start(taskId), step.startAfterMs ?? 2);
  }

  #start(taskId: string): void {
    if (this.#task?.record.taskId !== taskId) return;
    this.#task.started = true;
    this.#event('task-started', {});
    this.#awaitClient();
  }

  #continue({ taskId, payload }: Extract<Command, { action: 'continue-task' }>): void {
    const task = this.#task;
    if (task?.record.taskId !== taskId) return this.#refuse('continue-task of an unknown task');
    if (!task.started) return this.#refuse('continue-task before task-started');
    if (task.finishing) return this.#refuse('continue-task after finish-task');
    this.#awaitClient();
    const { input } = payload;
    if (!('text' in input)) return;
    if (unitsOf(input.text) > 20_000) return this.#refuse('a text of more than 20000 units');
    task.record.text += input.text;
    task.record.frames++;
    if (unitsOf(task.record.text) > 200_000) return this.#refuse('more than 200000 units');
    const fits = voices[task.record.model]?.includes(task.record.voice) === true;
    if (!fits) return this.#fail('InternalError', '[tts:]Engine return error code: 418');
    if (task.record.frames === 1) this.#misfortune('text');
  }

  #finish({ taskId }: Extract<Command, { action: 'finish-task' }>): void {
    const task = this.#task;
    if (task?.record.taskId !== taskId) return this.#refuse('finish-task of an unknown task');
    if (!task.started) return this.#refuse('finish-task before task-started');
    if (task.finishing) return this.#refuse('finish-task twice');
    task.finishing = true;
    this.#ledger.forget(this.#timer);
    if (task.stuck) return;
    this.#speak(task);
  }

  #speak(task: Running): void {
    const { record, step } = task;
    const { text, rate, pitch, sampleRate } = record;
    const characters = unitsOf(text);
    const pcm = step.silent === true ? Buffer.alloc(0) : toneOf(text, rate, pitch, sampleRate);
    const sentences = text.match(/[^.!?。!?]*[.!?。!?]+\s*|[^.!?。!?]+$/gu) ?? [];
    const chunks = Math.ceil(pcm.length / this.#state.options.chunkBytes);
    let sent = 0;
    for (const [index, sentence] of sentences.entries()) {
      const until = index === sentences.length - 1 ? chunks : Math.min(chunks, sent + 1);
      this.#result(task, 'sentence-begin', index, { original_text: sentence });
      for (; sent < until; sent++) {
        if (sent === Math.floor(chunks / 2) && this.#misfortune('sound')) return;
        this.#result(task, 'sentence-synthesis', index);
        const at = sent * this.#state.options.chunkBytes;
        this.#send(pcm.subarray(at, at + this.#state.options.chunkBytes));
      }
      this.#result(task, 'sentence-end', index, {}, { characters });
    }
    if (this.#task !== task || this.#misfortune('end')) return;
    const usage = { characters };
    if (step.old !== undefined) {
      const event = step.old === 'finished' ? 'task-finished' : 'result-generated';
      this.#event(event, { output: null, usage });
      this.#end('finished');
      this.#socket.close(1000);
      return;
    }
    this.#event('task-finished', { output: { sentence: { words: [] } }, usage });
    this.#end('finished');
    this.#rest();
  }

  /** Acts out the step of the task if this is its moment; true when the task is over or stuck. */
  #misfortune(moment: Required<SpeakStep>['at']): boolean {
    const task = this.#task;
    if (task === undefined || (task.step.at ?? 'sound') !== moment) return task === undefined;
    const { fail, close, hang, send = [] } = task.step;
    for (const frame of send) {
      if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(frame);
    }
    if (fail !== undefined) this.#fail(fail.code, fail.message);
    if (close === 'cut') this.#socket.terminate();
    else if (close !== undefined) this.#socket.close(close);
    if (close !== undefined) {
      this.#over = true;
      this.#end('closed');
    }
    if (hang === true) {
      task.stuck = true;
      this.#state.stuck++;
    }
    return fail !== undefined || close !== undefined || hang === true;
  }

  #result(
    task: Running,
    type: string,
    index: number,
    more: Record<string, unknown> = {},
    usage?: unknown,
  ): void {
    if (task.step.old !== undefined || this.#task !== task) return;
    const output = { type, sentence: { index, words: [] }, ...more };
    this.#event('result-generated', { output, ...(usage === undefined ? {} : { usage }) });
  }

  #event(event: string, payload: unknown, more: Record<string, unknown> = {}): void {
    const header = { task_id: this.#task?.record.taskId, event, attributes: {}, ...more };
    this.#send(JSON.stringify({ header, payload }));
  }

  #send(data: string | Buffer): void {
    if (this.#task !== undefined && this.#socket.readyState === WebSocket.OPEN) {
      this.#socket.send(data);
    }
  }

  /** The client broke the protocol. */
  #refuse(text: string): void {
    this.#ledger.violation(text);
    this.#fail('InvalidParameter', text);
  }

  #fail(code: string, message: string): void {
    const header = {
      task_id: this.#task?.record.taskId ?? 'unknown',
      event: 'task-failed',
      error_code: code,
      error_message: message,
      attributes: {},
    };
    this.#socket.send(JSON.stringify({ header, payload: {} }));
    this.#over = true;
    this.#end('failed');
    this.#ledger.forget(this.#timer);
    this.#timer = this.#ledger.later(() => {
      this.#ledger.violation('the client did not close the socket after task-failed');
    }, this.#state.options.failedMs);
  }

  #end(outcome: TaskRecord['outcome']): void {
    if (this.#task === undefined) return;
    this.#task.record.outcome = outcome;
    this.#task = undefined;
    this.#state.running--;
  }

  #awaitClient(): void {
    this.#ledger.forget(this.#timer);
    const { idleMs } = this.#state.options;
    this.#timer = this.#ledger.later(() => {
      this.#refuse(`request timeout after ${idleMs / 1000} seconds`);
      this.#socket.close(1007);
    }, idleMs);
  }

  #rest(): void {
    this.#ledger.forget(this.#timer);
    this.#timer = this.#ledger.later(() => this.#socket.close(1000), this.#state.options.restMs);
  }
}
