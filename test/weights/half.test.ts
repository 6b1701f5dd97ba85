import t from 'tap';
import { bfloatToFloat, floatToHalf, halfToFloat } from '../../weights/checkpoint/index.js';

const every = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** The value of a half by its definition. */
function valueOf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = (half & 1023) / 1024;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15));
}

void t.test('every half has its value and comes back', async (t) => {
  const floats = new Float32Array(65536);
  halfToFloat(every, floats);
  t.ok(floats.every((value, half) => Object.is(value, Math.fround(valueOf(half)))));
  const back = new Uint16Array(65536);
  floatToHalf(floats, back);
  t.ok(
    back.every((half, i) => half === i || (Number.isNaN(floats[i]) && (half & 0x7fff) > 0x7c00)),
  );
});

void t.test('rounding is to the nearest half, ties to even, overflow to infinity', async (t) => {
  const out = new Uint16Array(1);
  const half = (value: number) => {
    floatToHalf(Float32Array.of(value), out);
    return out[0]!;
  };
  const step = new Float32Array(1);
  const stepBits = new Uint32Array(step.buffer);
  const next = (value: number, by: number) => {
    step[0] = value;
    stepBits[0]! += by;
    return step[0];
  };
  let wrong = 0;
  for (let i = 0; i < 0x7bff; i++) {
    const middle = (valueOf(i) + valueOf(i + 1)) / 2;
    const even = i % 2 === 0 ? i : i + 1;
    if (half(middle) !== even || half(next(middle, -1)) !== i || half(next(middle, 1)) !== i + 1) {
      wrong++;
    }
  }
  t.equal(wrong, 0);
  t.equal(half(65519), 0x7bff);
  t.equal(half(65520), 0x7c00);
  t.equal(half(-1e30), 0xfc00);
  t.equal(half(2 ** -25), 0);
  t.equal(half(next(2 ** -25, 1)), 1);
  t.equal(half(-0), 0x8000);
  t.equal(half(1e-45), 0);
});

void t.test('bfloat16 is the upper half of a float32, written from any index', async (t) => {
  const out = new Float32Array(3);
  bfloatToFloat(Uint16Array.of(0x3f80, 0xc0a0), out, 1);
  t.same([...out], [0, 1, -5]);
});
