import type { Speech } from '../speech/speech.js';

/** Peak below -60 dB of full scale: nobody speaks there. */
const silencePeak = 33;
/** Zero crossings of the resampling filter to each side. */
const crossings = 16;

/** The samples, aligned, whatever the bytes' offset is. */
export function samplesOf(pcm: Uint8Array): Int16Array {
  const even = pcm.length - (pcm.length % 2);
  if (pcm.byteOffset % 2 === 0) return new Int16Array(pcm.buffer, pcm.byteOffset, even / 2);
  return new Int16Array(new Uint8Array(pcm.subarray(0, even)).buffer);
}

export function bytesOf(samples: Int16Array): Uint8Array {
  return new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
}

export function isSilent({ pcm }: Speech): boolean {
  return samplesOf(pcm).every((sample) => Math.abs(sample) < silencePeak);
}

/** Several channels that take turns, mixed into one. */
export function mixedDown(pcm: Uint8Array, channels: number): Uint8Array {
  if (channels === 1) return pcm;
  const samples = samplesOf(pcm);
  const mono = new Int16Array(Math.floor(samples.length / channels));
  for (let i = 0; i < mono.length; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += samples[i * channels + c] as number;
    mono[i] = Math.round(sum / channels);
  }
  return bytesOf(mono);
}

/** One after the other, at the highest rate among them. */
export function joinSpeech(parts: readonly Speech[]): Speech {
  const sampleRate = Math.max(...parts.map((part) => part.sampleRate), 0) || 16_000;
  const pieces = parts.map(({ pcm, sampleRate: rate }) =>
    rate === sampleRate ? pcm : bytesOf(resampled(samplesOf(pcm), rate, sampleRate)),
  );
  return { pcm: Buffer.concat(pieces), sampleRate };
}

/** Band-limited: nothing above the lower of both rates' limits is let through. */
export function resampled(samples: Int16Array, from: number, to: number): Int16Array {
  if (from === to) return samples;
  const band = Math.min(1, to / from);
  const reach = crossings / band;
  const made = new Int16Array(Math.round((samples.length * to) / from));
  for (let i = 0; i < made.length; i++) {
    const at = (i * from) / to;
    const last = Math.min(samples.length - 1, Math.floor(at + reach));
    let sum = 0;
    for (let j = Math.max(0, Math.ceil(at - reach)); j <= last; j++) {
      sum += (samples[j] as number) * filter((at - j) * band);
    }
    made[i] = Math.max(-32768, Math.min(32767, Math.round(sum * band)));
  }
  return made;
}

/** sinc in a Hann window, `x` in zero crossings. */
function filter(x: number): number {
  if (x === 0) return 1;
  if (Math.abs(x) >= crossings) return 0;
  const window = 0.5 + 0.5 * Math.cos((Math.PI * x) / crossings);
  return (Math.sin(Math.PI * x) / (Math.PI * x)) * window;
}
