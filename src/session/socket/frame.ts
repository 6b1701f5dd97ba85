import { CodedError } from '../../errors.js';
import { type Shape, tooMuch } from '../../limit/json.js';
import type { Frame } from '../dialect.js';

const most: Shape = { depth: 8, values: 1000 };

/** Reads one text frame: a JSON object of limited depth and width. */
export function parseFrame(data: Buffer): Frame {
  const excess = tooMuch(data, most);
  if (excess !== undefined) throw malformed(`this is ${excess}`);
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

function malformed(what: string): CodedError {
  return new CodedError('FRAME_MALFORMED', `a frame is one JSON object; ${what}`);
}
