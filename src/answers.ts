import { Type } from 'typebox';
import type { ErrorCode } from './errors.js';

/** What HTTP answers have in common, whichever room gives them. */

export const success = Type.Literal(true);
export const messageAnswer = Type.Object({ success, message: Type.String() });
export const textOrNull = Type.Union([Type.String(), Type.Null()]);
export const isoTime = Type.String({ description: 'ISO 8601, UTC' });
export const isoTimeOrNull = Type.Union([isoTime, Type.Null()]);

/** The answer to every request that fails. */
export const failureAnswer = Type.Object({
  success: Type.Literal(false),
  message: Type.String({ description: 'what was expected, what arrived, what to do' }),
  code: Type.Unsafe<ErrorCode>({ type: 'string', description: 'one of docs/errors.md' }),
});
