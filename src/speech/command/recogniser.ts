import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../../config.js';
import { codeOf } from '../../errors.js';
import { isSilent } from '../../media/pcm.js';
import { soundOf } from '../../media/recording.js';
import { wavFile } from '../../media/wav.js';
import type { Recogniser, Recording, RecogniseOptions } from '../speech.js';
import { Program } from './program.js';
import { type Template, readTemplate } from './template.js';
import { languageNames, languageValues } from './values.js';

/** Programs say so where they hear nothing: `[BLANK_AUDIO]`, `(silence)`. */
const remark = /^\s*(\[[^\]]*\]|\([^)]*\))\s*$/;

/** A local program hears the recording as a 16 kHz mono WAV and prints its words. */
export class CommandRecogniser implements Recogniser {
  readonly name = 'command';
  readonly #template: Template;
  readonly #program: Program;
  readonly #maxSeconds: number;

  constructor(config: Pick<Config, 'speech' | 'providers' | 'tasks'>) {
    const line = config.speech.asrCommand ?? '';
    this.#template = readTemplate('ASR_COMMAND', line, {
      input: true,
      ...languageNames,
    });
    this.#maxSeconds = config.tasks.maxAudioSeconds;
    this.#program = new Program(this.#template.program, {
      failed: 'ASR_FAILED',
      unavailable: 'ASR_UNAVAILABLE',
      timeoutMs: config.providers.timeoutMs,
      maxOutputBytes: 1024 * 1024,
    });
  }

  async recognise(recording: Recording, { signal, language }: RecogniseOptions): Promise<string> {
    const wav = await this.#heard(recording, signal);
    if (wav === undefined) return '';
    const output = await this.#program.inTurn(async (folder) => {
      const input = join(folder, 'speech.wav');
      if (this.#template.uses('input')) await writeFile(input, wav, { mode: 0o600 });
      const args = this.#template.fill({ input, ...languageValues(language) });
      const stdin = this.#template.uses('input') ? new Uint8Array() : wav;
      return this.#program.run(args, stdin, folder, signal);
    }, signal);
    const lines = output.toString('utf8').split(/\r?\n/);
    return lines
      .filter((line) => !remark.test(line))
      .join(' ')
      .replace(/\s+/g, ' ')
      .trim();
  }

  /** The recording as a WAV of our own making; undefined when it is silent. */
  async #heard(recording: Recording, signal: AbortSignal): Promise<Buffer | undefined> {
    try {
      const sound = await soundOf(recording, { signal, maxSeconds: this.#maxSeconds });
      return isSilent(sound) ? undefined : wavFile(sound.pcm, sound.sampleRate);
    } catch (error) {
      if (codeOf(error) === 'MEDIA_CANCELLED') signal.throwIfAborted();
      throw error;
    }
  }
}
