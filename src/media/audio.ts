import { type FileHandle, open, readFile } from 'node:fs/promises';
import { CodedError } from '../errors.js';
import { type ToolOptions, endOfTool, lastLine, runTool, throwIfCancelled } from './process.js';
import { claimedWavSeconds, plainHead, plainWav } from './wav.js';

export const SAMPLE_RATE = 16000;
export const DEFAULT_MAX_SECONDS = 600;

/** One window of the log-mel transform: nothing shorter can drive a frame. */
const MIN_SAMPLES = 400;
/** Peak below -60 dB of full scale: nobody speaks there. */
const SILENCE_PEAK = 0.001;
const PROBE_TIMEOUT_MS = 20_000;
const MIN_RATE = 1000;
const MAX_RATE = 768_000;
const MAX_CHANNELS = 64;

/**
 * The demuxers that may open an upload: the listed audio types and the video types, which may
 * carry a sound track. Playlists and other formats that name further files (hls, dash, concat,
 * sdp, ...) are not among them, and only the file protocol can be opened at all.
 */
const FORMATS =
  'wav,mp3,ogg,aac,mov,mp4,m4a,3gp,3g2,mj2,flac,matroska,webm,avi,asf,flv,mpeg,mpegts';

/** Input options for every upload that ffmpeg or ffprobe opens; the path comes last. */
function uploadInput(path: string): string[] {
  return ['-protocol_whitelist', 'file', '-format_whitelist', FORMATS, '-i', `file:${path}`];
}

/** Where a single allocation inside the tools ends: no header can make them take the machine. */
const ALLOCATION_LIMIT = ['-max_alloc', String(256 * 1024 * 1024)];

const EXPECTED = 'expected audio as wav, mp3, ogg, aac, m4a, flac or webm (or a video with sound)';

export interface AudioInfo {
  format: string;
  codec: string;
  sampleRate: number;
  channels: number;
  /** What the file says of itself; null when it says nothing. */
  claimedSeconds: number | null;
}

interface Probe {
  streams?: { codec_name?: string; sample_rate?: string; channels?: number; duration?: string }[];
  format?: { format_name?: string; duration?: string };
}

function seconds(text: string | undefined): number | null {
  const value = Number(text);
  return text !== undefined && Number.isFinite(value) && value >= 0 ? value : null;
}

function unreadable(stderr: string, cause: string): CodedError {
  if (/not on whitelist/i.test(stderr)) {
    const found = /\[(\w+) @/.exec(stderr)?.[1] ?? 'another format';
    return new CodedError(
      'AUDIO_UNSUPPORTED',
      `${EXPECTED}; this file is ${found}, which is not accepted`,
    );
  }
  return new CodedError('AUDIO_UNREADABLE', `${EXPECTED}; ${cause}: ${lastLine(stderr)}`);
}

/** The first bytes of a file, and how many it has. */
async function fileHead(path: string, bytes: number): Promise<{ head: Buffer; size: number }> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, 0);
    return { head: buffer.subarray(0, bytesRead), size: (await file.stat()).size };
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? String(error);
    const text = `the audio file could not be opened (${why})`;
    throw new CodedError('AUDIO_UNREADABLE', text, { cause: error });
  } finally {
    await file?.close();
  }
}

/** What the file says it holds. Nothing here is believed: `decodeAudio` counts what really comes. */
export async function probeAudio(
  path: string,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<AudioInfo> {
  const { head, size } = await fileHead(path, 4096);
  if (head.length === 0) throw new CodedError('AUDIO_EMPTY', `${EXPECTED}; the file has no bytes`);
  // Most speech comes as a plain WAV: starting a program to learn so would take longer than it.
  const plain = plainWav(head, size);
  if (plain !== undefined) {
    const { sampleRate, channels, bytes } = plain;
    const claimedSeconds = bytes / (sampleRate * channels * 2);
    return { format: 'wav', codec: 'pcm_s16le', sampleRate, channels, claimedSeconds };
  }
  const result = await runTool(
    'ffprobe',
    [
      ...['-hide_banner', '-loglevel', 'error', ...ALLOCATION_LIMIT],
      ...['-select_streams', 'a:0', '-of', 'json', '-show_entries'],
      'format=format_name,duration:stream=codec_name,sample_rate,channels,duration',
      ...uploadInput(path),
    ],
    {
      timeoutMs: PROBE_TIMEOUT_MS,
      maxOutputBytes: 1024 * 1024,
      signal: options.signal,
      confined: true,
    },
  );
  if (result.code !== 0) throw unreadable(result.stderr, 'it could not be read');
  const probe = JSON.parse(result.stdout.toString('utf8')) as Probe;
  const stream = probe.streams?.[0];
  if (stream === undefined) {
    const format = probe.format?.format_name ?? 'unknown';
    throw new CodedError('AUDIO_UNREADABLE', `${EXPECTED}; this ${format} file has no sound track`);
  }
  // a raw AAC stream says nothing; what ffprobe answers there is a guess from its first frames
  const said =
    probe.format?.format_name === 'aac'
      ? []
      : [probe.format?.duration, stream.duration].map(seconds);
  const claims = [...said, claimedWavSeconds(head)].filter((value) => value !== null);
  return {
    format: probe.format?.format_name ?? 'unknown',
    codec: stream.codec_name ?? 'unknown',
    sampleRate: Number(stream.sample_rate ?? 0),
    channels: stream.channels ?? 0,
    claimedSeconds: claims.length > 0 ? Math.max(...claims) : null,
  };
}

function clock(total: number): string {
  if (total < 120) return `${Math.round(total * 10) / 10} s`;
  if (total < 7200) return `${Math.round(total / 6) / 10} min`;
  return `${Math.round(total / 360) / 10} h`;
}

function tooLong(how: string, maxSeconds: number): CodedError {
  return new CodedError('AUDIO_TOO_LONG', `${how}; at most ${clock(maxSeconds)} is accepted`);
}

function checkClaims(info: AudioInfo, maxSeconds: number): void {
  if (info.claimedSeconds !== null && info.claimedSeconds > maxSeconds) {
    throw tooLong(`the audio file says it lasts ${clock(info.claimedSeconds)}`, maxSeconds);
  }
  const { sampleRate, channels } = info;
  if (!(sampleRate >= MIN_RATE && sampleRate <= MAX_RATE)) {
    const text = `a sample rate from ${MIN_RATE} to ${MAX_RATE} Hz is accepted, this audio has ${sampleRate}`;
    throw new CodedError('AUDIO_UNSUPPORTED', text);
  }
  if (!(channels >= 1 && channels <= MAX_CHANNELS)) {
    const text = `1 to ${MAX_CHANNELS} channels are accepted, this audio has ${channels}`;
    throw new CodedError('AUDIO_UNSUPPORTED', text);
  }
}

export interface DecodeOptions {
  signal?: AbortSignal | undefined;
  maxSeconds?: number | undefined;
}

/** Any accepted file as 16-bit samples, 16 kHz mono, counted while they come. */
export async function decodePcm(path: string, options: DecodeOptions = {}): Promise<Buffer> {
  const { signal, maxSeconds = DEFAULT_MAX_SECONDS } = options;
  const maxBytes = Math.floor(maxSeconds * SAMPLE_RATE) * 2;
  throwIfCancelled(signal);
  const plain = await plainSamples(path, maxBytes);
  if (plain !== undefined) return plain;
  const chunks: Buffer[] = [];
  let bytes = 0;
  const limit = ['-t', String(maxSeconds + 1)];
  await decode(path, { sampleRate: SAMPLE_RATE, channels: 1 }, limit, {
    timeoutMs: 30_000 + maxSeconds * 200,
    signal,
    onOutput: (chunk) => {
      bytes += chunk.length;
      if (bytes > maxBytes) throw tooLong('the audio goes on and on', maxSeconds);
      chunks.push(chunk);
    },
  });
  return Buffer.concat(chunks, bytes - (bytes % 2));
}

/** What a clip's sound is kept as: its own rate up to 48 kHz, mono or stereo. */
export function clipFormat({ sampleRate, channels }: AudioInfo): SampleFormat {
  return { sampleRate: Math.min(48_000, sampleRate), channels: Math.min(2, channels) };
}

/**
 * The first seconds of any accepted file as 16-bit samples that take turns, in pieces. They follow
 * each other without a gap, also where the file changes its rate or its clock on the way.
 */
export async function decodeClip(
  path: string,
  format: SampleFormat,
  seconds: number,
  signal: AbortSignal | undefined,
): Promise<Buffer[]> {
  const wanted = Math.round(seconds * format.sampleRate) * format.channels * 2;
  const chunks: Buffer[] = [];
  let bytes = 0;
  await decode(path, format, ['-fs', String(wanted)], {
    timeoutMs: 30_000 + seconds * 200,
    signal,
    onOutput: (chunk) => {
      const piece = chunk.subarray(0, wanted - bytes);
      bytes += piece.length;
      if (piece.length > 0) chunks.push(piece);
    },
  });
  return chunks;
}

interface SampleFormat {
  readonly sampleRate: number;
  readonly channels: number;
}

async function decode(
  path: string,
  { sampleRate, channels }: SampleFormat,
  limit: readonly string[],
  options: Pick<ToolOptions, 'timeoutMs' | 'signal'> & { onOutput: (chunk: Buffer) => void },
): Promise<void> {
  let isEmpty = true;
  const { code, stderr } = await endOfTool(
    'ffmpeg',
    [
      ...['-hide_banner', '-nostdin', '-loglevel', 'error', ...ALLOCATION_LIMIT],
      ...uploadInput(path),
      ...['-map', '0:a:0', '-vn', '-sn', '-dn', '-map_metadata', '-1'],
      ...['-ac', String(channels), '-ar', String(sampleRate), '-c:a', 'pcm_s16le'],
      ...[...limit, '-f', 's16le', 'pipe:1'],
    ],
    {
      ...options,
      confined: true,
      onOutput: (chunk) => {
        isEmpty = false;
        options.onOutput(chunk);
      },
    },
  );
  throwIfCancelled(options.signal);
  if (isEmpty && code !== 0) throw unreadable(stderr, 'its sound could not be decoded');
}

/** The samples of a file that holds them as they are wanted; undefined for any other. */
async function plainSamples(path: string, maxBytes: number): Promise<Buffer | undefined> {
  const { head, size } = await fileHead(path, plainHead);
  const plain = plainWav(head, size);
  if (plain?.sampleRate !== SAMPLE_RATE || plain.channels !== 1 || plain.bytes > maxBytes) {
    return undefined;
  }
  const samples = (await readFile(path)).subarray(plainHead);
  return samples.length === plain.bytes ? samples : undefined;
}

/**
 * Any accepted file as 16 kHz mono in [-1, 1). As in the official pipeline the samples pass
 * through 16 bits; that also keeps NaN and infinity of float files away from the engine.
 */
export async function decodeAudio(
  path: string,
  options: DecodeOptions = {},
): Promise<Float32Array> {
  const { signal, maxSeconds = DEFAULT_MAX_SECONDS } = options;
  throwIfCancelled(signal);
  checkClaims(await probeAudio(path, { signal }), maxSeconds);
  return checkSamples(toFloat(await decodePcm(path, options)));
}

function toFloat(bytes: Buffer): Float32Array {
  const samples = new Float32Array(bytes.length / 2);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(i * 2, true) / 32768;
  return samples;
}

function checkSamples(samples: Float32Array): Float32Array {
  if (samples.length < MIN_SAMPLES) {
    const ms = (1000 * samples.length) / SAMPLE_RATE;
    const least = (1000 * MIN_SAMPLES) / SAMPLE_RATE;
    const text = `the audio holds ${Math.round(ms)} ms of sound; at least ${least} ms are needed`;
    throw new CodedError('AUDIO_EMPTY', text);
  }
  let peak = 0;
  for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
  if (peak < SILENCE_PEAK) {
    const text = `the audio is silent for all of its ${clock(samples.length / SAMPLE_RATE)}; speech was expected`;
    throw new CodedError('AUDIO_SILENT', text);
  }
  return samples;
}
