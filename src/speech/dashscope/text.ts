/** A frame of the synthesiser holds this many units, and a task ten times that. */
export const MAX_FRAME_UNITS = 20_000;
export const MAX_TASK_UNITS = 200_000;

const han = /\p{Script=Han}/u;

/** A Chinese character counts two units, all else one for each UTF-16 code. */
function unitsOf(character: string): number {
  return han.test(character) ? 2 : character.length;
}

export function textUnits(text: string): number {
  let units = 0;
  for (const character of text) units += unitsOf(character);
  return units;
}

/** Whether there is anything to pronounce. */
export function isSpoken(text: string): boolean {
  return /[\p{L}\p{N}]/u.test(text);
}

/** Pieces that fit one frame each, cut after a sentence or a word where there is one. */
export function framesOf(text: string, limit = MAX_FRAME_UNITS): string[] {
  const pieces: string[] = [];
  let rest = text;
  while (textUnits(rest) > limit) {
    const fitting = beginning(rest, limit);
    const sentences = /^.*[.!?。!?;;\n]/su.exec(fitting)?.[0];
    const words = /^.*\s/su.exec(fitting)?.[0];
    const piece = sentences ?? words ?? fitting;
    pieces.push(piece);
    rest = rest.slice(piece.length);
  }
  if (rest !== '') pieces.push(rest);
  return pieces;
}

function beginning(text: string, limit: number): string {
  let units = 0;
  let length = 0;
  for (const character of text) {
    units += unitsOf(character);
    if (units > limit) break;
    length += character.length;
  }
  return text.slice(0, length);
}
