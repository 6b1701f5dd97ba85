import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { CodedError } from '../errors.js';
import { isTraceparent } from '../observe/traceparent.js';
import { leastSize, mostSize, sizeStep } from './device.js';

export const maxTaskBytes = 64 * 1024;

const label = Type.String({
  minLength: 1,
  maxLength: 200,
  pattern: '^[^\\u0000-\\u001f\\u007f]+$',
});
export const fileId = Type.String({
  pattern: '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$',
});

/** How a clip is rendered; what is left out follows the loaded weights. */
export const taskSettings = Type.Object({
  steps: Type.Optional(Type.Integer({ minimum: 1, maximum: 200 })),
  cfg: Type.Optional(Type.Number({ minimum: 0, maximum: 50 })),
  seed: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
  /** Side of the square picture in pixels; how large it may be, only the worker's model knows. */
  size: Type.Optional(
    Type.Integer({ minimum: leastSize, maximum: mostSize, multipleOf: sizeStep }),
  ),
  frames_num: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
});
export type TaskSettings = Static<typeof taskSettings>;

/** What a client pushes; members it does not know are left alone. */
export const taskSchema = Type.Object({
  task_id: label,
  session_id: label,
  ref_image_id: fileId,
  audio_id: fileId,
  ...taskSettings.properties,
});
export type Task = Static<typeof taskSchema>;

/** An entry of the queue: what can be said of it even when it is not a good task. */
export interface Entry {
  /** Undefined when the entry does not name a task. */
  readonly taskId: string | undefined;
  readonly sessionId: string | undefined;
  readonly task: Task | undefined;
  /** The trace that the task belongs to, as W3C writes it. */
  readonly traceparent?: string | undefined;
  /** The account whose video it is. */
  readonly user?: string | undefined;
  readonly problem: CodedError | undefined;
}

const hints: Record<string, string> = {
  task_id: 'a string of 1 to 200 characters',
  session_id: 'a string of 1 to 200 characters',
  ref_image_id: 'the file_id of an uploaded picture',
  audio_id: 'the file_id of an uploaded recording',
  steps: 'an integer from 1 to 200',
  cfg: 'a number from 0 to 50',
  seed: `an integer from 0 to ${Number.MAX_SAFE_INTEGER}`,
  size: `a multiple of ${sizeStep} from ${leastSize} to ${mostSize}`,
  frames_num: 'an integer from 1 to 1000000',
};

/** Reads one entry of the queue. Never throws: what is wrong stands in `problem`. */
export function readEntry(raw: string): Entry {
  if (raw.length > maxTaskBytes) {
    return brokenEntry(
      raw,
      `a task has at most ${maxTaskBytes} characters, this one ${raw.length}`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(raw);
  } catch (error) {
    // Python writes NaN and Infinity, which JSON lacks: read around them, then refuse the field.
    value = parseWithoutNumbersThatAreNone(raw);
    if (value === undefined)
      return brokenEntry(raw, `the task is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return brokenEntry(raw, 'the task is JSON, but not an object');
  }
  const given = Object.fromEntries(Object.entries(value).filter(([, member]) => member !== null));
  const named = {
    taskId: Value.Check(label, given['task_id']) ? given['task_id'] : undefined,
    sessionId: Value.Check(label, given['session_id']) ? given['session_id'] : undefined,
    traceparent: isTraceparent(given['traceparent']) ? given['traceparent'] : undefined,
    user: Value.Check(fileId, given['user']) ? given['user'] : undefined,
  };
  if (Value.Check(taskSchema, given)) return { ...named, task: given, problem: undefined };
  return { ...named, task: undefined, problem: new CodedError('TASK_INVALID', explain(given)) };
}

function explain(given: Record<string, unknown>): string {
  const reasons = new Set<string>();
  for (const error of Value.Errors(taskSchema, given)) {
    const missing = (error.params as { requiredProperties?: string[] }).requiredProperties;
    const members = missing ?? [error.instancePath.split('/')[1] ?? ''];
    for (const member of members) {
      const hint = hints[member];
      if (hint === undefined) continue;
      reasons.add(
        member in given
          ? `${member} must be ${hint}, not ${brief(given[member])}`
          : `${member} is missing: it must be ${hint}`,
      );
    }
  }
  return [...reasons].join('; ');
}

function brief(value: unknown): string {
  const text = value === notANumber ? notANumber : (JSON.stringify(value) ?? 'undefined');
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

/** What can be said of an entry that is no task at all. */
export function brokenEntry(raw: string, message: string): Entry {
  const find = (member: string) => {
    const match = new RegExp(`"${member}"\\s*:\\s*"([^"\\\\]{1,200})"`).exec(
      raw.slice(0, maxTaskBytes),
    );
    return match !== null && Value.Check(label, match[1]) ? match[1] : undefined;
  };
  return {
    taskId: find('task_id'),
    sessionId: find('session_id'),
    task: undefined,
    problem: new CodedError('TASK_MALFORMED', message.slice(0, 300)),
  };
}

const notANumber = 'NaN or infinity';

function parseWithoutNumbersThatAreNone(raw: string): unknown {
  // A string that does not end is one token to the end: nothing is read twice.
  const tokens = /"(?:[^"\\]|\\[^])*(?:"|\\?$)|-?\b(?:NaN|Infinity)\b/g;
  const readable = raw.replace(tokens, (token) =>
    token.startsWith('"') ? token : JSON.stringify(notANumber),
  );
  try {
    return JSON.parse(readable);
  } catch {
    return undefined;
  }
}
