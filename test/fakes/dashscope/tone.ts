/** How many samples the fake's voice takes for a text. */
export function toneSamples(text: string, rate: number, sampleRate: number): number {
  const letters = [...text.replace(/\s/g, '')].length;
  return Math.round((letters * 0.06 * sampleRate) / rate);
}

/** Speech of the fake: 16-bit mono, a tone as long as the text and as high as the pitch. */
export function toneOf(text: string, rate: number, pitch: number, sampleRate: number): Buffer {
  const period = Math.round(sampleRate / (220 * pitch));
  const wave = Buffer.alloc(period * 2);
  for (let i = 0; i < period; i++) {
    wave.writeInt16LE(Math.round(Math.sin((2 * Math.PI * i) / period) * 8000), i * 2);
  }
  return Buffer.alloc(toneSamples(text, rate, sampleRate) * 2, wave);
}
