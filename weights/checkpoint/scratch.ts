/**
 * Large arrays that live for one tensor only. Fresh ones would cost a collection of the whole heap
 * every few tensors and a page fault for every page, which takes longer than converting them.
 */
const smallest = 1 << 16;
const mostKept = 6;
const kept: ArrayBuffer[] = [];
const owned = new WeakSet<ArrayBufferLike>();

/** Room for `count` values that the caller is about to write: what stands in it is arbitrary. */
export function uninitialised(count: number): Float32Array {
  const bytes = 4 * count;
  if (bytes < smallest) return new Float32Array(count);
  let best = -1;
  for (const [i, { byteLength }] of kept.entries()) {
    const fits = byteLength >= bytes && byteLength <= 4 * bytes;
    if (fits && (best < 0 || byteLength < kept[best]!.byteLength)) best = i;
  }
  const buffer = best < 0 ? Buffer.allocUnsafeSlow(bytes).buffer : kept.splice(best, 1)[0]!;
  owned.add(buffer);
  return new Float32Array(buffer, 0, count);
}

/** Gives an array back that nobody looks at any more; one from elsewhere is left alone. */
export function recycle(values: Float32Array): void {
  const { buffer } = values;
  // each loan ends once, so that no two tensors ever share a buffer
  if (!owned.delete(buffer)) return;
  kept.push(buffer as ArrayBuffer);
  if (kept.length > mostKept) kept.shift();
}
