import type { Sentence } from './entries.js';

/** For a sentence whose voice has not been loaded: so long does it take to say that. */
const secondsPerLetter = 0.07;

/** The words of a reply as WebVTT, in the time of its voice; undefined when it has none. */
export function captionsOf(
  sentences: readonly Sentence[],
  seconds: Readonly<Record<string, number>>,
): string | undefined {
  let at = 0;
  const cues: string[] = [];
  for (const { text, audioUrl = '' } of sentences) {
    const end = at + (seconds[audioUrl] ?? text.length * secondsPerLetter);
    const words = text.replace(/\s+/g, ' ').replace(/&/g, '&amp;').replace(/</g, '&lt;').trim();
    if (words !== '' && end > at) cues.push(`${stamp(at)} --> ${stamp(end)}\n${words}`);
    at = end;
  }
  return cues.length === 0 ? undefined : `WEBVTT\n\n${cues.join('\n\n')}\n`;
}

/** 61.5 → 00:01:01.500 */
function stamp(seconds: number): string {
  return new Date(Math.round(seconds * 1000)).toISOString().slice(11, 23);
}
