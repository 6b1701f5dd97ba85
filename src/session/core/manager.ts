import { randomUUID } from 'node:crypto';
import type { User } from '../../store/schema.js';
import { CodedError, codeOf } from '../../errors.js';
import type { Role } from '../../role/roles.js';
import type { ConnectionEnd } from '../dialect.js';
import type { ChatEntry, Mode, SessionEvent } from '../events.js';
import { type EndReason, countEnd, countStart } from './census.js';
import { LoginWatch } from './logins.js';
import { profileText } from './profile.js';
import type { Counts } from '../../limit/counts.js';
import type { FleetTimes } from '../../fleet/fleet.js';
import { type Traits } from '../../fleet/traits.js';
import { mayComeBack } from '../socket/close.js';
import type { Passage } from '../socket/relay.js';
import { Registry } from './registry.js';
import type { SessionServices } from '../services.js';
import type { Sink } from './outlet.js';
import { portraitMissing } from './portrait.js';
import { Session } from './session.js';
import { type Snapshot, fits, hashOf } from './snapshot.js';

export interface OpenRequest {
  readonly mode: Mode;
  readonly user: User | undefined;
  /** When the user's token ends (ms since 1970). */
  readonly tokenExpiresAt?: number | undefined;
  /** The login that the token belongs to; the session ends with it. */
  readonly loginId?: string | undefined;
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
  readonly loginId?: string | undefined;
}

/** What is known of the token that a connection came with. */
type Login = Pick<ResumeRequest, 'tokenExpiresAt' | 'loginId'>;

interface Held {
  readonly session: Session;
  readonly request: OpenRequest;
  readonly tokenHash: string;
  login: Login;
  grace: NodeJS.Timeout | undefined;
}

/** All sessions of this process. */
export class SessionManager {
  readonly services: SessionServices;
  readonly #registry: Registry;
  readonly #logins: LoginWatch;
  readonly #held = new Map<string, Held>();
  readonly #byKey = new Map<string, Held>();
  readonly #opening = new Map<string, Promise<unknown>>();
  readonly #ends = new Set<Promise<void>>();
  #isStopping = false;

  constructor(services: SessionServices, times?: FleetTimes) {
    this.services = services;
    this.#registry = new Registry(services, times);
    this.#logins = new LoginWatch(
      services,
      () => this.#loginsInUse(),
      (ended) => this.#revoke(ended),
    );
  }

  #loginsInUse(): Set<string> {
    const ids = [...this.#held.values()].map(({ login }) => login.loginId);
    return new Set(ids.filter((id) => id !== undefined));
  }

  /** Sends away whoever came with one of these logins. */
  #revoke(ended: ReadonlySet<string>): void {
    for (const { session, login } of [...this.#held.values()]) {
      if (login.loginId === undefined || !ended.has(login.loginId)) continue;
      session.revoke();
      void this.end(session, undefined, 'revoked');
    }
  }

  /** What all processes count together. */
  get counts(): Counts {
    return this.#registry.fleet.counts;
  }

  get size(): number {
    return this.#held.size;
  }

  /** Clears up after processes that ended, now and from time to time. */
  start(): void {
    this.#registry.start();
    this.#logins.start();
  }

  /**
   * Tells the other processes how this one is reached. Throws PROCESSES_DIFFER when it cannot serve
   * the same clients as they do.
   */
  async join(traits: () => Traits): Promise<void> {
    const { fleet } = this.#registry;
    fleet.traits = traits;
    const misfits = await fleet.misfits(traits()).catch((error: unknown) => {
      if (codeOf(error) === 'REDIS_UNAVAILABLE') return [];
      throw error;
    });
    if (misfits.length > 0) {
      throw new CodedError('PROCESSES_DIFFER', `${misfits.join('; ')} (docs/scaling.md)`);
    }
  }

  /** Tells the others at once, when this process has an address. */
  async announce(): Promise<void> {
    await this.#registry.round();
  }

  /** How to carry a client's line on to the process that holds its session. */
  passageTo(holder: string, address: string): Promise<Passage> {
    return this.#registry.passageTo(holder, address);
  }

  /** The address of the client that another process carries on to here. */
  takePass(pass: string): Promise<string | undefined> {
    return this.#registry.takePass(pass);
  }

  /** Ends every session. What cannot be deleted is left to the next process. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#logins.stop();
    for (const { session } of this.#held.values()) {
      void this.end(session, undefined, 'server_stopping');
    }
    await Promise.allSettled(this.#ends);
    await this.#registry.stop();
  }

  /** When the token that the session was opened or resumed with ends (ms since 1970). */
  tokenExpiresAt(session: Session): number | undefined {
    return this.#held.get(session.id)?.login.tokenExpiresAt;
  }

  /**
   * Opens a session, or takes over the one with the request's key; `sink` hears `connected` first.
   * Throws TOO_MANY_SESSIONS, PORTRAIT_MISSING, FILE_NOT_FOUND, FILE_TYPE_UNSUPPORTED, and
   * HeldElsewhere when another process has the one with the key.
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
        if (held === undefined || held.session.isOver) {
          return await this.#openHeld(key, request, sink);
        }
        if (held.request.user?.id !== request.user?.id) {
          throw new CodedError('FORBIDDEN', 'this conversation belongs to someone else');
        }
        this.#reconnect(held, sink, undefined, request);
        return held.session;
      });
    this.#opening.set(key, opened);
    try {
      return await opened;
    } finally {
      if (this.#opening.get(key) === opened) this.#opening.delete(key);
    }
  }

  /** Opens a session that there may be only one of, in all processes together. */
  async #openHeld(key: string, request: OpenRequest, sink: Sink): Promise<Session> {
    const { fleet } = this.#registry;
    await this.#registry.checkHolder(() => fleet.hold(key));
    try {
      return await this.#openNew(request, sink);
    } catch (error) {
      this.#release(key);
      throw error;
    }
  }

  #release(key: string): void {
    this.#registry.fleet.release(key).catch((error: unknown) => {
      this.services.log.warn({ err: error }, 'a conversation was not let go');
    });
  }

  /**
   * Gives a session to a connection that proves to be its client's; throws SESSION_UNKNOWN, and
   * HeldElsewhere when another process has it.
   */
  async resume(request: ResumeRequest, sink: Sink): Promise<Session> {
    const { sessionId, resumeToken, user } = request;
    const held = this.#held.get(sessionId);
    const left = held === undefined ? await this.#registry.dormant(sessionId) : undefined;
    const hash = held === undefined ? left?.tokenHash : held.tokenHash;
    const owner = held === undefined ? left?.userId : held.request.user?.id;
    const isOther = user !== undefined && user.id !== owner;
    if (!fits(resumeToken, hash) || isOther || held?.session.isOver === true) throw unknown();
    const { tokenExpiresAt, loginId } = user === undefined ? (held?.login ?? left ?? {}) : request;
    const login: Login = { tokenExpiresAt, loginId };
    if (tokenExpiresAt !== undefined && tokenExpiresAt <= Date.now()) {
      throw new CodedError(
        'TOKEN_EXPIRED',
        'the access token of this session has expired; give a new one',
      );
    }
    if (loginId !== undefined && !(await this.#isLiving(loginId))) throw unknown();
    if (left !== undefined) return await this.#revive(left, request, login, sink);
    if (held === undefined || held.session.isOver) throw unknown();
    this.#reconnect(held, sink, request.lastSeq, login);
    return held.session;
  }

  async #isLiving(loginId: string): Promise<boolean> {
    return (await this.services.accounts.livingLogins([loginId])).has(loginId);
  }

  /** Goes on with a session of a process that is gone. */
  async #revive(
    left: Snapshot,
    { sessionId, lastSeq = 0 }: ResumeRequest,
    login: Login,
    sink: Sink,
  ): Promise<Session> {
    const { accounts, roles } = this.services;
    const user = left.userId === undefined ? undefined : await accounts.find(left.userId);
    if (left.userId !== undefined && user === undefined) throw unknown();
    const role = await roles.find(left.roleId, user);
    this.#checkRunning();
    const files = await this.#registry.wake(sessionId);
    if (files === undefined) throw unknown();
    const userProfile = user && profileText(user);
    const request = { ...left, user, role, userProfile, ...login };
    // what was said after the snapshot was heard by this client alone
    const past = { seq: Math.max(left.seq, lastSeq), turns: left.turns };
    const session = new Session(this.services, files, request, sessionId, past);
    await this.#count(request, Infinity);
    this.#hold(session, request);
    session.reopen(sink, left.running);
    return session;
  }

  #reconnect(held: Held, sink: Sink, lastSeq: number | undefined, login: Login) {
    clearTimeout(held.grace);
    held.grace = undefined;
    held.login = login;
    held.session.attach(sink, lastSeq);
  }

  /** A connection of the session is gone: ends the session now or when its grace time is over. */
  detach(session: Session, sink: Sink, end: Pick<ConnectionEnd, 'code' | 'byServer'>): void {
    const held = this.#held.get(session.id);
    if (held === undefined || !session.detach(sink)) return;
    const { graceMs } = this.services.config.sessions;
    const isGoodbye = end.code === 1000 && !end.byServer;
    const mayReturn = mayComeBack(end.code) || session.isBusy;
    if (isGoodbye || !mayReturn || graceMs === 0 || this.#isStopping) {
      void this.end(session, undefined, isGoodbye ? 'goodbye' : 'lost');
      return;
    }
    held.grace = setTimeout(() => void this.end(session, undefined, 'lost'), graceMs).unref();
  }

  /** Ends a session, once; `last` is the last event its client hears. */
  async end(session: Session, last?: SessionEvent, reason: EndReason = 'stopped'): Promise<void> {
    const held = this.#held.get(session.id);
    if (held?.session === session) {
      this.#held.delete(session.id);
      clearTimeout(held.grace);
      countEnd(this.services.log, session.id, held.request, reason);
      this.#uncount(held.request);
      const { key } = held.request;
      if (key !== undefined && this.#byKey.get(key) === held) {
        this.#byKey.delete(key);
        this.#release(key);
      }
    }
    const ended = session.end(last).catch((error: unknown) => {
      this.services.log.error({ err: error, session: session.id }, 'a session did not end cleanly');
    });
    this.#ends.add(ended);
    await ended.finally(() => this.#ends.delete(ended));
  }

  async #openNew(request: OpenRequest, sink: Sink): Promise<Session> {
    this.#checkRunning();
    await this.#count(request, this.services.config.sessions.perUser);
    try {
      return await this.#create(request, sink);
    } catch (error) {
      this.#uncount(request);
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
    this.#hold(session, request);
    session.open(sink);
    return session;
  }

  #hold(session: Session, request: OpenRequest): void {
    const held: Held = {
      session,
      request,
      tokenHash: hashOf(session.resumeToken),
      login: { tokenExpiresAt: request.tokenExpiresAt, loginId: request.loginId },
      grace: undefined,
    };
    this.#held.set(session.id, held);
    countStart(this.services.log, session.id, request);
    // a session with a key is not resumed, but opened again
    if (request.key !== undefined) this.#byKey.set(request.key, held);
    else session.onChange = () => this.#keep(held);
  }

  #keep({ session, request, tokenHash, login }: Held): void {
    if (session.isOver) return;
    const { mode, address, user, role, conversationId, voice, rate, pitch } = request;
    const snapshot: Snapshot = {
      ...{ tokenHash, mode, address, roleId: role.id, userId: user?.id, ...login },
      ...{ conversationId, voice, rate, pitch },
      ...session.memento(),
    };
    this.#registry.keep(session.id, snapshot).catch((error: unknown) => {
      this.services.log.warn({ err: error, session: session.id }, 'a session was not kept');
    });
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

  async #count({ user }: OpenRequest, most: number): Promise<void> {
    if (user === undefined || (await this.counts.take(`user:${user.id}`, most))) return;
    throw new CodedError(
      'TOO_MANY_SESSIONS',
      `${most} sessions of this user are open already; end one of them first`,
    );
  }

  #uncount({ user }: OpenRequest): void {
    if (user !== undefined) this.counts.give(`user:${user.id}`);
  }
}

function unknown(): CodedError {
  return new CodedError(
    'SESSION_UNKNOWN',
    'there is no such session to resume: it has ended, or the resume_token is another one; ' +
      'open a new one with request_connection',
  );
}
