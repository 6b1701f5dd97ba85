import type { Reservation } from '../../account/quota.js';
import { listeningFeedback } from '../../dialogue/index.js';
import { CodedError } from '../../errors.js';
import type { Command } from '../commands.js';
import type { Session } from '../core/session.js';
import { Assembly, type Piece } from './assembly.js';
import type { Order } from './order.js';
import type { Transcriber } from './transcriber.js';

/** Utterances that are being recorded at the same time; the one that was silent longest gives way. */
const maxUnfinished = 8;
/** Finished ones that are remembered, so that late duplicates are known as such. */
const maxFinished = 200;
/** Of one utterance, relative to the longest text message. */
const maxTextFactor = 10;

/** The conversation they belong to. */
export interface VoiceHost {
  readonly id: string;
  readonly session: Session;
  readonly order: Order;
  readonly transcriber: Transcriber;
  /** Tells the client of a failure. */
  fail(error: unknown): void;
}

interface VoiceSession {
  readonly id: string;
  readonly assembly: Assembly;
  readonly segmentIds: string[];
  /** The message that will be answered. */
  reservation: Reservation | undefined;
  feedback: NodeJS.Timeout | undefined;
  isFeedbackDue: boolean;
  missing: NodeJS.Timeout | undefined;
  hasFailures: boolean;
  /** Resolves when there is something to answer, or nothing left to wait for. */
  readonly finished: Promise<void>;
  finish: () => void;
  isQueued: boolean;
  isFinished: boolean;
}

/** The utterances of one conversation that are recorded in segments. */
export class VoiceSessions {
  readonly #conversation: VoiceHost;
  readonly #session: Session;
  readonly #missingMs: number;
  /** Those touched last at the end. */
  readonly #unfinished = new Map<string, VoiceSession>();
  readonly #finished = new Map<string, Assembly>();

  /** `missingMs`: how long a segment that never comes is waited for when everything else is in. */
  constructor(conversation: VoiceHost, missingMs: number) {
    this.#conversation = conversation;
    this.#session = conversation.session;
    this.#missingMs = missingMs;
    this.#session.signal.addEventListener('abort', () => this.#dispose(), { once: true });
  }

  /** Someone begins to speak: after a while without a last segment a sign of attention is given. */
  started(voiceSessionId: string): void {
    if (this.#finished.has(voiceSessionId)) return;
    const voice = this.#touch(voiceSessionId);
    if (voice.isFeedbackDue || voice.assembly.hasLast) return;
    voice.isFeedbackDue = true;
    voice.feedback = setTimeout(() => {
      if (!this.#session.isAttached) return;
      const text = listeningFeedback(voice.id, this.#session.setup.role.language ?? undefined);
      this.#session.emit({ type: 'reply-text', turn: 0, index: 0, total: 1, text });
    }, this.#session.services.config.sessions.listeningFeedbackMs);
  }

  /** One segment. QUOTA_EXCEEDED, TOO_MANY_TURNS, FRAME_INVALID; a duplicate is passed over. */
  async segment(command: Extract<Command, { type: 'segment' }>): Promise<void> {
    const { voiceSessionId, index, data, isLast } = command;
    const known = this.#finished.get(voiceSessionId);
    if (known !== undefined) {
      known.offer(index, isLast);
      return;
    }
    const paidFor = this.#unfinished.get(voiceSessionId)?.reservation;
    if (isLast) this.#conversation.order.checkRoom();
    const reservation = paidFor ?? (await this.#reserve());
    if (this.#session.isOver) return reservation?.release();
    const voice = this.#touch(voiceSessionId);
    voice.reservation = reservation;
    const isNew = voice.assembly.offer(index, isLast);
    clearTimeout(voice.missing);
    if (voice.assembly.hasLast) this.#queue(voice);
    if (!isNew) return this.#look(voice);
    await this.#conversation.transcriber.start(data, (result) =>
      this.#settle(voice, index, result),
    );
  }

  /** Nothing more is recorded: what was said is answered as it is. */
  async finishAll(): Promise<void> {
    await this.#conversation.transcriber.idle();
    for (const voice of [...this.#unfinished.values()]) {
      this.#queue(voice);
      this.#finish(voice);
    }
  }

  async #settle(voice: VoiceSession, index: number, result: Piece | Error): Promise<void> {
    if (result instanceof Error) {
      voice.hasFailures = true;
      this.#conversation.fail(result);
    }
    const piece = result instanceof Error ? undefined : result;
    this.#store(voice, voice.assembly.settle(index, piece));
    this.#look(voice);
  }

  #look(voice: VoiceSession): void {
    const { assembly } = voice;
    if (voice.isFinished) return;
    if (assembly.isComplete) return this.#finish(voice);
    if (!assembly.hasLast || assembly.isTranscribing) return;
    clearTimeout(voice.missing);
    voice.missing = setTimeout(() => {
      const missing = assembly.missing.join(', ');
      const message = `of the utterance ${JSON.stringify(voice.id)} these segments did not come: ${missing}; the others are answered`;
      this.#conversation.fail(new CodedError('SEGMENT_MISSING', message));
      this.#finish(voice);
    }, this.#missingMs);
  }

  #store(voice: VoiceSession, pieces: readonly Piece[]): void {
    const { conversations } = this.#session.services;
    for (const { text, seconds } of pieces) {
      void this.#session.store(async () => {
        const segment = { text, seconds };
        voice.segmentIds.push(await conversations.addSegment(this.#conversation.id, segment));
      });
    }
  }

  /** Takes its place in line. */
  #queue(voice: VoiceSession): void {
    if (voice.isQueued) return;
    voice.isQueued = true;
    clearTimeout(voice.feedback);
    this.#conversation.order.add(async () => {
      await voice.finished;
      await this.#answer(voice);
    });
  }

  #finish(voice: VoiceSession): void {
    if (voice.isFinished) return;
    this.#store(voice, voice.assembly.close());
    this.#release(voice);
    this.#finished.set(voice.id, voice.assembly);
    const [oldest] = this.#finished.keys();
    if (this.#finished.size > maxFinished) this.#finished.delete(oldest as string);
  }

  async #answer(voice: VoiceSession): Promise<void> {
    const { text } = voice.assembly;
    const { maxText } = this.#session.services.config.sessions;
    // Its segments are stored in order, before it is answered.
    await this.#session.store(async () => {});
    const { reservation, segmentIds } = voice;
    try {
      if (this.#session.isOver) return await reservation?.release();
      if (text === '') {
        await reservation?.release();
        if (voice.hasFailures) return;
        throw new CodedError(
          'SPEECH_NOT_UNDERSTOOD',
          'no words were recognised in the recording; speak louder or nearer and try again',
        );
      }
      if (text.length > maxText * maxTextFactor) {
        throw new CodedError(
          'TEXT_TOO_LONG',
          `the utterance has ${text.length} characters; at most ${maxText * maxTextFactor} are answered`,
        );
      }
      this.#session.say(text, { reservation, segmentIds });
    } catch (error) {
      this.#conversation.fail(error);
      await reservation?.release();
    }
  }

  async #reserve(): Promise<Reservation | undefined> {
    const { user } = this.#session.setup;
    return user && (await this.#session.services.quota.reserve(user, { messages: 1 }));
  }

  #touch(id: string): VoiceSession {
    const voice = this.#unfinished.get(id) ?? newVoiceSession(id);
    this.#unfinished.delete(id);
    this.#unfinished.set(id, voice);
    if (this.#unfinished.size > maxUnfinished) {
      const [oldest] = this.#unfinished.values();
      this.#abandon(oldest as VoiceSession);
    }
    return voice;
  }

  /** What was said stays stored, waiting for the end of the conversation. */
  #abandon(voice: VoiceSession): void {
    if (!voice.isQueued) {
      voice.reservation?.release().catch((error: unknown) => this.#conversation.fail(error));
      const message = `${maxUnfinished} utterances are unfinished at the same time: ${JSON.stringify(voice.id)} is given up; finish each with is_last`;
      this.#conversation.fail(new CodedError('TOO_MANY_TURNS', message));
    }
    this.#finish(voice);
  }

  #release(voice: VoiceSession): void {
    voice.isFinished = true;
    clearTimeout(voice.feedback);
    clearTimeout(voice.missing);
    this.#unfinished.delete(voice.id);
    voice.finish();
  }

  #dispose(): void {
    for (const voice of [...this.#unfinished.values()]) {
      this.#release(voice);
      if (voice.isQueued) continue;
      voice.reservation?.release().catch((error: unknown) => {
        this.#session.services.log.error({ err: error }, 'a reservation was not released');
      });
    }
  }
}

function newVoiceSession(id: string): VoiceSession {
  let finish = () => {};
  const finished = new Promise<void>((resolve) => (finish = resolve));
  return {
    id,
    assembly: new Assembly(),
    segmentIds: [],
    reservation: undefined,
    feedback: undefined,
    isFeedbackDue: false,
    missing: undefined,
    hasFailures: false,
    finished,
    finish,
    isQueued: false,
    isFinished: false,
  };
}
