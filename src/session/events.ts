import type { ErrorCode } from '../errors.js';
import type { TaskStatus } from '../queue/update.js';

export type Mode = 'voice' | 'video' | 'text';

export interface ChatEntry {
  readonly speaker: 'user' | 'ai';
  readonly text: string;
  readonly audioUrl?: string | undefined;
  readonly videoUrl?: string | undefined;
}

export interface RoleCard {
  readonly id: string;
  readonly name: string;
  readonly personality: string;
  readonly imageUrl: string;
}

/** What a session tells its client, in either dialect. `turn` counts the turns of a session from 1. */
export type SessionEvent =
  | {
      readonly type: 'connected';
      readonly sessionId: string;
      readonly mode: Mode;
      readonly role: RoleCard;
      readonly history: readonly ChatEntry[];
      readonly conversationId: string | undefined;
      readonly resumeToken: string;
      readonly resumed: boolean;
    }
  | {
      readonly type: 'recognised';
      readonly turn: number;
      readonly text: string;
      readonly audioUrl: string | undefined;
      readonly seconds: number | undefined;
    }
  /** Only a transcript was asked for. */
  | { readonly type: 'transcribed'; readonly text: string }
  /** One spoken sentence of the reply, or all of it. */
  | {
      readonly type: 'reply-audio';
      readonly turn: number;
      readonly index: number;
      readonly isLast: boolean;
      readonly text: string;
      readonly audioUrl: string;
    }
  /** Parts of a written reply. */
  | {
      readonly type: 'reply-text';
      readonly turn: number;
      readonly index: number;
      readonly total: number;
      readonly text: string;
    }
  | {
      readonly type: 'task-submitted';
      readonly turn: number;
      readonly taskId: string;
      readonly position: number;
      readonly message: string;
    }
  | {
      readonly type: 'task-progress';
      readonly turn: number;
      readonly taskId: string;
      readonly status: TaskStatus | 'queued';
      readonly percentage: number;
      /** How many tasks are before one that waits. */
      readonly position?: number | undefined;
      readonly message: string;
    }
  | {
      readonly type: 'task-result';
      readonly turn: number;
      readonly taskId: string;
      readonly videoUrl: string;
    }
  /** The turn's reply was cut short by the client or by new speech. */
  | { readonly type: 'interrupted'; readonly turn: number }
  | {
      readonly type: 'error';
      readonly code: ErrorCode;
      readonly message: string;
      /** Seconds after which it is worth trying again. */
      readonly retryAfter?: number | undefined;
      readonly taskId?: string | undefined;
      readonly turn?: number | undefined;
    }
  | { readonly type: 'stopped'; readonly message: string }
  | { readonly type: 'conversation-ended' };
