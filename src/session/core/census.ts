import { meters } from '../../observe/meters.js';
import type { Mode } from '../events.js';

/** Why a session ended; `stopped` by its client. */
export type EndReason = 'stopped' | 'goodbye' | 'lost' | 'revoked' | 'server_stopping';

/** Only life-echo writes. */
const labelsOf = ({ mode }: { readonly mode: Mode }) => ({
  dialect: mode === 'text' ? 'life-echo' : 'echomimic',
  mode,
});

export function countStart(session: { readonly mode: Mode }): void {
  meters.sessionsOpen.inc(labelsOf(session));
  meters.sessionsOpened.inc(labelsOf(session));
}

export function countEnd(session: { readonly mode: Mode }, reason: EndReason): void {
  meters.sessionsOpen.dec(labelsOf(session));
  meters.sessionsClosed.inc({ ...labelsOf(session), reason });
}
