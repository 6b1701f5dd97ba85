/**
 * Bulk conversions between float32 and the two 16-bit float types, on whole arrays by table so that
 * a checkpoint converts faster than a disk reads it.
 */

let halfToFloatBits: Uint32Array | undefined;

function halfTable(): Uint32Array {
  if (halfToFloatBits) return halfToFloatBits;
  const table = new Uint32Array(65536);
  for (let half = 0; half < 65536; half++) {
    const sign = (half & 0x8000) << 16;
    let exponent = (half >> 10) & 31;
    let mantissa = half & 1023;
    let bits: number;
    if (exponent === 31) bits = 0x7f800000 | (mantissa << 13);
    else if (exponent > 0) bits = ((exponent + 112) << 23) | (mantissa << 13);
    else if (mantissa === 0) bits = 0;
    else {
      exponent = 113;
      while ((mantissa & 1024) === 0) {
        mantissa <<= 1;
        exponent--;
      }
      bits = (exponent << 23) | ((mantissa & 1023) << 13);
    }
    table[half] = (sign | bits) >>> 0;
  }
  return (halfToFloatBits = table);
}

/** Writes the float32 values of `half` to `out` from index `at`. */
export function halfToFloat(half: Uint16Array, out: Float32Array, at = 0): void {
  const table = halfTable();
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < half.length; i++) bits[at + i] = table[half[i]!]!;
}

/** Writes the float32 values of `brain` (bfloat16) to `out` from index `at`. */
export function bfloatToFloat(brain: Uint16Array, out: Float32Array, at = 0): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < brain.length; i++) bits[at + i] = brain[i]! << 16;
}

// Indexed by sign and exponent of a float32: the half's sign and exponent, how far its mantissa
// (with the implicit one, where there is one) is shifted right.
let baseOf: Uint16Array | undefined;
let shiftOf: Uint8Array | undefined;

function floatTables(): [Uint16Array, Uint8Array] {
  if (baseOf && shiftOf) return [baseOf, shiftOf];
  const base = new Uint16Array(512);
  const shift = new Uint8Array(512);
  for (let i = 0; i < 256; i++) {
    const exponent = i - 127;
    let b: number;
    let s: number;
    if (exponent < -25) [b, s] = [0, 25];
    else if (exponent < -14) [b, s] = [0, -exponent - 1];
    else if (exponent <= 15) [b, s] = [(exponent + 14) << 10, 13];
    else [b, s] = [0x7c00, 25];
    base[i] = b;
    base[i | 256] = b | 0x8000;
    shift[i] = shift[i | 256] = s;
  }
  baseOf = base;
  shiftOf = shift;
  return [base, shift];
}

/**
 * Writes `values` as IEEE half precision, rounded to nearest even, to `out` from index `at`. Values
 * beyond the largest half become infinity, as IEEE demands; NaN stays NaN.
 */
export function floatToHalf(values: Float32Array, out: Uint16Array, at = 0): void {
  const [base, shift] = floatTables();
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i]!;
    const magnitude = x & 0x7fffffff;
    if (magnitude >= 0x38800000 && magnitude < 0x477ff000) {
      // a normal half, which nearly every weight is: shift the bias of the exponent and round
      const lowest = (magnitude >>> 13) & 1;
      out[at + i] = ((x >>> 16) & 0x8000) | ((magnitude - 0x38000000 + 0xfff + lowest) >>> 13);
      continue;
    }
    const index = x >>> 23;
    const s = shift[index]!;
    if (s === 25) {
      out[at + i] = magnitude > 0x7f800000 ? base[index]! | 0x200 : base[index]!;
      continue;
    }
    // the implicit one is added for every class; in the normal range it carries into the exponent
    const mantissa = (x & 0x7fffff) | 0x800000;
    const rounded = (mantissa + (1 << (s - 1)) - 1 + ((mantissa >>> s) & 1)) >>> s;
    out[at + i] = base[index]! + rounded;
  }
}
