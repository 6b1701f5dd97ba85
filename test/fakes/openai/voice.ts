import { readWav, wavFile } from '../../../src/media/wav.js';

/** What the fakes speak: sound whose samples hold its text, so that whoever gets it can read it. */
const mark = Int16Array.from([21_211, -17_171, 13_131, -21_217, 17_177, -13_137]);
const zero = 1000;
const step = 100;
const hum = Int16Array.from({ length: 2400 }, (_, i) => Math.round(6000 * Math.sin(i / 9)));

export interface VoiceOptions {
  readonly sampleRate?: number;
  /** Seconds of sound; the text needs its bytes' number of samples at least. */
  readonly seconds?: number;
  /** The size that the header states; services that stream do not know it. */
  readonly claimed?: number;
}

/** A WAV that says `text`: a tenth of a second and ten milliseconds for each character. */
export function wavOfText(text: string, options: VoiceOptions = {}): Buffer {
  const { sampleRate = 24_000, seconds = 0.1 + text.length / 100 } = options;
  const bytes = Buffer.from(text, 'utf8');
  const length = Math.max(Math.round(seconds * sampleRate), mark.length + 2 + bytes.length);
  const samples = new Int16Array(length);
  for (let at = 0; at < length; at += hum.length) {
    samples.set(hum.subarray(0, Math.min(hum.length, length - at)), at);
  }
  samples.set(mark, 0);
  samples[mark.length] = bytes.length >> 12;
  samples[mark.length + 1] = bytes.length & 0xfff;
  bytes.forEach((byte, i) => (samples[mark.length + 2 + i] = zero + byte * step));
  const pcm = new Uint8Array(samples.buffer);
  return wavFile(pcm, sampleRate, { claimed: options.claimed ?? pcm.length });
}

/** The texts that a WAV says, one after the other; undefined when it says none. */
export function textsOfWav(file: Uint8Array): string[] | undefined {
  const pcm = readWav(file)?.pcm;
  if (pcm === undefined) return undefined;
  const samples = new Int16Array(pcm.slice(0, pcm.length & ~1).buffer);
  const texts: string[] = [];
  for (let at = samples.indexOf(21_211); at !== -1; at = samples.indexOf(21_211, at + 1)) {
    if (!mark.every((value, i) => samples[at + i] === value)) continue;
    const from = at + mark.length + 2;
    const length = ((samples[from - 2] ?? 0) << 12) | (samples[from - 1] ?? 0);
    const bytes = samples.subarray(from, from + length);
    texts.push(Buffer.from(Array.from(bytes, (value) => (value - zero) / step)).toString('utf8'));
  }
  return texts.length === 0 ? undefined : texts;
}
