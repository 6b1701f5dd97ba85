import type { Log } from '../../log.js';
import { meters } from '../../observe/meters.js';
import type { User } from '../../store/schema.js';
import type { Mode } from '../events.js';

/** Why a session ended; `stopped` by its client. */
const reasons = ['stopped', 'goodbye', 'lost', 'revoked', 'server_stopping'] as const;
export type EndReason = (typeof reasons)[number];

interface Counted {
  readonly mode: Mode;
  readonly user: User | undefined;
  readonly conversationId?: string | undefined;
}

/** Only life-echo writes. */
const labelsOf = ({ mode }: Pick<Counted, 'mode'>) => ({
  dialect: mode === 'text' ? 'life-echo' : 'echomimic',
  mode,
});

// A series that appears together with its first event hides that event from Prometheus.
for (const mode of ['voice', 'video', 'text'] as const) {
  const labels = labelsOf({ mode });
  meters.sessionsOpen.inc(labels, 0);
  meters.sessionsOpened.inc(labels, 0);
  for (const reason of reasons) meters.sessionsClosed.inc({ ...labels, reason }, 0);
  for (const outcome of ['done', 'failed', 'cut']) meters.turns.inc({ mode, outcome }, 0);
}

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
