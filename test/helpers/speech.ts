import { samplesOf } from '../../src/media/pcm.js';
import type { Speech } from '../../src/speech/speech.js';

/** The median pitch of a voice in Hz, by autocorrelation of its loud windows. */
export function pitchOf({ pcm, sampleRate }: Speech): number {
  const samples = samplesOf(pcm);
  const size = Math.round(sampleRate * 0.04);
  const found: number[] = [];
  for (let at = 0; at + 2 * size < samples.length; at += size) {
    const power = product(samples, at, at, size);
    if (power / size < 1e5) continue;
    let best = { score: 0, lag: 0 };
    for (let lag = Math.round(sampleRate / 400); lag < sampleRate / 60; lag++) {
      const other = product(samples, at + lag, at + lag, size);
      const score = product(samples, at, at + lag, size) / Math.sqrt(power * other + 1);
      if (score > best.score + 0.02) best = { score, lag };
    }
    if (best.score > 0.8) found.push(sampleRate / best.lag);
  }
  found.sort((a, b) => a - b);
  return found[found.length >> 1] ?? 0;
}

function product(samples: Int16Array, a: number, b: number, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += (samples[a + i] as number) * (samples[b + i] as number);
  return sum;
}
