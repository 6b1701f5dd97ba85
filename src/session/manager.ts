import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import type { User } from '../store/schema.js';
import { CodedError } from '../errors.js';
import type { Role } from '../role/roles.js';
import type { ConnectionEnd } from './dialect.js';
import type { ChatEntry, Mode, SessionEvent } from './events.js';
import { Registry, type RegistryTimes } from './registry.js';
import type { SessionServices } from './services.js';
import type { Sink } from './outlet.js';
import { Session, portraitMissing } from './session.js';

export interface OpenRequest {
  readonly mode: Mode;
  readonly user: User | undefined;
  /** When the user's token ends (ms since 1970). */
  readonly tokenExpiresAt?: number | undefined;
  readonly address: string;
  /** A session of the same user with the same key is taken over instead of opening another. */
  readonly key?: string | undefined;
  readonly role: Role;
  readonly conversationId?: string | undefined;
  readonly history?: readonly ChatEntry[] | undefined;
  readonly imageId?: string | undefined;
  readonly voice?: string | undefined;
  readonly rate?: number | undefined;
  readonly pitch?: number | undefined;
  readonly userProfile?: string | undefined;
}

export interface ResumeRequest {
  readonly sessionId: string;
  readonly resumeToken: string;
  /** The number of the last event the client heard; by default the last one it was sent. */
  readonly lastSeq?: number | undefined;
  /** Whoever is logged in on the new connection must be the session's user. */
  readonly user?: User | undefined;
  readonly tokenExpiresAt?: number | undefined;
}

interface Held {
  readonly session: Session;
  readonly request: OpenRequest;
  tokenExpiresAt: number | undefined;
  grace: NodeJS.Timeout | undefined;
}

/** All sessions of this process. */
export class SessionManager {
  readonly services: SessionServices;
  readonly #registry: Registry;
  readonly #held = new Map<string, Held>();
  readonly #byKey = new Map<string, Held>();
  readonly #opening = new Map<string, Promise<unknown>>();
  readonly #ends = new Set<Promise<void>>();
  /** Sessions by user, those being opened included. */
  readonly #counts = new Map<string, number>();
  #isStopping = false;

  constructor(services: SessionServices, times?: RegistryTimes) {
    this.services = services;
    this.#registry = new Registry(services, times);
  }

  get size(): number {
    return this.#held.size;
  }

  /** Clears up after processes that ended, now and from time to time. */
  start(): void {
    this.#registry.start();
  }

  /** Ends every session. What cannot be deleted is left to the next process. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const { session } of this.#held.values()) void this.end(session);
    await Promise.allSettled(this.#ends);
    await this.#registry.stop();
  }

  find(sessionId: string): Session | undefined {
    return this.#held.get(sessionId)?.session;
  }

  /** When the token that the session was opened or resumed with ends (ms since 1970). */
  tokenExpiresAt(session: Session): number | undefined {
    return this.#held.get(session.id)?.tokenExpiresAt;
  }

  /**
   * Opens a session, or takes over the one with the request's key; `sink` hears `connected` first.
   * Throws TOO_MANY_SESSIONS, PORTRAIT_MISSING, FILE_NOT_FOUND, FILE_TYPE_UNSUPPORTED.
   */
  async open(request: OpenRequest, sink: Sink): Promise<Session> {
    const { key } = request;
    if (key === undefined) return await this.#openNew(request, sink);
    // one at a time per key, so that two connections at once meet in one session
    const before = this.#opening.get(key) ?? Promise.resolve();
    const opened = before
      .catch(() => undefined)
      .then(async () => {
        const held = this.#byKey.get(key);
        if (held === undefined || held.session.isOver) return await this.#openNew(request, sink);
        if (held.request.user?.id !== request.user?.id) {
          throw new CodedError('FORBIDDEN', 'this conversation belongs to someone else');
        }
        this.#reconnect(held, sink, undefined, request.tokenExpiresAt);
        return held.session;
      });
    this.#opening.set(key, opened);
    try {
      return await opened;
    } finally {
      if (this.#opening.get(key) === opened) this.#opening.delete(key);
    }
  }

  /** Gives a session to a connection that proves to be its client's; throws SESSION_UNKNOWN. */
  async resume(request: ResumeRequest, sink: Sink): Promise<Session> {
    const held = this.#held.get(request.sessionId);
    // always compared, so that time does not tell whether the session exists
    const matches = equal(held?.session.resumeToken ?? '', request.resumeToken);
    const other = request.user !== undefined && request.user.id !== held?.request.user?.id;
    if (held === undefined || !matches || other || held.session.isOver) {
      throw new CodedError(
        'SESSION_UNKNOWN',
        'there is no such session to resume: it has ended, or the resume_token is another one; ' +
          'open a new one with request_connection',
      );
    }
    const expiresAt = request.tokenExpiresAt ?? held.tokenExpiresAt;
    if (expiresAt !== undefined && expiresAt <= Date.now()) {
      throw new CodedError(
        'TOKEN_EXPIRED',
        'the access token of this session has expired; give a new one',
      );
    }
    this.#reconnect(held, sink, request.lastSeq, expiresAt);
    return held.session;
  }

  #reconnect(held: Held, sink: Sink, lastSeq: number | undefined, expiresAt: number | undefined) {
    clearTimeout(held.grace);
    held.grace = undefined;
    held.tokenExpiresAt = expiresAt;
    held.session.attach(sink, lastSeq);
  }

  /** A connection of the session is gone: ends the session now or when its grace time is over. */
  detach(session: Session, sink: Sink, end: Pick<ConnectionEnd, 'code' | 'byServer'>): void {
    const held = this.#held.get(session.id);
    if (held === undefined || !session.detach(sink)) return;
    const { graceMs } = this.services.config.sessions;
    const isGoodbye = end.code === 1000 && !end.byServer;
    const mayReturn = end.code === 1006 || session.isBusy;
    if (isGoodbye || !mayReturn || graceMs === 0 || this.#isStopping) {
      void this.end(session);
      return;
    }
    held.grace = setTimeout(() => void this.end(session), graceMs).unref();
  }

  /** Ends a session, once; `last` is the last event its client hears. */
  async end(session: Session, last?: SessionEvent): Promise<void> {
    const held = this.#held.get(session.id);
    if (held?.session === session) {
      this.#held.delete(session.id);
      clearTimeout(held.grace);
      this.#count(held.request, -1);
      const { key } = held.request;
      if (key !== undefined && this.#byKey.get(key) === held) this.#byKey.delete(key);
    }
    const ended = session.end(last).catch((error: unknown) => {
      this.services.log.error({ err: error, session: session.id }, 'a session did not end cleanly');
    });
    this.#ends.add(ended);
    await ended;
    this.#ends.delete(ended);
  }

  async #openNew(request: OpenRequest, sink: Sink): Promise<Session> {
    this.#checkRunning();
    this.#count(request, 1);
    try {
      return await this.#create(request, sink);
    } catch (error) {
      this.#count(request, -1);
      throw error;
    }
  }

  async #create(request: OpenRequest, sink: Sink): Promise<Session> {
    const id = randomUUID();
    const files = await this.#registry.add(id);
    const setup = { ...request, history: request.history ?? [] };
    const session = new Session(this.services, files, setup, id);
    try {
      await this.#checkPortrait(request, session);
      this.#checkRunning();
    } catch (error) {
      await files.letGo();
      throw error;
    }
    const held = { session, request, tokenExpiresAt: request.tokenExpiresAt, grace: undefined };
    this.#held.set(session.id, held);
    if (request.key !== undefined) this.#byKey.set(request.key, held);
    session.open(sink);
    return session;
  }

  async #checkPortrait({ mode, imageId, role }: OpenRequest, session: Session): Promise<void> {
    if (imageId !== undefined) await session.files.use(imageId, ['image']);
    else if (mode === 'video' && (await this.services.roles.portrait(role)) === undefined) {
      throw portraitMissing();
    }
  }

  #checkRunning(): void {
    if (!this.#isStopping) return;
    throw new CodedError('SERVER_STOPPING', 'the server stops; come back later');
  }

  #count({ user }: OpenRequest, by: 1 | -1): void {
    if (user === undefined) return;
    const count = (this.#counts.get(user.id) ?? 0) + by;
    const most = this.services.config.sessions.perUser;
    if (by > 0 && count > most) {
      throw new CodedError(
        'TOO_MANY_SESSIONS',
        `${most} sessions of this user are open already; end one of them first`,
      );
    }
    if (count === 0) this.#counts.delete(user.id);
    else this.#counts.set(user.id, count);
  }
}

function equal(expected: string, given: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(expected), digest(given)) && expected !== '';
}
