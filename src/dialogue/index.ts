import type { Config } from '../config.js';
import type { Log } from '../log.js';
import { ChatDialogue } from './chat.js';
import type { Dialogue } from './dialogue.js';
import { EchoDialogue } from './echo.js';

export type { Character, Dialogue, ReplyRequest, Utterance } from './dialogue.js';
export {
  type ProfileField,
  type UserProfile,
  listeningFeedback,
  opening,
  profileGreeting,
} from './openings.js';
export { partsOf } from './parts.js';
export { sentencesOf } from './sentences.js';
export { spokenText } from './spoken.js';

/** The dialogue that the settings choose. */
export function createDialogue(config: Config, log: Log): Dialogue {
  const { provider, model } = config.dialogue;
  const { openai, dashscope } = config.providers;
  switch (provider) {
    case 'echo':
      return new EchoDialogue();
    case 'openai':
      // loadConfig demands a model; servers with a single one ignore its name
      return new ChatDialogue(
        { name: 'openai', ...openai, model: model ?? 'default' },
        config.providers,
        log,
      );
    case 'dashscope':
      return new ChatDialogue(
        {
          name: 'dashscope',
          url: dashscope.compatibleUrl,
          apiKey: dashscope.apiKey,
          headers:
            dashscope.workspace === undefined
              ? {}
              : { 'X-DashScope-WorkSpace': dashscope.workspace },
          model: model ?? 'qwen-plus',
          // a voice cannot wait for thoughts
          extra: { enable_thinking: false },
        },
        config.providers,
        log,
      );
  }
}
