import { randomUUID } from 'node:crypto';
import type { Config } from '../../config.js';
import type { Log } from '../../log.js';
import { soundOf } from '../../media/recording.js';
import { readWav, wavFile } from '../../media/wav.js';
import { type Resilient, resilient } from '../../provider/resilience.js';
import type { RecogniseOptions, Recogniser, Recording } from '../speech.js';
import { Failures, ServiceRefusal } from './failures.js';
import { type Family, familyOf, noSpeech } from './families.js';
import { DashscopeHttp } from './http.js';

const PATH = 'services/aigc/multimodal-generation/generation';
/** "10 MB" of the whole data URI, read in the narrow way. */
const MAX_DATA_URI = 10_000_000;
/** Codes that say that nobody speaks. */
const silences = new Set(['SUCCESS_WITH_NO_VALID_FRAGMENT', 'ASR_RESPONSE_HAVE_NO_WORDS']);

export const defaultAsrModel = 'qwen3-asr-flash';

export function dashscopeRecogniser(config: Config, log: Log): Recogniser {
  return new DashscopeRecogniser(config, log);
}

class DashscopeRecogniser implements Recogniser {
  readonly name = 'dashscope';
  readonly #model: string;
  readonly #family: Family;
  readonly #failures: Failures;
  readonly #http: DashscopeHttp;
  readonly #service: Resilient;

  constructor(config: Config, log: Log) {
    const { dashscope } = config.providers;
    this.#model = config.speech.asrModel ?? defaultAsrModel;
    this.#family = familyOf(this.#model);
    this.#failures = new Failures('asr', dashscope.apiKey ?? '', this.#model);
    this.#http = new DashscopeHttp(dashscope, this.#failures);
    this.#service = resilient('asr:dashscope', config.providers, log);
  }

  async recognise(given: Recording, options: RecogniseOptions): Promise<string> {
    options.signal.throwIfAborted();
    const recording = await this.#readable(given, options.signal);
    // kept from one attempt to the next
    let uploaded: string | undefined;
    return this.#service.run(async (signal) => {
      try {
        uploaded ??= await this.#address(recording, signal);
        return await this.#ask(recording, uploaded, options.language, signal);
      } catch (error) {
        signal.throwIfAborted();
        throw this.#failures.foreign(error);
      }
    }, options.signal);
  }

  /** The recording itself where the models read its format, else a WAV of it. */
  async #readable(recording: Recording, signal: AbortSignal): Promise<Recording> {
    const { data, extension, mime } = recording;
    const isRead = this.#family.formats.has(extension) && mime.startsWith('audio/');
    if (isRead && (extension !== 'wav' || readWav(data) !== undefined)) return recording;
    try {
      const { pcm, sampleRate } = await soundOf(recording, { signal });
      return { data: wavFile(pcm, sampleRate), mime: 'audio/wav', extension: 'wav' };
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  }

  async #ask(
    recording: Recording,
    audio: string,
    language: string | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const body = this.#family.body({
      model: this.#model,
      audio,
      extension: recording.extension,
      sampleRate: readWav(recording.data)?.sampleRate,
      language,
    });
    const headers = {
      'x-dashscope-sse': this.#family.streams ? 'enable' : 'disable',
      ...(audio.startsWith('oss://') ? { 'x-dashscope-ossresourceresolve': 'enable' } : {}),
    };
    try {
      return await this.#read(this.#http.post(PATH, body, headers, signal));
    } catch (error) {
      if (error instanceof ServiceRefusal && silences.has(error.serviceCode)) return '';
      throw error;
    }
  }

  async #read(envelopes: AsyncIterable<unknown>): Promise<string> {
    let text = '';
    let ended = false;
    let empty = true;
    for await (const envelope of envelopes) {
      empty = false;
      const piece = this.#family.piece(envelope, this.#failures);
      text += piece.text;
      ended = piece.last;
      if (ended) break;
    }
    // a stream says where it ends; one reply is whole by itself
    if (this.#family.streams ? !ended : empty) throw this.#failures.lost('the reply has no end');
    const words = text.trim();
    return words === noSpeech ? '' : words;
  }

  /** How the service gets the recording, although it cannot reach us. */
  async #address({ data, mime, extension, publicUrl }: Recording, signal: AbortSignal) {
    if (publicUrl !== undefined) return publicUrl;
    const type = mime.split(';', 1)[0]?.trim() ?? mime;
    const head = `data:${type};base64,`;
    if (head.length + Math.ceil(data.length / 3) * 4 <= MAX_DATA_URI) {
      return head + Buffer.from(data).toString('base64');
    }
    const name = `${randomUUID()}.${extension}`;
    return this.#http.upload({ data, mime: type, name }, this.#model, signal);
  }
}
