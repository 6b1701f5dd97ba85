import { CodedError } from '../../errors.js';

export interface RecordingLimits {
  readonly maxBytes: number;
  readonly maxSeconds: number;
  /** How long the next piece may take. */
  readonly pauseMs?: number;
}

/** A whole recording as it arrived; `sampleRate` when its bytes are bare 16-bit mono samples. */
export interface Collected {
  readonly data: Uint8Array;
  readonly sampleRate: number | undefined;
}

const defaultRate = 16_000;

/** A recording that arrives in pieces, within limits. */
export class PiecewiseRecording {
  /** The recording after its last piece; rejects with a CodedError when it cannot be had. */
  readonly complete: Promise<Collected>;
  readonly #limits: RecordingLimits;
  readonly #sampleRate: number | undefined;
  readonly #pieces: Uint8Array[] = [];
  #bytes = 0;
  #over = false;
  #pause: NodeJS.Timeout | undefined;
  #resolve!: (collected: Collected) => void;
  #reject!: (error: Error) => void;

  /** `format` as clients name it: anything with `pcm`, `l16` or `s16le` has no header. */
  constructor(format: string | undefined, limits: RecordingLimits) {
    this.#limits = limits;
    this.#sampleRate = sampleRateOf(format);
    this.complete = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.complete.catch(() => undefined);
  }

  add(piece: Uint8Array): void {
    if (this.#over) return;
    clearTimeout(this.#pause);
    this.#bytes += piece.length;
    const { maxBytes, maxSeconds, pauseMs = 60_000 } = this.#limits;
    const rate = this.#sampleRate;
    if (this.#bytes > maxBytes) {
      const most = `${Math.floor(maxBytes / 1024 / 1024)} MiB`;
      return this.#fail('FILE_TOO_LARGE', `the recording is larger than the ${most} allowed`);
    }
    if (rate !== undefined && this.#bytes > maxSeconds * rate * 2) {
      return this.#fail(
        'AUDIO_TOO_LONG',
        `the recording is longer than the ${maxSeconds} s allowed`,
      );
    }
    this.#pieces.push(piece);
    this.#pause = setTimeout(() => {
      this.abandon(`no piece came for ${pauseMs / 1000} s; the last one has is_last: true`);
    }, pauseMs).unref();
  }

  finish(): void {
    if (this.#over) return;
    if (this.#bytes === 0) return this.#fail('AUDIO_EMPTY', 'the recording has no bytes');
    this.#stop();
    this.#resolve({ data: Buffer.concat(this.#pieces), sampleRate: this.#sampleRate });
  }

  abandon(why: string): void {
    this.#fail('RECORDING_ABANDONED', `the recording ended without its last piece: ${why}`);
  }

  #fail(
    code: 'FILE_TOO_LARGE' | 'AUDIO_TOO_LONG' | 'AUDIO_EMPTY' | 'RECORDING_ABANDONED',
    message: string,
  ): void {
    if (this.#over) return;
    this.#stop();
    this.#pieces.length = 0;
    this.#reject(new CodedError(code, message));
  }

  #stop(): void {
    this.#over = true;
    clearTimeout(this.#pause);
  }
}

function sampleRateOf(format: string | undefined): number | undefined {
  if (format === undefined || !/pcm|l16|s16le/i.test(format)) return undefined;
  const rate = Number(/rate=(\d{4,6})\b/i.exec(format)?.[1] ?? defaultRate);
  return rate >= 8000 && rate <= 192_000 ? rate : defaultRate;
}
