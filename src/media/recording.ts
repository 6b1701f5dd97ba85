import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CodedError } from '../errors.js';
import type { Recording, Speech } from '../speech/speech.js';
import { type DecodeOptions, SAMPLE_RATE, decodePcm } from './audio.js';
import { contentOfBytes } from './content.js';
import { readWav, wavFile } from './wav.js';

export interface RecordingHints {
  /** As the client names it; `pcm` formats are bare 16-bit mono samples. */
  readonly format?: string | undefined;
  /** Of bare samples. */
  readonly sampleRate?: number | undefined;
}

const expected = 'expected audio as wav, mp3, ogg, aac, m4a, flac or webm';

/**
 * Judges recorded bytes by their content; bare samples become a WAV. Throws AUDIO_EMPTY, and
 * AUDIO_UNREADABLE for what is no recording.
 */
export async function recordingOf(
  data: Uint8Array,
  { format, sampleRate }: RecordingHints = {},
): Promise<Recording> {
  if (data.length === 0) throw new CodedError('AUDIO_EMPTY', `${expected}; no bytes arrived`);
  const bare = sampleRate !== undefined || /pcm|l16|s16/i.test(format ?? '');
  // samples may look like any other format by chance, but hardly like this one
  if (bare && readWav(data) === undefined) {
    const even = data.subarray(0, data.length - (data.length % 2));
    const wav = wavFile(even, sampleRate ?? SAMPLE_RATE);
    return { data: wav, mime: 'audio/wav', extension: 'wav' };
  }
  const content = await contentOfBytes(data);
  if (content === undefined || content.type === 'image') {
    const found = content === undefined ? 'something else' : `a picture (${content.mime})`;
    const hint = 'for bare 16-bit samples at 16 kHz say format "pcm"';
    throw new CodedError('AUDIO_UNREADABLE', `${expected}; this is ${found}; ${hint}`);
  }
  return { data, mime: content.mime, extension: content.extension };
}

/**
 * The recording as 16 kHz mono: at once where it is such a WAV already, else through ffmpeg.
 * Throws AUDIO_UNREADABLE, AUDIO_TOO_LONG, MEDIA_CANCELLED and their like.
 */
export async function soundOf(recording: Recording, options: DecodeOptions = {}): Promise<Speech> {
  const wav = readWav(recording.data);
  if (wav?.channels === 1 && wav.sampleRate === SAMPLE_RATE) {
    checkLength(wav.pcm.length / 2 / SAMPLE_RATE, options);
    return { pcm: wav.pcm, sampleRate: SAMPLE_RATE };
  }
  const folder = await mkdtemp(join(tmpdir(), 'echomimic-audio-'));
  try {
    const path = join(folder, 'recording');
    await writeFile(path, recording.data, { mode: 0o600 });
    return { pcm: await decodePcm(path, options), sampleRate: SAMPLE_RATE };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The sound of a file of any size as a WAV of 16 kHz mono; the file goes to disk, not to memory. */
export async function soundOfStream(
  source: AsyncIterable<Uint8Array>,
  options: DecodeOptions = {},
): Promise<Recording> {
  const folder = await mkdtemp(join(tmpdir(), 'echomimic-audio-'));
  try {
    const path = join(folder, 'recording');
    await writeFile(path, source, { mode: 0o600, signal: options.signal });
    const pcm = await decodePcm(path, options);
    return { data: wavFile(pcm, SAMPLE_RATE), mime: 'audio/wav', extension: 'wav' };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Seconds of sound that are really there, whatever the file says of itself. */
export async function durationOf(
  recording: Recording,
  options: DecodeOptions = {},
): Promise<number> {
  const wav = readWav(recording.data);
  if (wav === undefined) return secondsOf(await soundOf(recording, options));
  const seconds = wav.pcm.length / (wav.channels * 2) / wav.sampleRate;
  checkLength(seconds, options);
  return seconds;
}

function checkLength(seconds: number, { maxSeconds }: DecodeOptions): void {
  if (maxSeconds === undefined || seconds <= maxSeconds) return;
  const text = `the recording lasts ${Math.round(seconds)} s; at most ${maxSeconds} s are accepted`;
  throw new CodedError('AUDIO_TOO_LONG', text);
}

export function secondsOf({ pcm, sampleRate }: Speech): number {
  return pcm.length / 2 / sampleRate;
}
