import type { IncomingHttpHeaders } from 'node:http';
import fresh from 'fresh';
import rangeParser from 'range-parser';
import type { ByteRange, FileRecord } from './shelf.js';

/** How a request for a file is answered, by its conditions and its range (RFC 9110, 13 and 14). */
export type Answer =
  | { readonly status: 200 }
  | { readonly status: 206; readonly range: ByteRange }
  | { readonly status: 304 | 412 | 416 };

export function validatorsOf({ sha256, createdAt }: FileRecord) {
  return {
    etag: `"${sha256.slice(0, 32)}"`,
    'last-modified': new Date(createdAt).toUTCString(),
  };
}

/** Several ranges at once get the whole file. */
export function answerTo(headers: IncomingHttpHeaders, record: FileRecord): Answer {
  const validators = validatorsOf(record);
  const modified = Date.parse(validators['last-modified']);
  const ifMatch = headers['if-match'];
  if (ifMatch !== undefined) {
    const wanted = ifMatch.split(',').map((tag) => tag.trim());
    if (!wanted.includes('*') && !wanted.includes(validators.etag)) return { status: 412 };
  } else if (modified > Date.parse(headers['if-unmodified-since'] ?? '')) {
    return { status: 412 };
  }
  if (fresh(headers, validators)) return { status: 304 };
  const { range, 'if-range': ifRange } = headers;
  if (range === undefined || (typeof ifRange === 'string' && !isSame(ifRange, validators))) {
    return { status: 200 };
  }
  const ranges = rangeParser(record.bytes, range);
  if (ranges === -1) return { status: 416 };
  const [only] = ranges === -2 || ranges.type !== 'bytes' ? [] : ranges;
  if (only === undefined || (ranges as ByteRange[]).length > 1) return { status: 200 };
  return { status: 206, range: { start: only.start, end: only.end } };
}

function isSame(ifRange: string, validators: ReturnType<typeof validatorsOf>): boolean {
  return ifRange === validators.etag || ifRange === validators['last-modified'];
}
