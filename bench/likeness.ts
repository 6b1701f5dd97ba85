/** How alike two clips are, and how well a mouth follows its speech. */

/** Decibels between two pictures or clips of bytes; Infinity when they are the same. */
export function psnr(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length || a.length === 0) throw new RangeError('clips of different sizes');
  let squares = 0;
  for (let i = 0; i < a.length; i++) squares += (a[i]! - b[i]!) ** 2;
  return 10 * Math.log10((255 ** 2 * a.length) / squares);
}

/** Pearson's; 0 where one side does not change. */
export function correlation(a: readonly number[], b: readonly number[]): number {
  const count = Math.min(a.length, b.length);
  const mean = (x: readonly number[]) => x.slice(0, count).reduce((s, y) => s + y, 0) / count;
  const [ma, mb] = [mean(a), mean(b)];
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    const [x, y] = [a[i]! - ma, b[i]! - mb];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return aa < 1e-12 * count || bb < 1e-12 * count ? 0 : ab / Math.sqrt(aa * bb);
}

const clamp = (x: number, low: number, high: number) => Math.min(high, Math.max(low, x));

/** With linear interpolation, as numpy's. */
function quantile(values: ArrayLike<number>, share: number): number {
  const sorted = Float64Array.from(values).sort();
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!];
  return low + (high - low) * (at - Math.floor(at));
}

/** Gaussian of `sigma` places; the ends stay as they are beyond the ends. */
function smooth(values: readonly number[], sigma: number): number[] {
  const radius = Math.round(4 * sigma);
  const weights = Array.from({ length: 2 * radius + 1 }, (_, i) =>
    Math.exp(-((i - radius) ** 2) / (2 * sigma ** 2)),
  );
  const sum = weights.reduce((s, w) => s + w, 0);
  return values.map((_, i) =>
    weights.reduce((s, w, k) => {
      return s + (w / sum) * values[clamp(i + k - radius, 0, values.length - 1)]!;
    }, 0),
  );
}

/**
 * How far a mouth is open that says `sound` (16 kHz), 0 to 1 for every frame: the loudness of voiced
 * speech, 200 to 1500 Hz, smoothed. The bundled weights learned from this curve
 * (weights/training/speech.py).
 */
export function openingOf(sound: Float32Array, frames: number, fps: number): number[] {
  const [rate, hop, size] = [16_000, 160, 512];
  const window = Float64Array.from(
    { length: size },
    (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / (size - 1)),
  );
  const bins = Array.from({ length: size / 2 + 1 }, (_, k) => k).filter((k) => {
    const hz = (k * rate) / size;
    return hz >= 200 && hz <= 1500;
  });
  const turn = Float64Array.from({ length: size }, (_, n) => Math.cos((2 * Math.PI * n) / size));
  const levels = Array.from({ length: Math.floor(sound.length / hop) }, (_, at) => {
    let power = 0;
    for (const k of bins) {
      let [re, im] = [0, 0];
      for (let n = 0; n < size; n++) {
        const x = (sound[at * hop + n - 256] ?? 0) * window[n]!;
        re += x * turn[(k * n) % size]!;
        im += x * turn[(k * n + (3 * size) / 4) % size]!;
      }
      power += re * re + im * im;
    }
    return 10 * Math.log10(power + 1e-7);
  });
  const loud = quantile(levels, 0.95);
  const open = smooth(
    levels.map((level) => clamp((level - loud) / 26 + 1, 0, 1.1) ** 1.3),
    5,
  );
  return Array.from({ length: frames }, (_, i) =>
    clamp(open[Math.min(Math.round((i * 100) / fps), open.length - 1)]!, 0, 1),
  );
}

export interface Clip {
  readonly width: number;
  readonly height: number;
  /** RGB, frame by frame. */
  readonly data: Uint8Array;
}

/** Where the mouth is in a cropped picture of the bundled kind, as parts of its sides. */
const mouth = { top: 78 / 128, bottom: 114 / 128, left: 42 / 128, right: 86 / 128 };

/**
 * The share of the mouth's region that is much darker than its surroundings, frame by frame: an
 * open mouth, whoever it belongs to (weights/training/evaluate.py).
 */
export function darkAreas({ width, height, data }: Clip): number[] {
  const [top, bottom] = [Math.round(mouth.top * height), Math.round(mouth.bottom * height)];
  const [left, right] = [Math.round(mouth.left * width), Math.round(mouth.right * width)];
  const size = 3 * width * height;
  const greys = Array.from({ length: data.length / size }, (_, frame) => {
    const grey: number[] = [];
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const at = frame * size + 3 * (y * width + x);
        grey.push((data[at]! + data[at + 1]! + data[at + 2]!) / 3);
      }
    }
    return grey;
  });
  const limit = 0.6 * quantile(greys[0]!, 0.5);
  return greys.map((grey) => grey.filter((x) => x < limit).length / grey.length);
}
