import type { TaskUpdate } from './update.js';

/** What the work on a task took, and what came of it: more members of its state hash. */
export type WorkFacts = Readonly<Record<string, string>>;

/** The state hash of a task, as far as an update says. */
export function stateFields(update: TaskUpdate, extra: WorkFacts = {}): string[] {
  const fields: Record<string, string> = { ...extra, updated_at: update.timestamp };
  for (const [name, value] of Object.entries(update)) {
    if (name !== 'timestamp') fields[name] = String(value);
  }
  return Object.entries(fields).flat();
}
