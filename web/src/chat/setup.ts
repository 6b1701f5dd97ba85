import type { SessionMark } from '../../../src/client/index.js';
import type { Entry } from './entries.js';

/** With whom one talks, and how. */
export interface Setup {
  readonly mode: 'voice' | 'video';
  readonly name: string;
  readonly imageUrl: string;
  readonly greeting?: string | undefined;
  readonly roleId?: string | undefined;
  /** A picture of the user's own, for this conversation alone. */
  readonly imageId?: string | undefined;
  readonly conversationId?: string | undefined;
}

/** What of a conversation outlives a reload of its tab. */
export interface Memory {
  readonly setup: Setup;
  readonly entries: readonly Entry[];
  readonly resume: SessionMark;
}
