import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { CodedError, codeOf } from '../../errors.js';
import { ownerOf } from '../../limit/rates.js';
import type { Command } from '../commands.js';
import type { ChatEntry, SessionEvent } from '../events.js';
import type { OwnedFiles } from './files.js';
import type { SessionSetup, TurnHost, TurnInput } from './host.js';
import { greeting } from './greeting.js';
import { History } from './history.js';
import { Outlet, type Sink } from './outlet.js';
import { SessionPortrait } from './portrait.js';
import { PiecewiseRecording } from './recording.js';
import type { SessionServices } from '../services.js';
import type { Memento } from './snapshot.js';
import { type SessionState, step } from './state.js';
import { Turn } from '../turn/turn.js';

export type { Sink } from './outlet.js';

const ringSize = 512;
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
  /** Called when what another process would have to know changed. */
  onChange: (() => void) | undefined;
  readonly #history: History;
  readonly #portrait: SessionPortrait;
  readonly #outlet: Outlet;
  readonly #ending = new AbortController();
  readonly #waiting: Turn[] = [];
  readonly #idle = new Set<() => void>();
  /** Turns that are over for the client, but still put things away. */
  readonly #settling = new Set<Promise<void>>();
  #state: SessionState = 'opening';
  #current: Turn | undefined;
  #recording: PiecewiseRecording | undefined;
  #recordingTurn: Turn | undefined;
  #turns: number;
  #stored: Promise<void> = Promise.resolve();

  /** `past`: where a process that is gone left this session. */
  constructor(
    services: SessionServices,
    files: OwnedFiles,
    setup: SessionSetup,
    id: string,
    past?: Pick<Memento, 'seq' | 'turns'>,
  ) {
    this.services = services;
    this.files = files;
    files.owner = ownerOf(setup.user, setup.address);
    this.setup = setup;
    this.id = id;
    this.resumeToken = randomBytes(24).toString('base64url');
    this.#history = new History(setup.history);
    this.#portrait = new SessionPortrait(services.roles, files, setup.role, setup.imageId);
    this.#outlet = new Outlet(ringSize, past?.seq);
    this.#turns = past?.turns ?? 0;
    setMaxListeners(0, this.signal);
  }

  /** Aborted when the session ends. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  get isOver(): boolean {
    return this.#state === 'ending' || this.#state === 'ended';
  }

  get isAttached(): boolean {
    return this.#outlet.sink !== undefined;
  }

  /** Whether a turn runs or waits. */
  get isBusy(): boolean {
    return this.#current !== undefined || this.#waiting.length > 0;
  }

  get history(): readonly ChatEntry[] {
    return this.#history.entries;
  }

  /** Tells the first client about the session and lets turns begin. */
  open(sink: Sink): void {
    this.#outlet.open(sink);
    this.#move('ready');
    this.emit(greeting(this, false));
  }

  /** Goes on where a process that is gone stopped. */
  reopen(sink: Sink, running: Memento['running']): void {
    this.#move('ready');
    this.#outlet.attach(sink, greeting(this, true));
    if (running?.taskId !== undefined) {
      this.#waiting.push(new Turn(this, running.turn, { type: 'task', taskId: running.taskId }));
      this.#next();
    } else if (running !== undefined) {
      this.emit({ type: 'interrupted', turn: running.turn });
    }
  }

  /** What `reopen` needs. */
  memento(): Memento {
    const turn = this.#current;
    return {
      imageId: this.#portrait.knownId,
      history: this.#history.entries,
      seq: this.#outlet.seq,
      turns: this.#turns,
      running: turn && { turn: turn.number, taskId: turn.taskId },
    };
  }

  /**
   * Gives the session to another connection: `connected`, then what it has not heard after
   * `lastSeq` (by default what no connection was given), then what happens from now on.
   */
  attach(sink: Sink, lastSeq?: number): void {
    if (this.#outlet.attach(sink, greeting(this, true), lastSeq)) return;
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
    if (this.#state === 'ended') return;
    this.#outlet.emit(event);
    if (event.type === 'task-submitted') this.onChange?.();
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

  /** Sends the client away, whose login has ended; the session is to be ended then. */
  revoke(): void {
    this.#outlet.close('revoked');
  }

  // what turns need

  progress(turn: Turn, state: SessionState): void {
    if (this.#current === turn) this.#move(state);
  }

  remember(entry: ChatEntry): void {
    this.#history.add(entry);
  }

  amend(entry: ChatEntry, more: Partial<ChatEntry>): ChatEntry {
    return this.#history.amend(entry, more);
  }

  store(work: () => Promise<void>): Promise<void> {
    this.#stored = this.#stored.then(work).catch((error: unknown) => {
      this.services.log.error({ err: error, session: this.id }, 'a turn could not be stored');
    });
    return this.#stored;
  }

  portrait(): Promise<string> {
    return this.#portrait.id();
  }

  async pace(): Promise<void> {
    const { user, address } = this.setup;
    await this.services.rates.turn(ownerOf(user, address));
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
    this.onChange?.();
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
    this.onChange?.();
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
    if (this.#current !== this.#recordingTurn) this.#cut();
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
