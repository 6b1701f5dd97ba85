import { type Expression, type RawBuilder, type SqlBool, sql } from 'kysely';

/** Text that both databases keep as it is: Postgres refuses NUL, UTF-8 has no half surrogates. */
export function storable(text: string): string {
  return text.replaceAll('\0', '').replace(/\p{Surrogate}/gu, '\ufffd');
}

/** The same in one line, without control characters and blanks around it. */
export function oneLine(text: string): string {
  return storable(text)
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim();
}

/** Whether a column contains what someone typed, in upper or lower case. */
export function contains(column: Expression<string | null>, typed: string): RawBuilder<SqlBool> {
  const matches = spellings(storable(typed)).map((text) => {
    const pattern = `%${text.replace(/[\\%_]/g, '\\$&')}%`;
    return sql<SqlBool>`lower(${column}) like lower(${pattern}) escape '\\'`;
  });
  return sql<SqlBool>`(${sql.join(matches, sql` or `)})`;
}

/** SQLite's lower() knows the letters of ASCII only: of others, the usual spellings are tried. */
function spellings(text: string): string[] {
  if (/^\p{ASCII}*$/u.test(text)) return [text];
  const lower = text.toLowerCase();
  const words = lower.replace(/(^|[^\p{L}\p{M}])(\p{L})/gu, (start) => start.toUpperCase());
  return [...new Set([text, lower, text.toUpperCase(), words])];
}
