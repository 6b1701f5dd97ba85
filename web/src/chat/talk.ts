import { computed, signal } from '@preact/signals';
import {
  ApiError,
  type EchoMimicSession,
  type SessionEvents,
  type SessionState,
} from '../../../src/client/index.js';
import { type Failure, failureOf } from '../failure.js';
import { info, server } from '../server.js';
import { oneOf, stored } from '../stored.js';
import {
  type Entry,
  type Said,
  caughtUp,
  changeReply,
  changeSaid,
  isOpen,
  pastEntries,
  withTurn,
} from './entries.js';
import type { Memory, Setup } from './setup.js';
import { Voice } from './voice.js';

/** What the line does; `why` while it is away. */
export interface LineState {
  readonly state: SessionState;
  readonly why?: Failure | undefined;
}

/** Whether the voice of a reply is heard while its video is being made. */
export const speaksFirst = stored('speaks-first', true, oneOf(true, false));

type Listened = Exclude<keyof SessionEvents, 'frame'>;

/** A conversation as the page shows it, over as many connections and reloads as it takes. */
export class Talk {
  readonly setup: Setup;
  readonly entries = signal<readonly Entry[]>([]);
  readonly line = signal<LineState>({ state: 'idle' });
  /** What went wrong and belongs to nothing that was said. */
  readonly failure = signal<Failure | undefined>();
  readonly portrait;
  /** The turn whose video is shown. */
  readonly shown = signal<string | undefined>();
  readonly voice = new Voice();
  readonly isBusy = computed(() => this.entries.value.some(isOpen));
  readonly #session: EchoMimicSession;
  readonly #ends: (() => void)[];
  #nextId: number;
  #sessionId = '';

  constructor(setup: Setup, memory?: Memory) {
    this.setup = setup;
    this.portrait = signal(setup.imageUrl);
    this.entries.value = memory?.entries ?? [];
    this.#nextId = Math.max(0, ...this.entries.value.map(({ id }) => id + 1));
    this.#sessionId = memory?.resume.sessionId ?? '';
    const { mode, roleId, imageId, conversationId } = setup;
    this.#session = server.session({
      ...{ mode, roleId, imageId, conversationId, resume: memory?.resume },
    });
    this.#ends = this.#listen();
  }

  /** For a page that comes back; undefined before the server knew this conversation. */
  get resume(): Memory['resume'] | undefined {
    return this.#session.mark;
  }

  /** Resolves when the server has taken the conversation; rejects with an ApiError. */
  async connect(): Promise<void> {
    await this.#session.connect();
  }

  sayText(text: string): void {
    const id = this.#say({ how: 'text', text, state: this.#onLine() });
    this.#try(id, () => this.#session.sendText(text));
  }

  /** Says a recording: it goes up first, so that no broken line loses it. */
  async sayFile(file: Blob): Promise<void> {
    const name = file instanceof File ? file.name : undefined;
    const id = this.#say({ how: 'speech', text: '', name, state: 'sending', sent: 0 });
    const { audio = Infinity, video = Infinity } = info.peek()?.max_bytes ?? {};
    try {
      // Sent all the same, it would only be cut off.
      if (file.size > Math.max(audio, video)) throw new ApiError('FILE_TOO_LARGE', '');
      const { file_id } = await server.upload(file, {
        onProgress: (sent, total) => this.#change(id, { sent: (100 * sent) / total }),
      });
      this.#change(id, { state: this.#onLine(), sent: undefined });
      this.voice.stop();
      this.#session.sendAudioFile(file_id);
    } catch (error) {
      this.#change(id, { state: 'failed', sent: undefined, failure: failureOf(error) });
    }
  }

  /** Says words again that did not arrive. */
  sayAgain(id: number, text: string): void {
    this.entries.value = this.entries.peek().filter((entry) => entry.id !== id);
    this.sayText(text);
  }

  /** Plays these again, in place of whatever plays. */
  hear(urls: readonly string[]): void {
    this.hush();
    for (const url of urls) this.voice.add(url);
  }

  show(turn: string): void {
    this.voice.stop();
    this.shown.value = turn;
  }

  hush(): void {
    this.voice.stop();
    this.shown.value = undefined;
  }

  /** Cuts what is being said and made. */
  interrupt(): void {
    this.hush();
    if (this.isBusy.peek()) this.#try(undefined, () => this.#session.interrupt());
  }

  /** Ends it; the server deletes its files. */
  end(): void {
    this.voice.stop();
    void this.#session.stop();
    for (const end of this.#ends) end();
  }

  /** Words wait here while the line is away. */
  #onLine(): 'sent' | 'sending' {
    return this.#session.state === 'open' ? 'sent' : 'sending';
  }

  #say(said: Pick<Said, 'how' | 'text' | 'name' | 'state' | 'sent'>): number {
    const id = this.#nextId++;
    this.failure.value = undefined;
    this.entries.value = [...this.entries.value, { kind: 'said', id, ...said }];
    return id;
  }

  #change(id: number, change: Parameters<typeof changeSaid>[2]): void {
    this.entries.value = changeSaid(this.entries.peek(), (said) => said.id === id, change);
  }

  #try(id: number | undefined, send: () => void): void {
    try {
      send();
    } catch (error) {
      if (id === undefined) this.failure.value = failureOf(error);
      else this.#change(id, { state: 'failed', failure: failureOf(error) });
    }
  }

  /** The name of a turn, with its entries made where there are none. */
  #turn(turnId: number): string {
    const turn = `${this.#sessionId}:${turnId}`;
    this.entries.value = withTurn(this.entries.peek(), turn, this.#nextId);
    this.#nextId++;
    return turn;
  }

  #reply(turnId: number, change: Parameters<typeof changeReply>[2]): void {
    const turn = this.#turn(turnId);
    this.entries.value = changeReply(this.entries.peek(), turn, change);
  }

  #listen(): (() => void)[] {
    const on = <Name extends Listened>(name: Name, then: (data: SessionEvents[Name]) => void) =>
      this.#session.on(name, then);
    return [
      on('state', ({ state, why }) => {
        this.line.value = { state, why: why && failureOf(why) };
        // The client lets go of what waited for the line.
        if (state === 'open') {
          const waits = ({ state, sent }: Said) => state === 'sending' && sent === undefined;
          this.entries.value = changeSaid(this.entries.peek(), waits, { state: 'sent' });
        }
      }),
      on('connection_ack', (ack) => this.#connected(ack)),
      on('lost', () => this.#closeOpen({ code: 'SESSION_UNKNOWN', message: '' })),
      on('closed', (error) => this.#closed(error)),
      on('asr_result', ({ turn_id, user_text: text, original_audio_url: audioUrl }) => {
        const turn = this.#turn(turn_id);
        this.entries.value = changeSaid(this.entries.peek(), (said) => said.turn === turn, {
          ...{ text, audioUrl },
        });
      }),
      on('tts_audio', ({ turn_id, ai_text: text, audio_url: audioUrl, is_last }) => {
        this.#reply(turn_id, ({ sentences }) => ({
          sentences: [...sentences, { text, audioUrl }],
          isSpoken: is_last,
          ...(is_last && this.setup.mode === 'voice' ? { state: 'done' as const } : {}),
        }));
        this.shown.value = undefined;
        this.voice.add(audioUrl, this.setup.mode === 'voice' || speaksFirst.peek());
      }),
      on('task_submitted', ({ turn_id, task_id: taskId, position }) =>
        this.#reply(turn_id, () => ({
          render: { taskId, status: 'queued', percentage: 0, position },
        })),
      ),
      on('task_progress', ({ turn_id, task_id: taskId, status, percentage, position }) =>
        this.#reply(turn_id, ({ render }) => ({
          render: {
            ...{ taskId, status, percentage },
            ...(status === 'queued' ? { position: position ?? render?.position } : {}),
            from:
              status === 'queued' ? undefined : (render?.from ?? { at: Date.now(), percentage }),
          },
        })),
      ),
      on('task_result', ({ turn_id, video_url: videoUrl }) => {
        this.#reply(turn_id, () => ({ videoUrl, render: undefined, state: 'done' }));
        this.show(`${this.#sessionId}:${turn_id}`);
      }),
      on('reply_interrupted', ({ turn_id }) => {
        this.#reply(turn_id, () => ({ state: 'cut', render: undefined }));
        this.voice.stop();
      }),
      on('error', ({ turn_id, code, message, retry_after: retryAfter }) =>
        this.#failed(turn_id, { code, message, retryAfter }),
      ),
    ];
  }

  #connected(ack: SessionEvents['connection_ack']): void {
    this.#sessionId = ack.session_id;
    if (ack.resumed) this.entries.value = caughtUp(this.entries.peek(), ack.chat_history);
    else if (this.entries.peek().length === 0) {
      this.entries.value = pastEntries(ack.chat_history, ack.session_id);
      this.#nextId = ack.chat_history.length;
    }
  }

  /** A failure of a turn stands where its answer would; one of none with the words that caused it. */
  #failed(turnId: number | undefined, failure: Failure): void {
    if (turnId !== undefined) {
      this.#reply(turnId, () => ({ state: 'done', render: undefined, failure }));
      return;
    }
    const said = this.entries
      .peek()
      .findLast((entry) => entry.kind === 'said' && isOpen(entry) && entry.state === 'sent');
    if (said === undefined) this.failure.value = failure;
    else this.#change(said.id, { state: 'failed', failure });
  }

  #closed(error: ApiError | undefined): void {
    this.#closeOpen(error && failureOf(error));
    this.voice.stop();
  }

  /** Nothing more comes of what is open. */
  #closeOpen(failure: Failure | undefined): void {
    this.failure.value = failure;
    this.entries.value = this.entries.peek().map((entry) => {
      if (!isOpen(entry)) return entry;
      return entry.kind === 'reply'
        ? { ...entry, state: 'cut' as const, render: undefined }
        : { ...entry, state: 'failed' as const };
    });
  }
}

/** The conversation that is held; undefined while somebody is being chosen. */
export const talk = signal<Talk | undefined>();

/** One that is being begun. */
export const beginning = signal<Talk | undefined>();

/** Begins a conversation in place of the one that is held; rejects with why it cannot be. */
export async function begin(setup: Setup): Promise<void> {
  const next = new Talk(setup);
  beginning.value = next;
  try {
    await next.connect();
  } finally {
    beginning.value = undefined;
  }
  leave();
  talk.value = next;
}

export function leave(): void {
  talk.peek()?.end();
  talk.value = undefined;
}
