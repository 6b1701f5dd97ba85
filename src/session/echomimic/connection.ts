import { CodedError, codeOf } from '../../errors.js';
import type { Role } from '../../role/roles.js';
import { closeCodes } from '../socket/close.js';
import type { ClientSocket, Connection, ConnectionEnd, Frame } from '../dialect.js';
import type { ChatEntry, SessionEvent } from '../events.js';
import type { SessionManager } from '../core/manager.js';
import { HeldElsewhere } from '../core/registry.js';
import { relayTo } from '../core/relay.js';
import type { Relay } from '../socket/relay.js';
import type { SessionServices } from '../services.js';
import type { Farewell, Sink } from '../core/outlet.js';
import type { Session } from '../core/session.js';
import { type Visitor, visitorOf } from './auth.js';
import { encode } from './encode.js';
import { loginEnded } from '../core/logins.js';
import { fileIdOf, readFrame, readQuery } from './frames.js';
import type { ConnectionRequest } from './schema.js';

/** One socket of an EchoMimic client, and the session it holds once it is connected. */
export class EchoMimicConnection implements Connection, Sink {
  readonly ready: Promise<void> | undefined;
  readonly #socket: ClientSocket;
  readonly #services: SessionServices;
  readonly #sessions: SessionManager;
  #session: Session | undefined;
  /** When another process has the session. */
  #relay: Relay | undefined;

  constructor(socket: ClientSocket, services: SessionServices, sessions: SessionManager) {
    this.#socket = socket;
    this.#services = services;
    this.#sessions = sessions;
    this.ready = this.#connectByQuery();
  }

  get session(): Session | undefined {
    return this.#session;
  }

  async frame(frame: Frame): Promise<void> {
    if (this.#relay !== undefined) return this.#relay.frame(frame);
    const read = readFrame(frame, this.#services.config.sessions.maxText);
    if (read.event === 'request_connection') {
      if (this.#session !== undefined) {
        throw new CodedError(
          'FRAME_INVALID',
          'this socket is connected already; open another one for another session',
        );
      }
      return this.#connect(read.data);
    }
    const session = this.#session;
    if (session === undefined) {
      throw new CodedError('SESSION_NOT_CONNECTED', 'send request_connection before anything else');
    }
    if (read.sessionId !== undefined && read.sessionId !== session.id) {
      throw new CodedError(
        'SESSION_UNKNOWN',
        `session_id must be that of this connection, ${session.id}, or be left out`,
      );
    }
    if (read.command.type !== 'stop') return session.handle(read.command);
    const message = 'the session has ended and its files are deleted';
    void this.#sessions.end(session, { type: 'stopped', message });
  }

  closed(end: ConnectionEnd): void {
    this.#relay?.closed(end);
    const session = this.#session;
    this.#session = undefined;
    if (session !== undefined) this.#sessions.detach(session, this, end);
  }

  event(event: SessionEvent, seq: number): void {
    const frame = encode(event, seq);
    if (frame === undefined) return;
    const coalesce = event.type === 'task-progress' ? `progress:${event.taskId}` : undefined;
    this.#socket.send(frame, { coalesce });
  }

  over(why: Farewell): void {
    this.#session = undefined;
    if (why === 'ended') return this.#socket.close(closeCodes.done, 'the session has ended');
    if (why === 'revoked') {
      this.#refuse(loginEnded());
      return this.#socket.close(closeCodes.unauthorised, 'TOKEN_INVALID: the login has ended');
    }
    const message = 'another connection has taken this session over';
    this.#refuse(new CodedError('SESSION_REPLACED', message));
    this.#socket.close(
      closeCodes.replaced,
      'SESSION_REPLACED: another connection has this session',
    );
  }

  #refuse({ code, message, retryAfterSeconds: retry_after }: CodedError): void {
    this.#socket.send({ event: 'error', data: { code, message, retry_after } });
  }

  #connectByQuery(): Promise<void> | undefined {
    const { query } = this.#socket;
    const connecting = (async () => {
      const request = readQuery(query);
      if (request !== undefined) await this.#connect(request);
    })();
    // a wrong query leaves the socket open for a better request_connection
    return connecting.catch((error: unknown) => {
      if (!(error instanceof CodedError)) throw error;
      this.#refuse(error);
    });
  }

  async #connect(request: ConnectionRequest): Promise<void> {
    let visitor: Visitor | undefined;
    try {
      visitor = await visitorOf(this.#socket, request, this.#services);
    } catch (error) {
      const code = codeOf(error);
      if (!['UNAUTHORIZED', 'TOKEN_INVALID', 'TOKEN_EXPIRED'].includes(code)) throw error;
      const { message } = error as CodedError;
      this.#refuse(error as CodedError);
      return this.#socket.close(closeCodes.unauthorised, `${code}: ${message}`);
    }
    let session: Session;
    try {
      session =
        request.resume_token === undefined
          ? await this.#open(request, visitor)
          : await this.#resume(request, visitor);
    } catch (error) {
      if (!(error instanceof HeldElsewhere)) throw error;
      this.#relay = await relayTo(this.#socket, error, this.#sessions, '/ws');
      return this.#relay.frame({ event: 'request_connection', data: request });
    }
    this.#session = session;
    this.#socket.welcome(this.#sessions.tokenExpiresAt(session));
    // a session that ended, or was taken over, while this socket was being connected
    if (!session.holds(this)) this.#session = undefined;
  }

  #resume(request: ConnectionRequest, visitor: Visitor | undefined): Promise<Session> {
    return this.#sessions.resume(
      {
        sessionId: request.session_id ?? '',
        resumeToken: request.resume_token ?? '',
        lastSeq: request.last_seq,
        user: visitor?.user,
        tokenExpiresAt: visitor?.expiresAt,
        loginId: visitor?.loginId,
      },
      this,
    );
  }

  async #open(request: ConnectionRequest, visitor: Visitor | undefined): Promise<Session> {
    const { roles } = this.#services;
    const user = visitor?.user;
    const wanted =
      request.role_id === undefined ? undefined : await roles.find(request.role_id, user);
    const conversation = await this.#conversation(request.conversation_id, user, wanted);
    const role = conversation?.role ?? wanted ?? (await roles.standard());
    return await this.#sessions.open(
      {
        mode: request.mode ?? 'voice',
        user,
        tokenExpiresAt: visitor?.expiresAt,
        loginId: visitor?.loginId,
        address: this.#socket.address,
        role,
        conversationId: request.conversation_id,
        history: conversation?.history,
        imageId:
          request.image_id === undefined ? undefined : fileIdOf(request.image_id, 'image_id'),
        voice: request.voice_id,
        rate: request.speech_rate,
        pitch: request.pitch_rate,
        userProfile: visitor?.profile,
      },
      this,
    );
  }

  /** What was said in it, and the role it goes on with: the wanted one, its own, or any. */
  async #conversation(
    id: string | undefined,
    user: Visitor['user'] | undefined,
    wanted: Role | undefined,
  ): Promise<{ role: Role; history: ChatEntry[] } | undefined> {
    if (id === undefined) return undefined;
    if (user === undefined) {
      throw new CodedError(
        'UNAUTHORIZED',
        'a conversation_id needs a logged-in user: send a token',
      );
    }
    const { conversations, roles } = this.#services;
    const { role_id: own } = await conversations.open(id, user);
    const role = wanted ?? (await this.#knownRole(own, user)) ?? (await roles.standard());
    if (role.id !== own) await conversations.open(id, user, { roleId: role.id });
    const history = await conversations.history(id);
    return { role, history: history.map(({ speaker, text }) => ({ speaker, text })) };
  }

  /** Undefined when it is gone, or no longer shown to this user. */
  async #knownRole(id: string | null, user: Visitor['user']): Promise<Role | undefined> {
    if (id === null) return undefined;
    try {
      return await this.#services.roles.find(id, user);
    } catch (error) {
      if (codeOf(error) === 'ROLE_NOT_FOUND') return undefined;
      throw error;
    }
  }
}
