import { bfloatToFloat, halfToFloat } from './half.js';
import type { PositionedFile } from './file.js';
import { uninitialised } from './scratch.js';
import { bytesPerElement, elementCount, rowMajor, type DType, type TensorLayout } from './types.js';

const pieceElements = 4 << 20;
const largestTensor = 2 ** 31;

function isRowMajor(layout: TensorLayout): boolean {
  const packed = rowMajor(layout.shape);
  return layout.shape.every((n, i) => n === 1 || layout.strides[i] === packed[i]);
}

function swapBytes(bytes: Uint8Array, size: number): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (size === 2) buffer.swap16();
  else if (size === 4) buffer.swap32();
  else if (size === 8) buffer.swap64();
}

/** Why `layout` cannot be a tensor of its storage, or undefined when it can. */
export function layoutProblem(layout: TensorLayout): string | undefined {
  const { shape, strides, offset, storageElements } = layout;
  const natural = (n: number) => Number.isSafeInteger(n) && n >= 0;
  if (shape.length > 16 || !shape.every(natural)) return `has the shape [${shape.join(', ')}]`;
  if (strides.length !== shape.length || !strides.every(natural) || !natural(offset)) {
    return `has the strides [${strides.join(', ')}] from ${offset}`;
  }
  const count = elementCount(shape);
  if (count === 0) return undefined;
  if (count > largestTensor) return `has ${count} elements, more than any model needs`;
  const last = shape.reduce((sum, n, i) => sum + (n - 1) * strides[i]!, offset);
  if (last >= storageElements) {
    return `reaches element ${last} of a storage that has ${storageElements}`;
  }
  return undefined;
}

function convert(dtype: DType, bytes: Uint8Array, out: Float32Array, at: number): void {
  const { buffer, byteOffset, byteLength } = bytes;
  switch (dtype) {
    case 'float32':
      out.set(new Float32Array(buffer, byteOffset, byteLength / 4), at);
      break;
    case 'float16':
      halfToFloat(new Uint16Array(buffer, byteOffset, byteLength / 2), out, at);
      break;
    case 'bfloat16':
      bfloatToFloat(new Uint16Array(buffer, byteOffset, byteLength / 2), out, at);
      break;
    case 'float64':
      out.set(new Float64Array(buffer, byteOffset, byteLength / 8), at);
      break;
    default:
      throw new Error(`${dtype} has no conversion to float32`);
  }
}

/** Reads `count` elements that lie side by side from byte `position` on. */
async function readRun(
  file: PositionedFile,
  dtype: DType,
  position: number,
  count: number,
  bigEndian: boolean,
  what: string,
): Promise<Float32Array> {
  const size = bytesPerElement[dtype];
  if (position + count * size > file.size) throw file.fail(`truncated: it ends inside ${what}`);
  const out = uninitialised(count);
  if (dtype === 'float32') {
    const bytes = new Uint8Array(out.buffer, 0, 4 * count);
    await file.fill(bytes, position, what);
    if (bigEndian) swapBytes(bytes, size);
    return out;
  }
  const piece = new Uint8Array(Math.min(count, pieceElements) * size);
  for (let at = 0; at < count; at += pieceElements) {
    const bytes = piece.subarray(0, Math.min(pieceElements, count - at) * size);
    await file.fill(bytes, position + at * size, what);
    if (bigEndian) swapBytes(bytes, size);
    convert(dtype, bytes, out, at);
  }
  return out;
}

function gather(span: Float32Array, shape: readonly number[], strides: readonly number[]) {
  const out = new Float32Array(elementCount(shape));
  const index = new Array<number>(shape.length).fill(0);
  let from = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = span[from]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return out;
}

/** Reads a float tensor of any layout, in row-major order, from the storage at byte `storage`. */
export async function readTensor(
  file: PositionedFile,
  layout: TensorLayout,
  storage: number,
  bigEndian: boolean,
  what: string,
): Promise<Float32Array> {
  const { dtype, shape, strides, offset } = layout;
  if (!/float/.test(dtype)) throw file.fail(`${what} is ${dtype}, a float tensor was expected`);
  const count = elementCount(shape);
  if (count === 0) return new Float32Array(0);
  const start = storage + offset * bytesPerElement[dtype];
  if (isRowMajor(layout)) return readRun(file, dtype, start, count, bigEndian, what);
  const span = shape.reduce((sum, n, i) => sum + (n - 1) * strides[i]!, 1);
  return gather(await readRun(file, dtype, start, span, bigEndian, what), shape, strides);
}
