import { type Expression, type RawBuilder, type SqlBool, sql } from 'kysely';
import { toStorableText } from './values.js';

/** Text for one line: no control characters, no blanks around it. */
export function oneLine(text: string): string {
  return toStorableText(text)
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim();
}

/** Whether a column contains what someone typed, in upper or lower case. */
export function contains(column: Expression<string | null>, typed: string): RawBuilder<SqlBool> {
  const matches = spellings(toStorableText(typed)).map((text) => {
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
