import type { Reservation } from '../../account/quota.js';
import type { QuotaKind } from '../../config.js';
import type { Role } from '../../role/roles.js';
import type { User } from '../../store/schema.js';
import type { ChatEntry, Mode, SessionEvent } from '../events.js';
import type { OwnedFiles } from './files.js';
import type { Collected } from './recording.js';
import type { SessionServices } from '../services.js';
import type { SessionState } from './state.js';

/** What holds for the whole session. */
export interface SessionSetup {
  readonly mode: Mode;
  readonly user: User | undefined;
  readonly address: string;
  readonly role: Role;
  readonly conversationId?: string | undefined;
  /** An uploaded picture instead of the role's portrait. */
  readonly imageId?: string | undefined;
  readonly voice?: string | undefined;
  readonly rate?: number | undefined;
  readonly pitch?: number | undefined;
  /** What is known of the user, for the model. */
  readonly userProfile?: string | undefined;
  /** What was said before, oldest first. */
  readonly history: readonly ChatEntry[];
}

export type TurnInput =
  | {
      readonly type: 'text';
      readonly text: string;
      /** Already made for this turn; otherwise one message is reserved. */
      readonly reservation?: Reservation | undefined;
      /** Segments of the conversation that this turn answers. */
      readonly segmentIds?: readonly string[] | undefined;
    }
  /** A file the client uploaded. */
  | { readonly type: 'upload'; readonly fileId: string }
  /** A recording from frames. */
  | {
      readonly type: 'recording';
      readonly recording: Promise<Collected>;
      /** How long it is in the client's own words, which hears them again. */
      readonly claimedSeconds?: number | undefined;
    }
  /** A task that another process submitted for this session. */
  | { readonly type: 'task'; readonly taskId: string }
  | { readonly type: 'announcement'; readonly parts: readonly string[]; readonly pauseMs: number };

/** A session as its turns see it. */
export interface TurnHost {
  readonly id: string;
  readonly setup: SessionSetup;
  readonly services: SessionServices;
  readonly files: OwnedFiles;
  readonly history: readonly ChatEntry[];
  emit(event: SessionEvent): void;
  /** Follows the running turn's work; nothing when the turn was cut. */
  progress(turn: RunningTurn, state: SessionState): void;
  remember(entry: ChatEntry): void;
  /** Replaces an entry by a fuller one. */
  amend(entry: ChatEntry, more: Partial<ChatEntry>): ChatEntry;
  /** Work on the database in the order of turns; failures are logged. */
  store(work: () => Promise<void>): Promise<void>;
  /** The file that tasks animate: the client's picture, or a copy of the role's portrait. */
  portrait(): Promise<string>;
  /** Counts one turn, or one recording to be recognised; throws RATE_LIMITED. */
  pace(): Promise<void>;
}

/** What was reserved for a turn. */
export interface Charge {
  readonly reservation: Reservation;
  readonly actual: Partial<Record<QuotaKind, number>>;
  /** Whether what was paid for came about. */
  earned: boolean;
}

/** A turn as its stages see it. */
export interface RunningTurn {
  readonly number: number;
  readonly session: TurnHost;
  /** Aborted when the turn is over, however it ends. */
  readonly signal: AbortSignal;
  /** Nothing once the turn was cut. */
  emit(event: SessionEvent): void;
  /** Reserves for the session's user; who has no account is not counted. */
  reserve(amounts: Partial<Record<QuotaKind, number>>): Promise<Charge | undefined>;
  /** Stores a file that is deleted with the turn unless it is announced. */
  save(data: Uint8Array, name: string): { readonly id: string; readonly saved: Promise<unknown> };
  /** The address of a file the client is told of. */
  announce(fileId: string): string;
  /** Work that goes on when the turn is over. */
  later(work: Promise<unknown>): void;
}
