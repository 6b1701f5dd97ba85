import type { Config } from '../../config.js';
import { CodedError } from '../../errors.js';
import type { Log } from '../../log.js';
import { type Resilient, resilient } from '../../provider/resilience.js';
import type { SpeakOptions, Speech, Synthesiser } from '../speech.js';
import { Connection } from './connection.js';
import { Failures, ServiceRefusal } from './failures.js';
import type { SpeechRequest } from './frames.js';
import { ConnectionPool, Gate } from './pool.js';
import { Unanswered, speakTask } from './task.js';
import { MAX_TASK_UNITS, framesOf, isSpoken, textUnits } from './text.js';

export interface SynthesiserLimits {
  readonly connectMs: number;
  readonly startedMs: number;
  /** The service closes a socket that is quiet for 23 s: we leave before. */
  readonly idleMs: number;
  /** Tasks, and so sockets, at a time; further sentences wait. */
  readonly sockets: number;
}

const usual: SynthesiserLimits = { connectMs: 5000, startedMs: 10_000, idleMs: 20_000, sockets: 8 };

const SAMPLE_RATE = 24_000;
const MAX_REMEMBERED = 1000;

export const defaultTtsModel = 'cosyvoice-v3-flash';
/** Voices belong to one generation of models; the first that fits is taken. */
const defaultVoices: readonly [models: RegExp, voice: string][] = [
  [/^cosyvoice-v1/, 'longxiaochun'],
  [/^cosyvoice-v2/, 'longxiaochun_v2'],
  [/^qwen-audio-3\.0-tts-flash/, 'longanfengyue'],
  [/^qwen-audio-3\.0-tts-plus/, 'longanlingxin'],
  [/^qwen-audio-3\.1-tts-flash/, 'longanhuan_v3.1'],
  [/^/, 'longanyang'],
];

export function dashscopeSynthesiser(
  config: Config,
  log: Log,
  limits: Partial<SynthesiserLimits> = {},
): Synthesiser {
  return new DashscopeSynthesiser(config, log, { ...usual, ...limits });
}

class DashscopeSynthesiser implements Synthesiser {
  readonly name = 'dashscope';
  readonly #model: string;
  readonly #voice: string;
  readonly #limits: SynthesiserLimits;
  readonly #failures: Failures;
  readonly #service: Resilient;
  readonly #gate: Gate;
  readonly #pool: ConnectionPool;
  readonly #log: Log;
  /** Voices of other models and services, which roles may bring. */
  readonly #unknown = new Set<string>();
  readonly #closing = new AbortController();

  constructor(config: Config, log: Log, limits: SynthesiserLimits) {
    const { apiKey = '', workspace, socketUrl } = config.providers.dashscope;
    const model = config.speech.ttsModel ?? defaultTtsModel;
    this.#model = model;
    this.#voice = config.speech.ttsVoice ?? defaultVoice(model);
    this.#limits = limits;
    this.#log = log;
    this.#failures = new Failures('tts', apiKey, model);
    this.#service = resilient('tts:dashscope', config.providers, log);
    this.#gate = new Gate(limits.sockets);
    const headers = {
      Authorization: `Bearer ${apiKey}`,
      ...(workspace === undefined ? {} : { 'X-DashScope-WorkSpace': workspace }),
    };
    const { connectMs, idleMs } = limits;
    this.#pool = new ConnectionPool(
      (signal) => Connection.open({ url: socketUrl, headers, connectMs }, this.#failures, signal),
      idleMs,
    );
  }

  async speak(text: string, options: SpeakOptions): Promise<Speech> {
    const signal = AbortSignal.any([options.signal, this.#closing.signal]);
    signal.throwIfAborted();
    if (!isSpoken(text)) return { pcm: new Uint8Array(), sampleRate: SAMPLE_RATE };
    const units = textUnits(text);
    if (units > MAX_TASK_UNITS) {
      throw new CodedError(
        'TEXT_TOO_LONG',
        `expected at most ${MAX_TASK_UNITS} units of text to speak (a Chinese character is two), got ${units}`,
      );
    }
    const request: SpeechRequest = {
      model: this.#model,
      voice: this.#known(options.voice),
      sampleRate: SAMPLE_RATE,
      rate: clamped(options.rate),
      pitch: clamped(options.pitch),
      pieces: framesOf(text),
    };
    const leave = await this.#gate.enter(signal);
    try {
      const pcm = await this.#inSomeVoice(request, signal);
      return { pcm, sampleRate: SAMPLE_RATE };
    } finally {
      leave();
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new CodedError('TTS_UNAVAILABLE', 'the speech synthesis is shutting down'));
    this.#pool.close();
  }

  #known(voice = this.#voice): string {
    return this.#unknown.has(voice) ? this.#voice : voice;
  }

  /** In the voice that is wanted, or in ours if the model does not have that one. */
  async #inSomeVoice(request: SpeechRequest, signal: AbortSignal): Promise<Uint8Array> {
    const { voice } = request;
    try {
      return await this.#service.run((signal) => this.#speak(request, signal), signal);
    } catch (error) {
      const isForeign = error instanceof ServiceRefusal && error.isAboutVoice;
      if (!isForeign || voice === this.#voice) throw error;
      this.#log.info({ voice }, `${this.#voice} speaks instead: ${error.message}`);
      if (this.#unknown.size < MAX_REMEMBERED) this.#unknown.add(voice);
      const ours = { ...request, voice: this.#voice };
      return this.#service.run((signal) => this.#speak(ours, signal), signal);
    }
  }

  async #speak(request: SpeechRequest, signal: AbortSignal): Promise<Uint8Array> {
    const { startedMs } = this.#limits;
    for (;;) {
      const connection = await this.#pool.take(signal);
      const { used } = connection;
      try {
        const samples = await speakTask(connection, request, {
          startedMs,
          failures: this.#failures,
          signal,
        });
        this.#pool.give(connection);
        return samples;
      } catch (error) {
        if (!(error instanceof Unanswered)) throw error;
        // the service had closed an idle socket in the meantime: a new one has no such excuse
        if (!used) throw this.#failures.lost(`a new connection was ${error.message}`);
      }
    }
  }
}

function defaultVoice(model: string): string {
  return defaultVoices.find(([models]) => models.test(model))?.[1] ?? 'longanyang';
}

function clamped(factor = 1): number {
  if (Number.isNaN(factor)) return 1;
  return Math.min(2, Math.max(0.5, factor));
}
