import { SentenceSplitter } from './sentences.js';

/** As much as reads well in one bubble of a chat, in letters. */
const MAX_PART = 280;

/**
 * A written reply as the messages that it is sent in: one per paragraph, long paragraphs cut at
 * sentences. No character but white space is lost; an empty reply has no parts.
 */
export function partsOf(text: string): string[] {
  return text
    .split(/\r?\n[ \t]*\r?\n\s*/)
    .map((paragraph) => paragraph.trim())
    .filter((paragraph) => paragraph !== '')
    .flatMap((paragraph) => (paragraph.length > MAX_PART ? grouped(paragraph) : [paragraph]));
}

/** Neighbouring sentences together, as long as they fit. */
function grouped(paragraph: string): string[] {
  const splitter = new SentenceSplitter();
  const parts: string[] = [];
  let from = 0;
  let to = 0;
  for (const sentence of [...splitter.push(paragraph), ...splitter.end()]) {
    const start = paragraph.indexOf(sentence, to);
    const end = start + sentence.length;
    if (to > from && end - from > MAX_PART) {
      parts.push(paragraph.slice(from, to));
      from = start;
    }
    to = end;
  }
  return [...parts, paragraph.slice(from)];
}
