import { CodedError } from '../../errors.js';
import type { User } from '../../store/schema.js';
import type { ClientSocket } from '../dialect.js';
import { profileText } from '../core/profile.js';
import type { SessionServices } from '../services.js';
import type { ConnectionRequest } from './schema.js';

export interface Visitor {
  readonly user: User;
  /** Of the token; milliseconds since 1970. */
  readonly expiresAt: number;
  readonly loginId: string;
  /** For the dialogue model. */
  readonly profile: string | undefined;
}

/**
 * Who connects: by the token of the frame, of the query or of the Authorization header. A token
 * that does not hold is refused even where none is needed.
 */
export async function visitorOf(
  socket: ClientSocket,
  request: ConnectionRequest,
  { accounts, config }: SessionServices,
): Promise<Visitor | undefined> {
  const bearer = /^Bearer +(\S+)$/i.exec(socket.authorization ?? '')?.[1];
  const token = [request.token, socket.query['token'], bearer].find(Boolean);
  if (token !== undefined) {
    const { user, expiresAt, family } = await accounts.verifyAccess(token);
    return { user, expiresAt, loginId: family, profile: profileText(user) };
  }
  if (!config.account.authRequired || request.resume_token !== undefined) return undefined;
  throw new CodedError(
    'UNAUTHORIZED',
    'this server wants a token: log in at /api/auth/login and send the access token',
  );
}
