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

/** 16-bit samples as a WAV holds them; those of several channels take turns. */
export interface WavSound {
  readonly pcm: Uint8Array;
  readonly sampleRate: number;
  readonly channels: number;
}

/** Before its samples; a file of nothing but empty chunks would take seconds to walk through. */
const mostChunks = 1000;
const PLAIN_PCM = 1;
const EXTENSIBLE = 0xfffe;

/** A 16-bit WAV file; `claimed` is the size of the data that its header states. */
export function wavFile(
  pcm: Uint8Array,
  sampleRate: number,
  { channels = 1, claimed = pcm.length } = {},
): Buffer {
  const head = Buffer.alloc(44);
  head.write('RIFF', 0, 'latin1');
  head.writeUInt32LE(Math.min(0xffffffff, claimed + 36), 4);
  head.write('WAVEfmt ', 8, 'latin1');
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(PLAIN_PCM, 20);
  head.writeUInt16LE(channels, 22);
  head.writeUInt32LE(sampleRate, 24);
  head.writeUInt32LE(sampleRate * channels * 2, 28);
  head.writeUInt16LE(channels * 2, 32);
  head.writeUInt16LE(16, 34);
  head.write('data', 36, 'latin1');
  head.writeUInt32LE(claimed, 40);
  return Buffer.concat([head, pcm]);
}

/** Bytes of the header of the plainest WAV. */
export const plainHead = 44;

/**
 * Reads the first bytes of a 16-bit PCM WAV that holds nothing but its samples and whose header is
 * true to the byte; nothing is to be found out about such a file. Undefined for any other.
 */
export function plainWav(
  head: Buffer,
  fileBytes: number,
): { sampleRate: number; channels: number; bytes: number } | undefined {
  if (head.length < plainHead || fileBytes <= plainHead) return undefined;
  const names = head.toString('latin1', 0, 4) + head.toString('latin1', 8, 16);
  const bytes = fileBytes - plainHead;
  const isPlain =
    names === 'RIFFWAVEfmt ' &&
    head.readUInt32LE(4) === fileBytes - 8 &&
    head.readUInt32LE(16) === 16 &&
    head.toString('latin1', 36, 40) === 'data' &&
    head.readUInt32LE(40) === bytes;
  const format = isPlain ? readFormat(head.subarray(20, 36)) : undefined;
  if (format === undefined || bytes % (format.channels * 2) !== 0) return undefined;
  if (head.readUInt32LE(28) !== format.sampleRate * format.channels * 2) return undefined;
  return { ...format, bytes };
}

/**
 * The samples of a 16-bit PCM WAV, without a copy; what is there counts, not what the header says
 * of its length. Undefined when the bytes are anything else.
 */
export function readWav(bytes: Uint8Array): WavSound | undefined {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (file.toString('latin1', 0, 4) !== 'RIFF' || file.toString('latin1', 8, 12) !== 'WAVE') {
    return undefined;
  }
  let format: { sampleRate: number; channels: number } | undefined;
  for (let at = 12, chunks = 0; at + 8 <= file.length && chunks < mostChunks; chunks++) {
    const name = file.toString('latin1', at, at + 4);
    const size = file.readUInt32LE(at + 4);
    const body = file.subarray(at + 8, at + 8 + size);
    if (name === 'fmt ') {
      format = readFormat(body);
      if (format === undefined) return undefined;
    }
    if (name === 'data' && format !== undefined) {
      const unknown = UNKNOWN_SIZES.has(size);
      const data = unknown ? file.subarray(at + 8) : body;
      const frame = format.channels * 2;
      return { ...format, pcm: data.subarray(0, data.length - (data.length % frame)) };
    }
    at += 8 + size + (size % 2);
  }
  return undefined;
}

function readFormat(body: Buffer): { sampleRate: number; channels: number } | undefined {
  if (body.length < 16) return undefined;
  let kind = body.readUInt16LE(0);
  if (kind === EXTENSIBLE && body.length >= 26) kind = body.readUInt16LE(24);
  const channels = body.readUInt16LE(2);
  const sampleRate = body.readUInt32LE(4);
  const isPlain =
    kind === PLAIN_PCM &&
    body.readUInt16LE(14) === 16 &&
    body.readUInt16LE(12) === channels * 2 &&
    channels >= 1 &&
    channels <= 64 &&
    sampleRate >= 1000 &&
    sampleRate <= 768_000;
  return isPlain ? { sampleRate, channels } : undefined;
}
