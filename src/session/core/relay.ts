import { CodedError } from '../../errors.js';
import type { ClientSocket } from '../dialect.js';
import { Relay } from '../socket/relay.js';
import type { SessionManager } from './manager.js';
import type { HeldElsewhere } from './registry.js';

/** Carries a client's line on to the process that holds its session; throws SESSION_ELSEWHERE. */
export async function relayTo(
  socket: ClientSocket,
  { holder }: HeldElsewhere,
  sessions: SessionManager,
  path: string,
  query: Readonly<Record<string, string>> = {},
): Promise<Relay> {
  if (socket.isRelayed) {
    throw new CodedError('SESSION_ELSEWHERE', 'the session has just moved: connect again');
  }
  const passage = await sessions.passageTo(holder, socket.address);
  const search = new URLSearchParams(query).toString();
  return await Relay.open(socket, search === '' ? path : `${path}?${search}`, passage);
}
