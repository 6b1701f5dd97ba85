import { appendFile, rm, writeFile } from 'node:fs/promises';
import { CodedError } from '../../src/errors.js';
import {
  SAMPLE_RATE,
  clipFormat,
  decodeAudio,
  decodeClip,
  probeAudio,
} from '../../src/media/audio.js';
import { audioArguments, videoArguments, type VideoEncoder } from './encoder.js';
import {
  lastLine,
  startTool,
  throwIfCancelled,
  timedOut,
  type ToolRun,
} from '../../src/media/process.js';
import { type Mark, marker } from './mark.js';
import { metadataArguments, xmpBox } from './provenance.js';

export interface VideoOptions {
  /** The MP4 to write; removed again unless `finish` succeeds. */
  path: string;
  width: number;
  height: number;
  fps: number;
  /** The upload itself: the clip carries its sound, not the engine's 16 kHz copy. */
  audioPath: string;
  /** Length of that sound when the caller has decoded it already; otherwise it is measured. */
  audioSeconds?: number | undefined;
  /** A shorter clip than the sound, when the number of frames is limited. */
  seconds?: number | undefined;
  encoder?: VideoEncoder | undefined;
  /** Whether the frames are no work of a model; the file says so. */
  simulated?: boolean | undefined;
  /** A label in the picture itself. */
  mark?: Mark | undefined;
  signal?: AbortSignal | undefined;
}

/** How long ffmpeg may take to accept one write, and beyond the clip's own length to finish. */
const STALL_MS = 60_000;

function encodeFailed(why: string): CodedError {
  return new CodedError('VIDEO_ENCODE_FAILED', `the video could not be written: ${why}`);
}

/** Up to version 5, ffmpeg ends well when it could not write the end of the file. */
const unwritten = /error (?:writing trailer|closing file)|no space left on device/i;

function explain(stderr: string): CodedError {
  if (/no space left on device/i.test(stderr)) {
    return new CodedError('STORAGE_FULL', "the disk of the worker's files is full");
  }
  return /unknown encoder/i.test(stderr)
    ? encodeFailed('this ffmpeg was built without that encoder; install one that has libx264')
    : encodeFailed(lastLine(stderr));
}

function checkOptions({ width, height, fps, seconds }: VideoOptions): void {
  const size = (value: number): boolean => Number.isInteger(value) && value > 0 && value % 2 === 0;
  if (!size(width) || !size(height)) {
    throw encodeFailed(`width and height must be even numbers of pixels, not ${width}x${height}`);
  }
  if (!(fps > 0 && fps <= 240))
    throw encodeFailed(`fps must be above 0 and at most 240, not ${fps}`);
  if (seconds !== undefined && !(seconds > 0)) {
    throw encodeFailed(`the clip must last longer than ${seconds} s`);
  }
}

/**
 * One MP4 in the making. Frames go straight into ffmpeg, so nothing grows with the clip; a write
 * resolves when ffmpeg has taken the frames, and their memory may be reused then.
 */
export class VideoWriter {
  /** Frames the clip will have: as many as its sound lasts. */
  readonly frames: number;
  #run: ToolRun;
  #frameBytes: number;
  #seconds: number;
  #written = 0;
  #last: Buffer;
  #mark: (frames: Buffer) => Buffer;
  #exit: Promise<void>;
  #ended = false;

  constructor(
    run: ToolRun,
    options: VideoOptions,
    seconds: number,
    mark: (frames: Buffer) => Buffer,
  ) {
    this.#run = run;
    this.#seconds = seconds;
    this.#mark = mark;
    this.#frameBytes = options.width * options.height * 3;
    this.#last = Buffer.alloc(this.#frameBytes);
    this.frames = Math.max(1, Math.ceil(seconds * options.fps - 1e-6));
    this.#exit = run.done
      .then(async ({ code, stderr }) => {
        if (code !== 0 || unwritten.test(stderr)) throw explain(stderr);
        if (!this.#ended) throw encodeFailed('ffmpeg ended before the last frame');
        await appendFile(options.path, xmpBox(options.simulated ?? false)).catch(
          (error: NodeJS.ErrnoException) => {
            throw explain(error.code === 'ENOSPC' ? 'no space left on device' : error.message);
          },
        );
      })
      .catch(async (error: unknown) => {
        this.#ended = true;
        await rm(options.path, { force: true });
        throw error;
      })
      .finally(() => rm(soundPath(options), { force: true }));
    this.#exit.catch(() => {});
  }

  /** One or more whole RGB24 frames. Frames past the end of the sound are dropped. */
  async write(rgb: Uint8Array): Promise<void> {
    if (this.#ended) {
      await this.#exit;
      throw encodeFailed('frames came after the end');
    }
    if (rgb.length === 0 || rgb.length % this.#frameBytes !== 0) {
      throw encodeFailed(
        `frames of ${this.#frameBytes} bytes were expected, ${rgb.length} bytes came`,
      );
    }
    const wanted = Math.min(rgb.length / this.#frameBytes, this.frames - this.#written);
    if (wanted <= 0) return;
    const frames = Buffer.from(rgb.buffer, rgb.byteOffset, wanted * this.#frameBytes);
    const bytes = this.#mark(frames);
    bytes.copy(this.#last, 0, bytes.length - this.#frameBytes);
    await this.#push(bytes);
    this.#written += wanted;
  }

  /** Holds the last frame until the sound ends, closes the file and resolves when it is playable. */
  async finish(): Promise<void> {
    if (this.#ended) {
      await this.#exit;
      throw encodeFailed('it was finished before');
    }
    if (this.#written === 0) {
      await this.abort();
      throw encodeFailed('no frame came');
    }
    for (; this.#written < this.frames; this.#written++) await this.#push(this.#last);
    this.#ended = true;
    this.#run.stdin?.end();
    await this.#watch(this.#exit, STALL_MS + this.#seconds * 1000);
  }

  /** Stops ffmpeg and removes what it wrote. May be called at any time, also twice. */
  async abort(): Promise<void> {
    this.#ended = true;
    this.#run.kill(encodeFailed('it was aborted'));
    await this.#exit.catch(() => {});
  }

  async #push(bytes: Buffer): Promise<void> {
    const taken = new Promise<void>((resolve, reject) => {
      // a failed write means that ffmpeg is gone; its exit says why
      const gone = (): void => {
        this.#exit.then(() => reject(encodeFailed('ffmpeg is gone')), reject);
      };
      const { stdin } = this.#run;
      if (stdin === null) gone();
      else stdin.write(bytes, (error) => (error ? gone() : resolve()));
    });
    await this.#watch(taken, STALL_MS);
  }

  async #watch<T>(work: Promise<T>, ms: number): Promise<T> {
    const timer = setTimeout(() => this.#run.kill(timedOut('ffmpeg', ms)), ms);
    try {
      return await work;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** The samples of the clip's sound while it is made: ffmpeg that encodes never sees the upload. */
function soundPath({ path }: VideoOptions): string {
  return `${path}.pcm`;
}

async function writeSound(options: VideoOptions, samples: Buffer[]): Promise<void> {
  const path = soundPath(options);
  try {
    await writeFile(path, samples, { mode: 0o600, signal: options.signal });
  } catch (error) {
    await rm(path, { force: true });
    throwIfCancelled(options.signal);
    const { code, message } = error as NodeJS.ErrnoException;
    throw explain(code === 'ENOSPC' ? 'no space left on device' : message);
  }
}

/** Starts an MP4 of H.264 and AAC that is as long as the sound (or `seconds`, if that is shorter). */
export async function openVideo(options: VideoOptions): Promise<VideoWriter> {
  checkOptions(options);
  const { signal, width, height, fps, audioPath, path } = options;
  throwIfCancelled(signal);
  const info = await probeAudio(audioPath, { signal });
  const audioSeconds =
    options.audioSeconds ?? (await decodeAudio(audioPath, { signal })).length / SAMPLE_RATE;
  const seconds = Math.min(options.seconds ?? Infinity, audioSeconds);
  const mark = await marker(options.mark ?? 'off', options);
  const format = clipFormat(info);
  const sound = await decodeClip(audioPath, format, seconds, signal);
  await writeSound(options, sound);
  const run = startTool(
    'ffmpeg',
    [
      ...['-hide_banner', '-nostdin', '-loglevel', 'error', '-y'],
      ...['-f', 'rawvideo', '-pixel_format', 'rgb24'],
      ...['-video_size', `${width}x${height}`, '-framerate', String(fps), '-i', 'pipe:0'],
      ...['-f', 's16le', '-ar', String(format.sampleRate), '-ac', String(format.channels)],
      ...['-i', `file:${soundPath(options)}`],
      ...['-map', '0:v:0', '-map', '1:a:0', '-map_metadata', '-1', '-map_chapters', '-1'],
      ...videoArguments(options.encoder ?? { name: 'x264' }, fps),
      ...audioArguments(format),
      ...metadataArguments(options.simulated ?? false),
      ...['-movflags', '+faststart', '-f', 'mp4', `file:${path}`],
    ],
    { timeoutMs: null, input: true, signal },
  );
  return new VideoWriter(run, options, seconds, mark);
}
