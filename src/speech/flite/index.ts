import { availableParallelism } from 'node:os';
import type { Config } from '../../config.js';
import { CodedError } from '../../errors.js';
import type { Log } from '../../log.js';
import { joinSpeech } from '../../media/pcm.js';
import type { SpeakOptions, Speech, Synthesiser } from '../speech.js';
import { type FliteJob, FlitePool, ThreadLost } from './pool.js';
import { hasLetters, hasWords, pieces, readable } from './text.js';

export const fliteVoices: ReadonlySet<string> = new Set(['slt', 'awb', 'rms', 'kal', 'kal16']);
const defaultVoice = 'slt';
const maxCharacters = 20_000;
/** Spoken at once; an abort takes effect between two. */
const pieceCharacters = 300;
const maxThreads = 4;

/** The embedded voices: English, offline, without any setting. */
export class Flite implements Synthesiser {
  readonly name = 'flite';
  readonly #pool: FlitePool;
  readonly #voice: string;
  #closed = false;

  constructor(config: Pick<Config, 'speech' | 'providers'>, log: Log) {
    const threads = Math.min(maxThreads, availableParallelism());
    this.#pool = new FlitePool({ threads, timeoutMs: config.providers.timeoutMs });
    const { ttsVoice } = config.speech;
    if (ttsVoice !== undefined && !fliteVoices.has(ttsVoice)) {
      const known = [...fliteVoices].join(', ');
      log.warn(`flite has no voice ${ttsVoice} (TTS_VOICE); it has ${known} and takes slt`);
    }
    this.#voice = known(ttsVoice) ?? defaultVoice;
    this.#warmUp().catch((error: unknown) => {
      if (!this.#closed) log.error({ err: error }, 'flite could not be started');
    });
  }

  /** The pool, for tests. */
  get pool(): FlitePool {
    return this.#pool;
  }

  async speak(text: string, options: SpeakOptions): Promise<Speech> {
    options.signal.throwIfAborted();
    if (text.length > maxCharacters) {
      const most = `flite speaks at most ${maxCharacters} characters at once`;
      throw new CodedError('TTS_FAILED', `${most}; this text has ${text.length}`);
    }
    const words = readable(text);
    if (!hasWords(words) && hasLetters(text)) {
      throw new CodedError(
        'TTS_FAILED',
        'flite speaks English only, and this text has no letter or digit that it could read; set TTS to dashscope, openai or command (espeak-ng) for other languages',
      );
    }
    if (!hasWords(words)) return silence();
    const voice = known(options.voice) ?? this.#voice;
    const features = featuresOf(options);
    const parts: Speech[] = [];
    for (const piece of pieces(words, pieceCharacters)) {
      parts.push(await this.#run({ text: piece, voice, features }, options.signal));
    }
    return joinSpeech(parts);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#pool.close();
  }

  /** Compiled and run once, the code is fast when the first sentence comes. */
  async #warmUp(): Promise<void> {
    const text = 'Hello, how are you?';
    await this.#run({ text, voice: this.#voice, features: {} }, new AbortController().signal);
  }

  async #run(job: FliteJob, signal: AbortSignal): Promise<Speech> {
    try {
      try {
        return await this.#pool.run(job, signal);
      } catch (error) {
        if (!(error instanceof ThreadLost)) throw error;
        return await this.#pool.run(job, signal);
      }
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof CodedError) throw error;
      const text = `flite could not speak: ${(error as Error).message}`;
      throw new CodedError('TTS_FAILED', text, { cause: error });
    }
  }
}

function known(voice: string | undefined): string | undefined {
  return voice !== undefined && fliteVoices.has(voice) ? voice : undefined;
}

function featuresOf({ rate = 1, pitch = 1 }: SpeakOptions): Record<string, number> {
  const features: Record<string, number> = {};
  if (rate !== 1) features['duration_stretch'] = 1 / clamp(rate);
  if (pitch !== 1) features['f0_shift'] = clamp(pitch);
  return features;
}

function clamp(factor: number): number {
  return Math.min(2, Math.max(0.5, factor));
}

function silence(): Speech {
  const sampleRate = 16_000;
  return { pcm: new Uint8Array(sampleRate * 2 * 0.2), sampleRate };
}
