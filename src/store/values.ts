/**
 * What a parameter becomes before it reaches an engine, so that both keep the same: Postgres knows
 * no U+0000 in text and no booleans in integer columns, and libsql ends the process at a boolean.
 */
export function toParameter(value: unknown): null | number | bigint | string | Uint8Array {
  if (value === undefined || value === null) return null;
  switch (typeof value) {
    case 'boolean':
      return value ? 1 : 0;
    case 'bigint':
      return value;
    case 'number':
      if (Number.isFinite(value)) return value;
      break;
    case 'string':
      return toStorableText(value);
  }
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`a query parameter is a number, text, bytes or null, not ${describe(value)}`);
}

/** Without U+0000; halves of surrogate pairs become U+FFFD. */
export function toStorableText(text: string): string {
  return text.replaceAll('\0', '').replace(/\p{Surrogate}/gu, '\ufffd');
}

function describe(value: unknown): string {
  return typeof value === 'number' ? String(value) : Object.prototype.toString.call(value);
}
