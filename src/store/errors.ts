function codeOfEngine(error: unknown): unknown {
  return (error as { code?: unknown } | null)?.code;
}

/** Whether a row with the same unique value exists already. */
export function isUniqueViolation(error: unknown): boolean {
  const code = codeOfEngine(error);
  return (
    code === '23505' ||
    code === 'SQLITE_CONSTRAINT_UNIQUE' ||
    code === 'SQLITE_CONSTRAINT_PRIMARYKEY'
  );
}

/** Whether a row refers to one that does not exist (any more). */
export function isForeignKeyViolation(error: unknown): boolean {
  const code = codeOfEngine(error);
  return code === '23503' || code === 'SQLITE_CONSTRAINT_FOREIGNKEY';
}
