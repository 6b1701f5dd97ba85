import type { Log } from '../../log.js';
import { meters } from '../../observe/meters.js';
import type { User } from '../../store/schema.js';
import type { Mode } from '../events.js';

/** Why a session ended; `stopped` by its client. */
export type EndReason = 'stopped' | 'goodbye' | 'lost' | 'revoked' | 'server_stopping';

interface Counted {
  readonly mode: Mode;
  readonly user: User | undefined;
  readonly conversationId?: string | undefined;
}

/** Only life-echo writes. */
const labelsOf = ({ mode }: Counted) => ({
  dialect: mode === 'text' ? 'life-echo' : 'echomimic',
  mode,
});

export function countStart(log: Log, session: string, counted: Counted): void {
  meters.sessionsOpen.inc(labelsOf(counted));
  meters.sessionsOpened.inc(labelsOf(counted));
  const { mode, user, conversationId: conversation } = counted;
  log.info({ session, mode, user: user?.id, conversation }, 'session opened');
}

export function countEnd(log: Log, session: string, counted: Counted, reason: EndReason): void {
  meters.sessionsOpen.dec(labelsOf(counted));
  meters.sessionsClosed.inc({ ...labelsOf(counted), reason });
  log.info({ session, reason }, 'session ended');
}
