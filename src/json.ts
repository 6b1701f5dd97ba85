import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';

/** What a text says that was written by who knows whom: undefined unless it is JSON of this schema. */
export function readJson<T extends TSchema>(
  schema: T,
  text: string | null | undefined,
): Static<T> | undefined {
  try {
    const value: unknown = JSON.parse(text ?? '');
    return Value.Check(schema, value) ? value : undefined;
  } catch {
    return undefined;
  }
}
