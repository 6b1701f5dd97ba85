import type { SessionEvent } from '../events.js';
import type { TurnHost } from './host.js';

/** What a client hears first of its session. */
export function greeting(
  session: Pick<TurnHost, 'id' | 'setup' | 'services' | 'history'> & { resumeToken: string },
  resumed: boolean,
): SessionEvent {
  const { mode, role, conversationId } = session.setup;
  return {
    type: 'connected',
    sessionId: session.id,
    mode,
    role: {
      id: role.id,
      name: role.name,
      personality: role.personality,
      imageUrl: session.services.roles.imageUrl(role),
    },
    history: [...session.history],
    conversationId,
    resumeToken: session.resumeToken,
    resumed,
  };
}
