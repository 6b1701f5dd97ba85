import { CodedError } from '../../errors.js';
import type { Frame } from '../dialect.js';

const maxDepth = 8;
/** Members of objects and elements of arrays, all levels together. */
const maxValues = 1000;

const quote = 0x22;
const backslash = 0x5c;

/** Reads one text frame: a JSON object of limited depth and width. */
export function parseFrame(data: Buffer): Frame {
  checkShape(data);
  let value: unknown;
  try {
    value = JSON.parse(data.toString());
  } catch (error) {
    throw malformed(`this is no JSON (${(error as Error).message.slice(0, 100)})`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformed(
      `this is ${value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`}`,
    );
  }
  return value as Frame;
}

/**
 * Looks at the text before it is parsed: a few megabytes of brackets would become hundreds of
 * megabytes of objects. Strings, which carry the audio, are jumped over.
 */
function checkShape(data: Buffer): void {
  let depth = 0;
  let values = 0;
  for (let at = 0; at < data.length; at++) {
    switch (data[at]) {
      case quote:
        at = endOfString(data, at + 1);
        break;
      case 0x7b: // {
      case 0x5b: // [
        values++;
        if (++depth > maxDepth) throw malformed(`this is nested deeper than ${maxDepth} levels`);
        break;
      case 0x7d: // }
      case 0x5d: // ]
        depth--;
        break;
      case 0x2c: // ,
        values++;
        break;
      default:
    }
    if (values > maxValues) throw malformed(`this has more than ${maxValues} values`);
  }
}

/** Where the string that starts at `at` has its closing quote, or the end of the data. */
function endOfString(data: Buffer, at: number): number {
  const end = data.indexOf(quote, at);
  if (end === -1) return data.length;
  if (data[end - 1] !== backslash) return end;
  let from = end - 1;
  while (from > at && data[from - 1] === backslash) from--;
  // Escapes: on, byte by byte, since searching anew from each of them costs more.
  for (let i = from; i < data.length; i++) {
    if (data[i] === backslash) i++;
    else if (data[i] === quote) return i;
  }
  return data.length;
}

function malformed(what: string): CodedError {
  return new CodedError('FRAME_MALFORMED', `a frame is one JSON object; ${what}`);
}
