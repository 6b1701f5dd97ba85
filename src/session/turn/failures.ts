import { CodedError, codeOf } from '../../errors.js';
import type { SessionEvent } from '../events.js';

export function wordless(): CodedError {
  return new CodedError(
    'ASR_UNAVAILABLE',
    'this server recognises no words (ASR=parrot): send text, or ask its operator to set ASR',
  );
}

export function nothingSaid(): CodedError {
  return new CodedError('DIALOGUE_FAILED', 'the dialogue model answered nothing');
}

/** Only what the project itself says is told to a client; the rest stands in the log. */
export function failure(error: unknown, turn: number): SessionEvent {
  const code = codeOf(error);
  const message =
    error instanceof CodedError
      ? error.message
      : 'something failed in the server; its log says what';
  const retryAfter = error instanceof CodedError ? error.retryAfterSeconds : undefined;
  const taskId = (error as { taskId?: string } | null)?.taskId;
  return {
    type: 'error',
    code,
    message,
    retryAfter,
    turn,
    ...(taskId === undefined ? {} : { taskId }),
  };
}
