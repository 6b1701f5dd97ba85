import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { CodedError, codeOf } from '../errors.js';
import type { Command } from './commands.js';
import type { ChatEntry, RoleCard, SessionEvent } from './events.js';
import type { OwnedFiles } from './files.js';
import type { SessionSetup, TurnHost, TurnInput } from './host.js';
import { Outlet, type Sink } from './outlet.js';
import { PiecewiseRecording } from './recording.js';
import type { SessionServices } from './services.js';
import { type SessionState, step } from './state.js';
import { Turn } from './turn.js';

export type { Sink } from './outlet.js';

const ringSize = 512;
const maxHistory = 500;
/** How long the end of a session waits for what its turns still do. */
const settleMs = 2000;
/** How long the goodbye waits for the files to be deleted. */
const goodbyeMs = 1000;

/**
 * One client's conversation with a portrait, whatever its dialect. Turns run one at a time, in
 * order; a turn that is cut says nothing more from that moment on.
 */
export class Session implements TurnHost {
  readonly id: string;
  readonly resumeToken: string;
  readonly setup: SessionSetup;
  readonly files: OwnedFiles;
  readonly services: SessionServices;
  readonly #history: ChatEntry[];
  readonly #outlet = new Outlet(ringSize);
  readonly #ending = new AbortController();
  readonly #waiting: Turn[] = [];
  readonly #idle = new Set<() => void>();
  /** Turns that are over for the client, but still put things away. */
  readonly #settling = new Set<Promise<void>>();
  #state: SessionState = 'opening';
  #current: Turn | undefined;
  #recording: PiecewiseRecording | undefined;
  #recordingTurn: Turn | undefined;
  #turns = 0;
  #portrait: Promise<string> | undefined;
  #stored: Promise<void> = Promise.resolve();

  constructor(services: SessionServices, files: OwnedFiles, setup: SessionSetup, id: string) {
    this.services = services;
    this.files = files;
    this.setup = setup;
    this.id = id;
    this.resumeToken = randomBytes(24).toString('base64url');
    this.#history = [...setup.history];
    setMaxListeners(0, this.signal);
  }

  get state(): SessionState {
    return this.#state;
  }

  /** Aborted when the session ends. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  get isOver(): boolean {
    return this.#state === 'ending' || this.#state === 'ended';
  }

  /** Whether a turn runs or waits. */
  get isBusy(): boolean {
    return this.#current !== undefined || this.#waiting.length > 0;
  }

  get isAttached(): boolean {
    return this.#outlet.sink !== undefined;
  }

  get history(): readonly ChatEntry[] {
    return this.#history;
  }

  get seq(): number {
    return this.#outlet.seq;
  }

  /** Tells the first client about the session and lets turns begin. */
  open(sink: Sink): void {
    this.#outlet.open(sink);
    this.#move('ready');
    this.emit(this.#connected(false));
  }

  /**
   * Gives the session to another connection: `connected`, then what it has not heard after
   * `lastSeq` (by default what no connection was given), then what happens from now on.
   */
  attach(sink: Sink, lastSeq?: number): void {
    if (this.#outlet.attach(sink, this.#connected(true), lastSeq)) return;
    const task = this.#current?.lastTaskEvent;
    if (task !== undefined) this.emit(task);
  }

  /** False when `sink` had already lost the session to another connection. */
  detach(sink: Sink): boolean {
    if (!this.#outlet.detach(sink)) return false;
    this.#recording?.abandon('the connection was lost before its last piece');
    return true;
  }

  /** Does what the client asks, or queues it; throws a CodedError when it cannot be done. */
  handle(command: Command): void {
    if (this.isOver) throw new CodedError('SESSION_NOT_CONNECTED', 'this session has ended');
    switch (command.type) {
      case 'upload':
        this.#interruptAndAdd({ type: 'upload', fileId: command.fileId });
        return;
      case 'recording':
        this.#add({
          type: 'recording',
          recording: Promise.resolve({ data: command.data, sampleRate: undefined }),
          claimedSeconds: command.seconds,
        });
        return;
      case 'chunk':
        return this.#chunk(command.data, command.isLast, command.format);
      case 'text':
        return this.say(command.text);
      case 'interrupt':
        return this.#interrupt();
      default:
        throw new CodedError('FRAME_INVALID', `"${command.type}" is not for this kind of session`);
    }
  }

  /** Queues a turn that answers `text`. */
  say(
    text: string,
    options: Omit<Extract<TurnInput, { type: 'text' }>, 'type' | 'text'> = {},
  ): void {
    this.#add({ type: 'text', text, ...options });
  }

  /** Queues words of the portrait's own, `pauseMs` apart, which answer nothing. */
  announce(parts: readonly string[], pauseMs = 0): void {
    this.#add({ type: 'announcement', parts, pauseMs });
  }

  /** Sends an event and keeps it for clients that come back. */
  emit(event: SessionEvent): void {
    if (this.#state !== 'ended') this.#outlet.emit(event);
  }

  /** Keeps an event that the caller sends itself; its number. */
  number(event: SessionEvent): number {
    return this.#outlet.number(event);
  }

  /** Whether the session's events go to `sink`. */
  holds(sink: Sink): boolean {
    return this.#outlet.sink === sink;
  }

  /** Resolves when no turn runs or waits. */
  drained(): Promise<void> {
    if (!this.isBusy) return Promise.resolve();
    return new Promise((resolve) => this.#idle.add(resolve));
  }

  /**
   * Cancels everything, deletes every file (retried later when that fails) and says goodbye.
   * `last` is sent when the files are gone, or after a second.
   */
  async end(last?: SessionEvent): Promise<void> {
    if (this.isOver) return this.#ended;
    this.#move('ending');
    this.#ended = this.#finish(last);
    return this.#ended;
  }
  #ended: Promise<void> = Promise.resolve();

  async #finish(last: SessionEvent | undefined): Promise<void> {
    const turns = [...(this.#current === undefined ? [] : [this.#current]), ...this.#waiting];
    this.#dropRecording();
    this.#current = undefined;
    this.#waiting.length = 0;
    for (const turn of turns) turn.cut();
    this.#ending.abort(new CodedError('SESSION_NOT_CONNECTED', 'the session ended'));
    this.#wakeIdle();
    const cleared = (async () => {
      await Promise.race([Promise.allSettled(this.#settling), pause(settleMs)]);
      await this.files.clear();
    })();
    if (last !== undefined) {
      await Promise.race([cleared, pause(goodbyeMs)]);
      this.emit(last);
    }
    this.#move('ended');
    this.#outlet.close();
    await cleared;
  }

  // what turns need

  progress(turn: Turn, state: SessionState): void {
    if (this.#current === turn) this.#move(state);
  }

  remember(entry: ChatEntry): void {
    this.#history.push(entry);
    if (this.#history.length > maxHistory) this.#history.shift();
  }

  amend(entry: ChatEntry, more: Partial<ChatEntry>): ChatEntry {
    const fuller = { ...entry, ...more };
    const at = this.#history.lastIndexOf(entry);
    if (at >= 0) this.#history[at] = fuller;
    return fuller;
  }

  store(work: () => Promise<void>): Promise<void> {
    this.#stored = this.#stored.then(work).catch((error: unknown) => {
      this.services.log.error({ err: error, session: this.id }, 'a turn could not be stored');
    });
    return this.#stored;
  }

  portrait(): Promise<string> {
    this.#portrait ??= this.#makePortrait().catch((error: unknown) => {
      this.#portrait = undefined;
      throw error;
    });
    return this.#portrait;
  }

  async #makePortrait(): Promise<string> {
    if (this.setup.imageId !== undefined) return this.setup.imageId;
    const portrait = await this.services.roles.portrait(this.setup.role);
    if (portrait === undefined) throw portraitMissing();
    return (await this.files.save(portrait.data, `portrait.${portrait.extension}`)).id;
  }

  #connected(resumed: boolean): SessionEvent {
    return {
      type: 'connected',
      sessionId: this.id,
      mode: this.setup.mode,
      role: this.#roleCard(),
      history: [...this.#history],
      conversationId: this.setup.conversationId,
      resumeToken: this.resumeToken,
      resumed,
    };
  }

  #roleCard(): RoleCard {
    const { role } = this.setup;
    return {
      id: role.id,
      name: role.name,
      personality: role.personality,
      imageUrl: this.services.roles.imageUrl(role),
    };
  }

  #move(to: SessionState): void {
    this.#state = step(this.#state, to);
  }

  #chunk(data: Uint8Array, isLast: boolean, format: string | undefined): void {
    if (this.#recording === undefined) {
      const { maxBytes } = this.services.config.tempFiles;
      const recording = new PiecewiseRecording(format, {
        maxBytes: maxBytes.audio,
        maxSeconds: this.services.config.tasks.maxAudioSeconds,
      });
      const turn = this.#interruptAndAdd({ type: 'recording', recording: recording.complete });
      this.#recording = recording;
      this.#recordingTurn = turn;
    }
    // a recording that failed swallows the rest of its pieces; its turn tells why
    this.#recording.add(data);
    if (!isLast) return;
    this.#recording.finish();
    this.#recording = undefined;
    this.#recordingTurn = undefined;
  }

  /** New speech cuts what is being said. */
  #interruptAndAdd(input: TurnInput): Turn {
    this.#checkRoom();
    this.#cut();
    return this.#add(input);
  }

  #checkRoom(): void {
    const most = this.services.config.sessions.maxTurnsWaiting;
    if (this.#waiting.length >= most) {
      throw new CodedError(
        'TOO_MANY_TURNS',
        `${most} turns wait already; wait for their replies, or send interrupt`,
      );
    }
  }

  #add(input: TurnInput): Turn {
    if (this.isOver) throw new CodedError('SESSION_NOT_CONNECTED', 'this session has ended');
    if (this.#current !== undefined) this.#checkRoom();
    const turn = new Turn(this, ++this.#turns, input);
    this.#waiting.push(turn);
    this.#next();
    return turn;
  }

  #next(): void {
    if (this.#current !== undefined || this.isOver) return;
    const turn = this.#waiting.shift();
    if (turn === undefined) return this.#wakeIdle();
    this.#current = turn;
    const settled = turn.run().then(
      () => this.#release(turn),
      (error: unknown) => {
        const { log } = this.services;
        log.error({ err: error, session: this.id, code: codeOf(error) }, 'a turn failed');
        this.#release(turn);
      },
    );
    this.#keep(settled.then(() => turn.settle()));
  }

  #keep(work: Promise<void>): void {
    const settled = work
      .catch((error: unknown) => {
        this.services.log.error({ err: error, session: this.id }, 'a turn left something behind');
      })
      .finally(() => this.#settling.delete(settled));
    this.#settling.add(settled);
  }

  #release(turn: Turn): void {
    if (this.#current !== turn) return;
    this.#current = undefined;
    this.#move('ready');
    this.#next();
  }

  /** Ends the reply being made and those to come; what the user is saying is none of them. */
  #interrupt(): void {
    const kept = this.#waiting.filter((turn) => turn === this.#recordingTurn);
    const dropped = this.#waiting.filter((turn) => turn !== this.#recordingTurn);
    this.#waiting.splice(0, this.#waiting.length, ...kept);
    for (const turn of dropped) {
      turn.cut();
      this.#keep(turn.settle());
    }
    if (this.#state !== 'recording') this.#cut();
    for (const { number } of dropped) this.emit({ type: 'interrupted', turn: number });
  }

  #cut(): void {
    const turn = this.#current;
    if (turn === undefined) return;
    if (turn === this.#recordingTurn) this.#dropRecording();
    turn.cut();
    this.emit({ type: 'interrupted', turn: turn.number });
    this.#release(turn);
  }

  #dropRecording(): void {
    this.#recording?.abandon('something else was said');
    this.#recording = undefined;
    this.#recordingTurn = undefined;
  }

  #wakeIdle(): void {
    for (const wake of this.#idle) wake();
    this.#idle.clear();
  }
}

const pause = (ms: number) => sleep(ms, undefined, { ref: false });

export function portraitMissing(): CodedError {
  return new CodedError(
    'PORTRAIT_MISSING',
    'video needs a picture: choose a role with a portrait, or give image_id, an uploaded picture',
  );
}
