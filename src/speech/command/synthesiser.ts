import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../../config.js';
import { CodedError, codeOf } from '../../errors.js';
import { mixedDown } from '../../media/pcm.js';
import { recordingOf, soundOf } from '../../media/recording.js';
import { readWav } from '../../media/wav.js';
import type { SpeakOptions, Speech, Synthesiser } from '../speech.js';
import { Program } from './program.js';
import { type Template, readTemplate } from './template.js';
import { languageNames, languageValues, oneLine, textArgument, voiceName } from './values.js';

const maxCharacters = 20_000;
const maxOutputBytes = 128 * 1024 * 1024;
/** Voices of roles that the program does not have are remembered, so many of them. */
const maxUnknown = 1000;

/** A local program gets a text and makes a WAV of it. */
export class CommandSynthesiser implements Synthesiser {
  readonly name = 'command';
  readonly #template: Template;
  readonly #program: Program;
  readonly #voice: string | undefined;
  readonly #maxSeconds: number;
  readonly #unknownVoices = new Set<string>();

  constructor(config: Pick<Config, 'speech' | 'providers' | 'tasks'>) {
    const line = config.speech.ttsCommand ?? '';
    this.#voice = config.speech.ttsVoice;
    this.#template = readTemplate('TTS_COMMAND', line, {
      text: true,
      output: true,
      voice: this.#voice !== undefined,
      ...languageNames,
      rate: true,
      stretch: true,
      pitch: true,
    });
    this.#maxSeconds = config.tasks.maxAudioSeconds;
    this.#program = new Program(this.#template.program, {
      failed: 'TTS_FAILED',
      unavailable: 'TTS_UNAVAILABLE',
      timeoutMs: config.providers.timeoutMs,
      maxOutputBytes,
    });
  }

  async speak(text: string, options: SpeakOptions): Promise<Speech> {
    const line = oneLine(text);
    if (line.length > maxCharacters) {
      const most = `${this.#template.program} is given at most ${maxCharacters} characters at once`;
      throw new CodedError('TTS_FAILED', `${most}; this text has ${line.length}`);
    }
    const wanted = voiceName(options.voice);
    const chosen = wanted !== undefined && !this.#unknownVoices.has(wanted) ? wanted : undefined;
    if (chosen === undefined || !this.#template.uses('voice')) {
      return this.#spoken(line, this.#voice, options);
    }
    try {
      return await this.#spoken(line, chosen, options);
    } catch (error) {
      if (codeOf(error) !== 'TTS_FAILED') throw error;
      // a role may name the voice of another provider
      const speech = await this.#spoken(line, this.#voice, options);
      if (this.#unknownVoices.size < maxUnknown) this.#unknownVoices.add(chosen);
      return speech;
    }
  }

  async #spoken(text: string, voice: string | undefined, options: SpeakOptions): Promise<Speech> {
    const { signal, language, rate = 1, pitch = 1 } = options;
    const wav = await this.#program.inTurn(async (folder) => {
      const output = join(folder, 'speech.wav');
      const args = this.#template.fill({
        text: textArgument(text),
        output,
        voice,
        ...languageValues(language),
        rate,
        stretch: 1 / rate,
        pitch,
      });
      const printed = await this.#program.run(args, Buffer.from(`${text}\n`), folder, signal);
      return this.#template.uses('output') ? this.#written(output) : printed;
    }, signal);
    return this.#sound(wav, signal);
  }

  async #written(path: string): Promise<Buffer> {
    const bytes = await stat(path).then(
      (found) => found.size,
      () => undefined,
    );
    if (bytes === undefined) throw this.#noSound('wrote no file at {output}');
    if (bytes > maxOutputBytes) throw this.#noSound(`wrote ${bytes} bytes`);
    return readFile(path);
  }

  /** 16-bit WAVs are read here, everything else by ffmpeg. */
  async #sound(file: Buffer, signal: AbortSignal): Promise<Speech> {
    const wav = readWav(file);
    if (wav !== undefined) {
      return { pcm: mixedDown(wav.pcm, wav.channels), sampleRate: wav.sampleRate };
    }
    try {
      return await soundOf(await recordingOf(file), { signal, maxSeconds: this.#maxSeconds });
    } catch (error) {
      signal.throwIfAborted();
      throw this.#noSound(`made no sound (${(error as Error).message})`);
    }
  }

  #noSound(how: string): CodedError {
    const text = `${this.#template.program} ${how}; TTS_COMMAND must write a WAV to {output} or to its standard output`;
    return new CodedError('TTS_FAILED', text);
  }
}
