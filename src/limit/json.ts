const quote = 0x22;
const backslash = 0x5c;

export interface Shape {
  readonly depth: number;
  /** Members of objects and elements of arrays, all levels together. */
  readonly values: number;
}

/**
 * Looks at JSON before it is parsed: a few megabytes of brackets would become hundreds of megabytes
 * of objects. Strings, which carry the audio of frames, are jumped over. What is too much of it;
 * undefined when it may be parsed.
 */
export function tooMuch(data: Buffer, most: Shape): string | undefined {
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
        if (++depth > most.depth) return `nested deeper than ${most.depth} levels`;
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
    if (values > most.values) return `of more than ${most.values} values`;
  }
  return undefined;
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
