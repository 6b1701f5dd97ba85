import t from 'tap';
import { correlation, darkAreas, openingOf, psnr } from '../../bench/likeness.js';

t.test('distance in decibels', async (t) => {
  const picture = Uint8Array.from({ length: 300 }, (_, i) => i % 251);
  t.equal(psnr(picture, picture), Infinity);
  const other = picture.map((x, i) => (i % 3 === 0 ? x + 1 : x));
  t.ok(Math.abs(psnr(picture, other) - 10 * Math.log10(255 ** 2 * 3)) < 1e-9);
  t.throws(() => psnr(picture, picture.subarray(1)));
});

t.test('correlation', async (t) => {
  t.ok(Math.abs(correlation([1, 2, 3], [10, 20, 30]) - 1) < 1e-12);
  t.ok(Math.abs(correlation([1, 2, 3], [3, 2, 1]) + 1) < 1e-12);
  t.equal(correlation([1, 1, 1], [1, 2, 3]), 0);
  t.ok(Math.abs(correlation([0, 1, 0, 1], [0, 0, 1, 1])) < 1e-12);
});

/** Two seconds that are loud in the second half of each, at `hz`. */
const tone = (hz: number) =>
  Float32Array.from({ length: 32_000 }, (_, i) =>
    i % 16_000 < 8_000 ? 0 : 0.5 * Math.sin((2 * Math.PI * hz * i) / 16_000),
  );
const open = Array.from({ length: 48 }, (_, frame) => (frame % 24 < 12 ? 0 : 1));

t.test('a mouth opens for voices', async (t) => {
  const opening = openingOf(tone(500), 48, 24);
  t.ok(opening.every((x) => x >= 0 && x <= 1));
  t.ok(correlation(opening, open) > 0.95);
  t.ok(opening[6]! < 0.05 && opening[18]! > 0.95);
});

t.test('the dark area is that of the mouth', async (t) => {
  const [width, height] = [32, 32];
  const clip = (row: number) =>
    Uint8Array.from({ length: 48 * 3 * width * height }, (_, i) => {
      const frame = Math.floor(i / (3 * width * height));
      const y = Math.floor(i / (3 * width)) % height;
      return open[frame] === 1 && y === row ? 40 : 180;
    });
  const mouth = darkAreas({ width, height, data: clip(22) });
  t.ok(Math.abs(correlation(mouth, open) - 1) < 1e-9);
  t.ok(Math.abs(mouth[12]! - 1 / 9) < 1e-9, 'one row of nine');
  const hair = darkAreas({ width, height, data: clip(3) });
  t.ok(hair.every((x) => x === 0));
});
