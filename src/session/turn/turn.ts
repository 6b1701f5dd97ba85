import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Reservation } from '../../account/quota.js';
import type { QuotaKind } from '../../config.js';
import { partsOf } from '../../dialogue/parts.js';
import { CodedError, codeOf } from '../../errors.js';
import { joinSpeech } from '../../media/pcm.js';
import { meters } from '../../observe/meters.js';
import { withOnlyIds } from '../../observe/scope.js';
import { traced } from '../../observe/trace.js';
import { secondsOf } from '../../media/recording.js';
import { wavFile } from '../../media/wav.js';
import { characterOf } from '../../role/roles.js';
import type { Speech } from '../../speech/speech.js';
import { piecesUntil, unlessAborted } from '../../abort.js';
import { type Heard, hear } from './hearing.js';
import type { Charge, RunningTurn, TurnHost, TurnInput } from '../core/host.js';
import type { ChatEntry, SessionEvent } from '../events.js';
import { failure, nothingSaid, wordless } from './failures.js';
import { follow, render } from './rendering.js';
import { spoken } from './speaking.js';

const maxUtterances = 40;

/** From what the user said to the whole reply. Once cut, a turn emits nothing. */
export class Turn implements RunningTurn {
  readonly number: number;
  readonly session: TurnHost;
  readonly #input: TurnInput;
  readonly #id = randomUUID();
  readonly #abort = new AbortController();
  readonly #charges: Charge[] = [];
  /** Files of this turn that the client was not told of. */
  readonly #unfinished = new Set<string>();
  readonly #leftovers: Promise<unknown>[] = [];
  readonly #spoken: string[] = [];
  #userText: string | undefined;
  #segmentIds: readonly string[] = [];
  /** Speech of a written conversation, to be stored as a segment. */
  #segment: { readonly text: string; readonly seconds: number } | undefined;
  #reply: ChatEntry | undefined;
  #lastTaskEvent: SessionEvent | undefined;
  #begun = 0;
  #isOver = false;

  constructor(session: TurnHost, number: number, input: TurnInput) {
    this.session = session;
    this.number = number;
    this.#input = input;
    // a turn has as many as it has things under way
    setMaxListeners(0, this.signal);
    if (input.type === 'text' && input.reservation !== undefined) {
      this.#charge(input.reservation, { messages: 1 });
    }
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** The latest news of the running task, for a client that missed some. */
  get lastTaskEvent(): SessionEvent | undefined {
    return this.#isOver ? undefined : this.#lastTaskEvent;
  }

  /** The task that is queued or rendering. */
  get taskId(): string | undefined {
    const event = this.lastTaskEvent;
    return event !== undefined && 'taskId' in event ? event.taskId : undefined;
  }

  /** Resolves when the client has heard the end of it; never rejects for what went wrong in it. */
  async run(): Promise<void> {
    const { services, setup, id } = this.session;
    const ids = { session: id, turn: this.number };
    const attributes = { ...ids, mode: setup.mode, type: this.#input.type };
    let outcome = 'done';
    this.#begun = performance.now();
    const going = async () => {
      try {
        await this.#go();
      } catch (error) {
        outcome = this.signal.aborted ? 'cut' : 'failed';
        if (outcome === 'failed') services.log.warn({ err: error, ...ids }, 'a turn failed');
        throw error;
      }
    };
    try {
      await withOnlyIds(ids, () => traced('turn', { attributes, parent: null }, going));
    } catch (error) {
      if (!this.signal.aborted) {
        meters.errors.inc({ code: codeOf(error), via: 'turn' });
        this.emit(failure(error, this.number));
      }
    } finally {
      meters.turns.inc({ mode: setup.mode, outcome });
      this.#finish();
    }
  }

  /** Stops everything at once; what was announced stays. */
  cut(): void {
    this.#finish();
  }

  /** Afterwards nothing of the turn is left but what belongs to the session. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#leftovers);
    await this.session.files.remove([...this.#unfinished]);
  }

  emit(event: SessionEvent): void {
    if (this.#isOver) return;
    if (event.type === 'task-submitted' || event.type === 'task-progress') {
      this.#lastTaskEvent = event;
    }
    if (event.type === 'reply-audio' && event.index === 0) {
      const { mode } = this.session.setup;
      meters.firstAudio.observe({ mode }, (performance.now() - this.#begun) / 1000);
    }
    this.session.emit(event);
  }

  async reserve(amounts: Partial<Record<QuotaKind, number>>): Promise<Charge | undefined> {
    const { user } = this.session.setup;
    if (user === undefined) return undefined;
    const reservation = await this.session.services.quota.reserve(user, amounts);
    return this.#charge(reservation, amounts);
  }

  save(data: Uint8Array, name: string): { readonly id: string; readonly saved: Promise<unknown> } {
    const id = randomUUID();
    this.#unfinished.add(id);
    const saved = this.session.files.save(data, name, id);
    this.later(saved);
    return { id, saved };
  }

  announce(fileId: string): string {
    this.#unfinished.delete(fileId);
    return this.session.files.url(fileId);
  }

  later(work: Promise<unknown>): void {
    work.catch(() => undefined);
    this.#leftovers.push(work);
  }

  #charge(reservation: Reservation, actual: Charge['actual']): Charge {
    const charge = { reservation, actual, earned: false };
    if (this.#isOver) this.#settleCharge(reservation.release());
    else this.#charges.push(charge);
    return charge;
  }

  async #go(): Promise<void> {
    const input = this.#input;
    if (input.type === 'announcement') return this.#announce(input.parts, input.pauseMs);
    if (input.type === 'task') return this.#follow(input.taskId);
    await unlessAborted(this.session.pace(), this.signal);
    if (input.type === 'text') {
      const charge = this.#charges[0] ?? (await this.reserve({ messages: 1 }));
      this.#segmentIds = input.segmentIds ?? [];
      this.#say('user', input.text);
      await this.#answer(input.text, charge);
      return;
    }
    const heard = await hear(this, input);
    const isWritten = this.session.setup.mode === 'text';
    if (heard.text === undefined && isWritten) throw wordless();
    if (isWritten) this.#segment = { text: heard.text ?? '', seconds: heard.seconds };
    // while the recording is stored, the reply is begun
    const told = this.#tell(heard);
    told.catch(() => undefined);
    this.#say('user', heard.text ?? '', isWritten ? undefined : heard.fileId);
    try {
      if (heard.text === undefined) await this.#parrot(heard, told);
      else await this.#answer(heard.text, heard.charge, told);
    } catch (error) {
      await told;
      throw error;
    }
  }

  async #tell({ text = '', fileId, saved, seconds }: Heard): Promise<void> {
    await unlessAborted(saved, this.signal);
    const audioUrl = this.session.setup.mode === 'text' ? undefined : this.announce(fileId);
    const claimed = this.#input.type === 'recording' ? this.#input.claimedSeconds : undefined;
    this.emit({
      type: 'recognised',
      turn: this.number,
      text,
      audioUrl,
      seconds: claimed ?? seconds,
    });
  }

  async #announce(parts: readonly string[], pauseMs: number): Promise<void> {
    this.session.progress(this, 'replying');
    for (const [index, text] of parts.entries()) {
      if (index > 0 && pauseMs > 0) await sleep(pauseMs, undefined, { signal: this.signal });
      this.emit({ type: 'reply-text', turn: this.number, index, total: parts.length, text });
      this.#spoken.push(text);
    }
    this.#say('ai', parts.join(' '));
  }

  /** Replies; nothing of it is heard before `told`. */
  async #answer(text: string, charge: Charge | undefined, told?: Promise<void>): Promise<void> {
    this.session.progress(this, 'replying');
    const pieces = this.session.services.dialogue.reply(
      {
        text,
        history: this.#history(),
        character: characterOf(this.session.setup.role),
        userProfile: this.session.setup.userProfile,
      },
      { signal: this.signal },
    );
    if (this.session.setup.mode === 'text') await this.#write(pieces, charge, told);
    else await this.#speak(pieces, charge, told);
  }

  /** What was said before this turn. */
  #history(): { speaker: 'user' | 'ai'; text: string }[] {
    return this.session.history
      .slice(0, -1)
      .filter((entry) => entry.text !== '')
      .slice(-maxUtterances)
      .map(({ speaker, text }) => ({ speaker, text }));
  }

  async #write(
    pieces: AsyncIterable<string>,
    charge: Charge | undefined,
    told?: Promise<void>,
  ): Promise<void> {
    let text = '';
    for await (const piece of piecesUntil(pieces, this.signal)) text += piece;
    await told;
    const parts = partsOf(text);
    if (parts.length === 0) throw nothingSaid();
    if (charge !== undefined) charge.earned = true;
    for (const [index, part] of parts.entries()) {
      this.emit({ type: 'reply-text', turn: this.number, index, total: parts.length, text: part });
      this.#spoken.push(part);
    }
    this.#say('ai', parts.join(' '));
  }

  async #speak(
    pieces: AsyncIterable<string>,
    charge: Charge | undefined,
    told?: Promise<void>,
  ): Promise<void> {
    const { setup, services } = this.session;
    const options = {
      signal: this.signal,
      voice: setup.voice ?? setup.role.voice ?? undefined,
      rate: setup.rate,
      pitch: setup.pitch,
      language: setup.role.language ?? undefined,
    };
    const speeches: Speech[] = [];
    const files: string[] = [];
    const speak = (text: string) => services.synthesiser.speak(text, options);
    for await (const { text, speech, isLast } of spoken(pieces, speak, this.signal)) {
      const { id, saved } = this.save(wavFile(speech.pcm, speech.sampleRate), 'reply.wav');
      await unlessAborted(saved, this.signal);
      await told;
      if (charge !== undefined) charge.earned = true;
      const audioUrl = this.announce(id);
      const index = files.length;
      this.emit({ type: 'reply-audio', turn: this.number, index, isLast, text, audioUrl });
      this.#spoken.push(text);
      speeches.push(speech);
      files.push(id);
    }
    const [first] = files;
    if (first === undefined) throw nothingSaid();
    this.#say('ai', this.#words(), first);
    const whole = joinSpeech(speeches);
    if (setup.mode !== 'video') {
      if (files.length > 1) this.later(this.#keepWhole(whole));
      return;
    }
    const audioId = files.length === 1 ? first : await this.#keepWhole(whole);
    await this.#render(audioId, secondsOf(whole));
  }

  #words(): string {
    return this.#spoken.filter(Boolean).join(' ');
  }

  /** One file of all sentences, for the history and for tasks. */
  async #keepWhole(speech: Speech): Promise<string> {
    const { files } = this.session;
    const { id } = await files.save(wavFile(speech.pcm, speech.sampleRate), 'reply.wav');
    if (this.#reply !== undefined) {
      this.#reply = this.session.amend(this.#reply, { audioUrl: files.url(id) });
    }
    return id;
  }

  /** The reply is the user's own recording. */
  async #parrot(heard: Heard, told: Promise<void>): Promise<void> {
    await told;
    const { fileId, seconds, charge } = heard;
    this.session.progress(this, 'replying');
    if (charge !== undefined) charge.earned = true;
    const audioUrl = this.session.files.url(fileId);
    this.emit({
      type: 'reply-audio',
      turn: this.number,
      index: 0,
      isLast: true,
      text: '',
      audioUrl,
    });
    this.#say('ai', '', fileId);
    if (this.session.setup.mode === 'video') await this.#render(fileId, seconds);
  }

  async #render(audioId: string, seconds: number): Promise<void> {
    this.session.progress(this, 'rendering');
    const videoUrl = await traced('video', {}, () => render(this, audioId, seconds));
    if (this.#reply !== undefined) this.#reply = this.session.amend(this.#reply, { videoUrl });
  }

  /** The reply was spoken in a process that is gone; its video is still being made. */
  async #follow(taskId: string): Promise<void> {
    this.session.progress(this, 'rendering');
    const reply = this.session.history.at(-1);
    const videoUrl = await follow(this, taskId);
    if (reply?.speaker === 'ai') this.session.amend(reply, { videoUrl });
  }

  #say(speaker: 'user' | 'ai', text: string, fileId?: string): void {
    const audioUrl = fileId === undefined ? undefined : this.session.files.url(fileId);
    const entry: ChatEntry = { speaker, text, audioUrl };
    if (speaker === 'user') this.#userText = text;
    else this.#reply = entry;
    this.session.remember(entry);
  }

  /** Once: from here on the turn is silent. What it did is put down in the background. */
  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#abort.abort(new CodedError('TASK_CANCELLED', 'the turn was cut short'));
    if (this.#reply === undefined && this.#spoken.length > 0) this.#say('ai', this.#words());
    for (const { reservation, actual, earned } of this.#charges) {
      this.#settleCharge(earned ? reservation.settle(actual) : reservation.release());
    }
    this.later(this.session.store(() => this.#record()));
  }

  #settleCharge(work: Promise<void>): void {
    const { log } = this.session.services;
    this.later(
      work.catch((error: unknown) => {
        log.error({ err: error, session: this.session.id }, 'a quota was not settled');
      }),
    );
  }

  async #record(): Promise<void> {
    const { conversationId } = this.session.setup;
    if (conversationId === undefined) return;
    const { conversations } = this.session.services;
    const segmentIds = [...this.#segmentIds];
    if (this.#segment !== undefined) {
      segmentIds.push(await conversations.addSegment(conversationId, this.#segment));
    }
    // what was spoken is one message, what was written one per bubble
    const ai = this.session.setup.mode === 'text' ? this.#spoken : [this.#words()].filter(Boolean);
    if (ai.length === 0) return;
    const user = this.#userText;
    await conversations.recordTurn(conversationId, {
      turnId: this.#id,
      ...(user === undefined || user === '' ? {} : { user }),
      ai,
    });
    if (segmentIds.length > 0) await conversations.markProcessed(conversationId, segmentIds);
  }
}
