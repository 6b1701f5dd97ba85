/**
 * Sizes that programs write into the header of a WAV they stream, because they do not know it yet:
 * 0 and all ones (ffmpeg, GStreamer and most others), 0x7ffff000 (SoX, eSpeak), 0x80000000 (arecord).
 * They claim nothing.
 */
const UNKNOWN_SIZES = new Set([0, 0xffffffff, 0xffffffff - 36, 0x7ffff000, 0x80000000]);

/**
 * How long a WAV header says its data lasts. ffprobe answers from the size of the file instead, so
 * a header that lies stays unnoticed there. Null when this is no WAV or the header claims nothing.
 */
export function claimedWavSeconds(head: Buffer): number | null {
  if (head.length < 12 || head.toString('latin1', 8, 12) !== 'WAVE') return null;
  if (!/^(RIFF|RF64)$/.test(head.toString('latin1', 0, 4))) return null;
  let bytesPerSecond = 0;
  let longSize: number | null = null;
  let at = 12;
  while (at + 8 <= head.length) {
    const name = head.toString('latin1', at, at + 4);
    const size = head.readUInt32LE(at + 4);
    if (name === 'data') {
      if (bytesPerSecond === 0) return null;
      if (longSize !== null) return longSize / bytesPerSecond;
      return UNKNOWN_SIZES.has(size) ? null : size / bytesPerSecond;
    }
    // RF64 keeps the size of its data here
    if (name === 'ds64' && at + 24 <= head.length) longSize = Number(head.readBigUInt64LE(at + 16));
    if (name === 'fmt ' && at + 20 <= head.length) bytesPerSecond = head.readUInt32LE(at + 16);
    at += 8 + size + (size % 2);
  }
  return null;
}
