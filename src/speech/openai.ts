import { type OpenAI, toFile } from 'openai';
import type { Config } from '../config.js';
import { CodedError } from '../errors.js';
import type { Log } from '../log.js';
import { mixedDown } from '../media/pcm.js';
import { recordingOf, soundOf } from '../media/recording.js';
import { readWav } from '../media/wav.js';
import {
  type FailureCodes,
  type OpenAiService,
  excerpt,
  failureOf,
  openAiClient,
} from '../provider/openai.js';
import { type Resilient, resilient } from '../provider/resilience.js';
import type {
  Recogniser,
  RecogniseOptions,
  Recording,
  SpeakOptions,
  Speech,
  Synthesiser,
} from './speech.js';

const asrCodes: FailureCodes = { failed: 'ASR_FAILED', unavailable: 'ASR_UNAVAILABLE' };
const ttsCodes: FailureCodes = { failed: 'TTS_FAILED', unavailable: 'TTS_UNAVAILABLE' };

const MIN_SPEED = 0.25;
const MAX_SPEED = 4;
/** Ten minutes of the finest sound that any service speaks in. */
const MAX_SPEECH_BYTES = 64 * 1024 * 1024;
/** What most services speak in. */
const SPEECH_RATE = 24_000;
const MAX_REMEMBERED = 1000;

/** `/audio/transcriptions` of any OpenAI-compatible server. */
export function openaiRecogniser(config: Config, log: Log): Recogniser {
  return new OpenAiRecogniser(config, log);
}

/** `/audio/speech` of any OpenAI-compatible server. There is no pitch in it: `pitch` is ignored. */
export function openaiSynthesiser(config: Config, log: Log): Synthesiser {
  return new OpenAiSynthesiser(config, log);
}

function serviceOf(config: Config): OpenAiService {
  return { name: 'openai', ...config.providers.openai };
}

class OpenAiRecogniser implements Recogniser {
  readonly name = 'openai';
  readonly #service: OpenAiService;
  readonly #client: OpenAI;
  readonly #model: string;
  readonly #resilient: Resilient;

  constructor(config: Config, log: Log) {
    this.#service = serviceOf(config);
    this.#client = openAiClient(this.#service);
    this.#model = config.speech.asrModel ?? 'whisper-1';
    this.#resilient = resilient('asr:openai', config.providers, log);
  }

  /** Rejects with ASR_FAILED, ASR_UNAVAILABLE, PROVIDER_TIMEOUT or the reason of the signal. */
  async recognise(recording: Recording, options: RecogniseOptions): Promise<string> {
    const language = languageOf(options.language);
    return this.#resilient.run(async (signal) => {
      try {
        // services judge by the name of the file
        const name = `recording.${recording.extension.replace(/[^A-Za-z0-9]/g, '') || 'wav'}`;
        const file = await toFile(recording.data, name, { type: recording.mime });
        const answer: unknown = await this.#client.audio.transcriptions.create(
          { file, model: this.#model, ...(language === undefined ? {} : { language }) },
          { signal },
        );
        return this.#textOf(answer);
      } catch (error) {
        throw failureOf(error, this.#service, asrCodes);
      }
    }, options.signal);
  }

  #textOf(answer: unknown): string {
    if (typeof answer === 'string') return answer.trim();
    const text = (answer as { text?: unknown } | null)?.text;
    if (typeof text === 'string') return text.trim();
    const found = excerpt(JSON.stringify(answer) ?? 'nothing', this.#service);
    throw new CodedError(
      'ASR_FAILED',
      `expected {"text": ...} from the service openai, it answered ${found}`,
    );
  }
}

/** The part of a BCP 47 tag that the API takes: `zh` of `zh-CN`. */
function languageOf(tag: string | undefined): string | undefined {
  const language = /^[A-Za-z]{2,3}(?=-|$)/.exec(tag ?? '')?.[0].toLowerCase();
  return language === 'cmn' ? 'zh' : language;
}

class OpenAiSynthesiser implements Synthesiser {
  readonly name = 'openai';
  readonly #service: OpenAiService;
  readonly #client: OpenAI;
  readonly #model: string;
  readonly #voice: string;
  readonly #resilient: Resilient;
  readonly #log: Log;
  /** Voices of other services, which roles may bring. */
  readonly #unknown = new Set<string>();

  constructor(config: Config, log: Log) {
    this.#service = serviceOf(config);
    this.#client = openAiClient(this.#service);
    this.#model = config.speech.ttsModel ?? 'tts-1';
    this.#voice = config.speech.ttsVoice ?? 'alloy';
    this.#resilient = resilient('tts:openai', config.providers, log);
    this.#log = log;
  }

  /** Rejects with TTS_FAILED, TTS_UNAVAILABLE, PROVIDER_TIMEOUT or the reason of the signal. */
  async speak(text: string, options: SpeakOptions): Promise<Speech> {
    const { voice } = options;
    // there is nothing to say in "...", and services refuse it
    if (!/[\p{L}\p{N}]/u.test(text)) return { pcm: new Uint8Array(0), sampleRate: SPEECH_RATE };
    if (voice === undefined || voice === this.#voice || this.#unknown.has(voice)) {
      return this.#speakAs(this.#voice, text, options);
    }
    try {
      return await this.#speakAs(voice, text, options);
    } catch (error) {
      if (!(error instanceof UnknownVoice)) throw error;
      this.#log.info({ voice }, `the service openai does not know this voice: ${error.message}`);
      if (this.#unknown.size < MAX_REMEMBERED) this.#unknown.add(voice);
      return this.#speakAs(this.#voice, text, options);
    }
  }

  #speakAs(voice: string, text: string, { rate, signal: caller }: SpeakOptions): Promise<Speech> {
    const speed = Math.min(MAX_SPEED, Math.max(MIN_SPEED, rate ?? 1));
    return this.#resilient.run(async (signal) => {
      try {
        const response = await this.#client.audio.speech.create(
          {
            ...{ model: this.#model, voice, input: text, response_format: 'wav' },
            ...(speed === 1 ? {} : { speed }),
          },
          { signal },
        );
        return await this.#speechOf(response, signal);
      } catch (error) {
        const failure = failureOf(error, this.#service, ttsCodes);
        throw voice !== this.#voice && isAboutVoice(error) ? new UnknownVoice(failure) : failure;
      }
    }, caller);
  }

  /** Some servers answer in a format of their own choice. */
  async #speechOf(response: Response, signal: AbortSignal): Promise<Speech> {
    const bytes = await bodyOf(response);
    const wav = readWav(bytes);
    if (wav !== undefined) {
      return { pcm: mixedDown(wav.pcm, wav.channels), sampleRate: wav.sampleRate };
    }
    try {
      return await soundOf(await recordingOf(bytes), { signal });
    } catch (error) {
      const type = excerpt(response.headers.get('content-type') ?? 'no type', this.#service);
      const text = `expected a WAV file from the service openai, it answered ${bytes.length} bytes (${type})`;
      throw new CodedError('TTS_FAILED', text, { cause: error });
    }
  }
}

class UnknownVoice extends CodedError {
  constructor(failure: CodedError) {
    super(failure.code, failure.message);
  }
}

function isAboutVoice(error: unknown): boolean {
  const { status, message, param } = error as { status?: number; message?: string; param?: string };
  return (
    [400, 404, 422].includes(status ?? 0) && (param === 'voice' || /voice/i.test(message ?? ''))
  );
}

async function bodyOf(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > MAX_SPEECH_BYTES) {
      const text = `the service openai answered with more than ${MAX_SPEECH_BYTES} bytes for a sentence`;
      throw new CodedError('TTS_FAILED', text);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
