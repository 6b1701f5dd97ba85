import { CodedError, codeOf } from '../../errors.js';
import type { Command } from '../commands.js';
import type { Session } from '../core/session.js';
import { Order } from './order.js';
import { Transcriber } from './transcriber.js';
import { VoiceSessions } from './voice.js';

/** What a conversation needs beside its session; it lives as long as that, over reconnects. */
export class Conversation {
  readonly id: string;
  readonly session: Session;
  readonly order: Order;
  readonly transcriber: Transcriber;
  readonly #voices: VoiceSessions;
  readonly #end: () => Promise<void>;
  #isEnding = false;

  /** `end` ends the session and tells the client. */
  constructor(id: string, session: Session, missingMs: number, end: () => Promise<void>) {
    this.id = id;
    this.session = session;
    this.order = new Order(session.services.config.sessions.maxTurnsWaiting, (error) =>
      this.fail(error),
    );
    this.transcriber = new Transcriber(session);
    this.#voices = new VoiceSessions(this, missingMs);
    this.#end = end;
  }

  /** Does what the client asks, or begins it; throws a CodedError when it cannot be done. */
  async handle(command: Command): Promise<void> {
    if (this.#isEnding || this.session.isOver) {
      throw new CodedError('SESSION_NOT_CONNECTED', 'this conversation has ended: connect again');
    }
    switch (command.type) {
      case 'text':
        return this.#text(command.text);
      case 'recording':
        this.order.checkRoom();
        this.order.add(async () => this.session.handle(command));
        return;
      case 'transcribe':
        await this.session.pace();
        return this.transcriber.start(command.data, async (result) => {
          if (result instanceof Error) this.fail(result);
          else this.session.emit({ type: 'transcribed', text: result.text });
        });
      case 'recording-started':
        return this.#voices.started(command.voiceSessionId);
      case 'segment':
        return this.#voices.segment(command);
      case 'end-conversation':
        this.#isEnding = true;
        void this.#finish().catch((error: unknown) => this.fail(error));
        return;
      default:
        throw new CodedError('FRAME_INVALID', `"${command.type}" is not for conversations`);
    }
  }

  /** Tells the client; what is not ours to tell goes into the log. */
  fail(error: unknown): void {
    const { log } = this.session.services;
    if (!(error instanceof CodedError)) {
      log.error({ err: error, session: this.session.id }, 'a message could not be handled');
    }
    const known = error instanceof CodedError ? error : undefined;
    const message = known?.message ?? 'the server failed; its log says why';
    const retryAfter = known?.retryAfterSeconds;
    this.session.emit({ type: 'error', code: codeOf(error), message, retryAfter });
  }

  async #text(text: string): Promise<void> {
    this.order.checkRoom();
    const { user } = this.session.setup;
    const { quota, conversations } = this.session.services;
    const reservation = user && (await quota.reserve(user, { messages: 1 }));
    this.order.add(async () => {
      try {
        const segmentId = await this.#stored(() => conversations.addSegment(this.id, { text }));
        this.session.say(text, { reservation, segmentIds: [segmentId] });
      } catch (error) {
        await reservation?.release();
        throw error;
      }
    });
  }

  /** Work on the database in the order of turns, whose failure is the caller's. */
  #stored<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      void this.session.store(() => work().then(resolve, reject));
    });
  }

  /** Everything that was said is answered first. What cannot be put down may be tried again. */
  async #finish(): Promise<void> {
    const { conversations } = this.session.services;
    try {
      await this.#voices.finishAll();
      await this.order.done();
      await this.session.drained();
      await this.#stored(async () => {
        await conversations.markProcessed(this.id);
        await conversations.end(this.id);
      });
    } catch (error) {
      this.#isEnding = false;
      throw error;
    }
    await this.#end();
  }
}
