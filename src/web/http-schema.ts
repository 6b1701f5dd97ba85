import { type Static, Type } from 'typebox';
import { success } from '../answers.js';

const most = (description: string) => Type.Number({ description });

/** What a page has to know of the server before it offers anything. */
export const infoAnswer = Type.Object({
  success,
  auth: Type.Enum(['required', 'optional'], { description: 'whether talking needs a login' }),
  registration: Type.Enum(['open', 'closed']),
  api_token: Type.Boolean({ description: 'whether temp files need a login, or the API token' }),
  recognises_words: Type.Boolean({ description: 'false: a recording is spoken as it is' }),
  max_bytes: Type.Object({ image: Type.Integer(), audio: Type.Integer(), video: Type.Integer() }),
  max_audio_seconds: most('of a recording'),
  max_text: most('characters of a message'),
});
export type Info = Static<typeof infoAnswer>;
