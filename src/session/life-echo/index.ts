import { missingProfileFields } from '../../account/accounts.js';
import { opening, profileGreeting } from '../../dialogue/index.js';
import { CodedError } from '../../errors.js';
import { type Role, characterOf } from '../../role/roles.js';
import type { ConversationRow, User } from '../../store/schema.js';
import { closeCodes } from '../socket/close.js';
import type { ClientSocket, Connection, ConnectionEnd, Dialect, Frame } from '../dialect.js';
import type { SessionEvent } from '../events.js';
import type { SessionManager } from '../core/manager.js';
import { HeldElsewhere } from '../core/registry.js';
import { relayTo } from '../core/relay.js';
import type { Relay } from '../socket/relay.js';
import { loginEnded } from '../core/logins.js';
import type { Farewell, Sink } from '../core/outlet.js';
import { profileText } from '../core/profile.js';
import type { SessionServices } from '../services.js';
import type { Session } from '../core/session.js';
import { decode, encode, errorFrame } from './codec.js';
import { Conversation } from './conversation.js';

export interface LifeEchoOptions {
  /** How long a segment that never comes is waited for; ms. */
  readonly missingSegmentMs?: number;
  /** Between the parts of an opening; ms. */
  readonly openingPauseMs?: number;
}

const defaults = { missingSegmentMs: 15_000, openingPauseMs: 500 };

/** Life-echo clients: written conversations that are kept, with speech in numbered segments. */
export function createLifeEcho(
  services: SessionServices,
  sessions: SessionManager,
  options: LifeEchoOptions = {},
): Dialect {
  const room: Room = {
    services,
    sessions,
    options: { ...defaults, ...options },
    conversations: new WeakMap(),
  };
  return {
    name: 'life-echo',
    connect: (socket) => new LifeEchoConnection(room, socket),
    error: (socket, ...failure) => errorFrame(idOf(socket), ...failure),
  };
}

interface Room {
  readonly services: SessionServices;
  readonly sessions: SessionManager;
  readonly options: Required<LifeEchoOptions>;
  /** What outlives a connection. */
  readonly conversations: WeakMap<Session, Conversation>;
}

class LifeEchoConnection implements Connection, Sink {
  readonly ready: Promise<void>;
  readonly #room: Room;
  readonly #socket: ClientSocket;
  readonly #id: string;
  #conversation: Conversation | undefined;
  /** When another process has the conversation. */
  #relay: Relay | undefined;

  constructor(room: Room, socket: ClientSocket) {
    this.#room = room;
    this.#socket = socket;
    this.#id = idOf(socket);
    this.ready = this.#connect();
  }

  async frame(frame: Frame): Promise<void> {
    if (this.#relay !== undefined) return this.#relay.frame(frame);
    const { maxText } = this.#room.services.config.sessions;
    await this.#conversation?.handle(decode(frame, maxText));
  }

  closed(end: ConnectionEnd): void {
    this.#relay?.closed(end);
    const session = this.#conversation?.session;
    if (session !== undefined) this.#room.sessions.detach(session, this, end);
  }

  event(event: SessionEvent): void {
    const frame = encode(event, this.#id);
    if (frame !== undefined) this.#socket.send(frame);
  }

  over(why: Farewell): void {
    if (why === 'ended') return this.#socket.close(closeCodes.done, 'the conversation ended');
    if (why === 'revoked') {
      this.#refuse(loginEnded());
      return this.#socket.close(closeCodes.unauthorised, 'TOKEN_INVALID: the login has ended');
    }
    const message = 'another connection took the conversation over';
    this.#refuse(new CodedError('SESSION_REPLACED', message));
    this.#socket.close(closeCodes.replaced, `SESSION_REPLACED: ${message}`);
  }

  async #connect(): Promise<void> {
    const { accounts } = this.#room.services;
    const { token } = this.#socket.query;
    try {
      if (token === undefined || token === '') {
        throw new CodedError('UNAUTHORIZED', 'the access token is missing: connect with ?token=');
      }
      const { user, expiresAt, family } = await accounts.verifyAccess(token);
      this.#socket.welcome(expiresAt);
      await this.#open(user, expiresAt, family).catch(async (error: unknown) => {
        if (error instanceof HeldElsewhere) {
          const path = `/ws/conversation/${encodeURIComponent(this.#id)}`;
          const { query } = this.#socket;
          this.#relay = await relayTo(this.#socket, error, this.#room.sessions, path, query);
          return;
        }
        if (error instanceof CodedError) this.#refuse(error);
        throw error;
      });
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      const code = error.status >= 500 ? closeCodes.tryAgain : closeCodes.policy;
      this.#socket.close(code, `${error.code}: ${error.message}`);
    }
  }

  async #open(user: User, tokenExpiresAt: number, loginId: string): Promise<void> {
    const { services, sessions, options } = this.#room;
    const { conversations } = services;
    const row = await conversations.open(this.#id, user);
    const [role, history] = await Promise.all([
      this.#roleOf(row, user),
      conversations.history(this.#id),
    ]);
    const request = {
      mode: 'text' as const,
      user,
      tokenExpiresAt,
      loginId,
      address: this.#socket.address,
      key: `conversation:${this.#id}`,
      role,
      conversationId: this.#id,
      history,
      userProfile: profileText(user),
    };
    const session = await sessions.open(request, this);
    const known = this.#room.conversations.get(session);
    if (known !== undefined) {
      this.#conversation = known;
      return;
    }
    this.#conversation = new Conversation(this.#id, session, options.missingSegmentMs, () =>
      sessions.end(session, { type: 'conversation-ended' }),
    );
    this.#room.conversations.set(session, this.#conversation);
    if (history.length === 0) {
      session.announce(openingFor(user, role, this.#id), options.openingPauseMs);
    }
  }

  /** Whoever the conversation was begun with; that role may be gone or private by now. */
  async #roleOf({ role_id: roleId }: ConversationRow, user: User): Promise<Role> {
    const { roles, conversations } = this.#room.services;
    try {
      if (roleId !== null) return await roles.find(roleId, user);
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== 'ROLE_NOT_FOUND') throw error;
    }
    const role = await roles.standard();
    await conversations.open(this.#id, user, { roleId: role.id });
    return role;
  }

  #refuse({ code, message, retryAfterSeconds }: CodedError): void {
    this.#socket.send(errorFrame(this.#id, code, message, retryAfterSeconds));
  }
}

/** Asks for what is not known of the user, or else begins with what is. */
function openingFor(user: User, role: Role, seed: string): string[] {
  const character = characterOf(role);
  const missing = missingProfileFields(user);
  return missing.length > 0
    ? profileGreeting(missing, user.nickname, character.language)
    : opening(user, character, seed);
}

function idOf(socket: ClientSocket): string {
  return socket.params['id'] ?? '';
}
