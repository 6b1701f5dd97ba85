import { type Static, Type } from 'typebox';

/** What the operator API takes and answers. */

/** Points are kept for two days. */
const mostMinutes = 2880;
/** How many failures are kept. */
const mostFailures = 500;

const count = Type.Integer({ minimum: 0 });
const text = Type.String();
const success = Type.Literal(true);
const optional = <T extends Type.TSchema>(schema: T) => Type.Optional(schema);

const device = Type.Object({
  /** The `{gpu_id}` of its queue and status key. */
  id: count,
  queue: text,
  /** The model that its worker has loaded. */
  name: optional(text),
  /** `cpu`, `cuda`, `tensorrt` or `sim`; `unknown` of workers that tell nothing of it. */
  kind: text,
  /** `none` without a live worker. */
  status: Type.Enum(['idle', 'busy', 'none']),
  worker: optional(text),
  task: optional(text),
  /** Percent of the running task. */
  progress: optional(Type.Number()),
  queue_length: count,
  /** The first of its queue; empty for an entry that names no task. */
  waiting_tasks: Type.Array(text, { maxItems: 20 }),
  dead: count,
});

const apiProcess = Type.Object({
  name: text,
  url: optional(text),
  sessions: count,
  /** Seconds since it was heard. */
  silent: Type.Number(),
});

export const statusAnswer = Type.Object({
  success,
  version: text,
  /** Seconds that the process which answers has run. */
  uptime: count,
  devices: Type.Array(device),
  processes: Type.Array(apiProcess),
  /** Open ones, of all processes. */
  sessions: count,
  tasks: Type.Object({ waiting: count, running: count }),
});

export const throughputQuery = Type.Object({
  minutes: optional(Type.Integer({ minimum: 1, maximum: mostMinutes, default: 60 })),
});
const point = Type.Object({
  /** ISO 8601, the beginning of the minute. */
  at: text,
  completed: count,
  failed: count,
  cancelled: count,
  /** How long the videos are that were completed. */
  video_seconds: Type.Number(),
  /** How long the engines computed them. */
  render_seconds: Type.Number(),
});
export type Point = Static<typeof point>;
export const throughputAnswer = Type.Object({ success, points: Type.Array(point) });

export const failuresQuery = Type.Object({
  limit: optional(Type.Integer({ minimum: 1, maximum: mostFailures, default: 50 })),
});
export const failure = Type.Object({
  /** Empty when the entry named none. */
  task_id: text,
  session_id: text,
  code: text,
  error: text,
  /** ISO 8601 */
  at: text,
  attempt: count,
  queue: optional(text),
  worker: optional(text),
});
const dead = Type.Object({
  /** Names this entry; requeue and delete take it. */
  id: text,
  queue: text,
  task_id: text,
  code: text,
  error: text,
  at: text,
  worker: optional(text),
  attempts: optional(count),
  /** Whether it can be queued again: it was kept whole. */
  whole: Type.Boolean(),
  /** Whether it was a session's, whose files serve no other task: queued again it fails. */
  of_session: Type.Boolean(),
});
export const failuresAnswer = Type.Object({
  success,
  failures: Type.Array(failure),
  dead: Type.Array(dead),
  /** How many dead entries there are in all. */
  dead_total: count,
});

export const idParameter = Type.Object({ id: Type.String({ minLength: 1, maxLength: 300 }) });
export const requeueBody = Type.Union([
  Type.Object(
    { device: optional(Type.Integer({ minimum: 0, maximum: 999_999 })) },
    { additionalProperties: false },
  ),
  Type.Null(),
]);
export const requeueAnswer = Type.Object({ success, id: text, task_id: text, queue: text });
export const dropAnswer = Type.Object({ success, id: text, task_id: text });
export const cancelAnswer = Type.Object({
  success,
  task_id: text,
  /** As in docs/tasks.md: it waited; its worker ends it; it was over before. */
  outcome: Type.Enum(['withdrawn', 'stopping', 'ended']),
});
