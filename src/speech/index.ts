import type { Config } from '../config.js';
import type { Log } from '../log.js';
import { CommandRecogniser } from './command/recogniser.js';
import { CommandSynthesiser } from './command/synthesiser.js';
import { dashscopeRecogniser, dashscopeSynthesiser } from './dashscope/index.js';
import { Flite } from './flite/index.js';
import { openaiRecogniser, openaiSynthesiser } from './openai.js';
import { parrot } from './parrot.js';
import type { Recogniser, Synthesiser } from './speech.js';

/** What ASR names. Throws CONFIG_INVALID where it cannot work. */
export function createRecogniser(config: Config, log: Log): Recogniser {
  switch (config.speech.asr) {
    case 'parrot':
      return parrot;
    case 'command':
      return new CommandRecogniser(config);
    case 'dashscope':
      return dashscopeRecogniser(config, log);
    case 'openai':
      return openaiRecogniser(config, log);
  }
}

/** What TTS names. Throws CONFIG_INVALID where it cannot work. */
export function createSynthesiser(config: Config, log: Log): Synthesiser {
  switch (config.speech.tts) {
    case 'flite':
      return new Flite(config, log);
    case 'command':
      return new CommandSynthesiser(config);
    case 'dashscope':
      return dashscopeSynthesiser(config, log);
    case 'openai':
      return openaiSynthesiser(config, log);
  }
}
