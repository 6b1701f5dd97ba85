import { type Static, type TSchema, Type } from 'typebox';
import type { ErrorCode } from '../../errors.js';

const idText = Type.Union([Type.String({ maxLength: 200 }), Type.Integer(), Type.Null()], {
  description: 'a text of at most 200 characters',
});
const integerText = Type.String({ pattern: '^\\s*[+-]?[0-9]{1,9}\\s*$' });
const audio = Type.String({ minLength: 1, description: 'a recording in Base64' });
const duration = Type.Union(
  [Type.Number({ minimum: 0 }), Type.String({ pattern: '^[0-9]*[.]?[0-9]*$' }), Type.Null()],
  { description: 'seconds' },
);

/** What each frame of a client holds; in this order its fields are complained about. */
export const clientData = {
  text: Type.Object({ text: Type.String({ pattern: '\\S', description: 'a text' }) }),
  recording_started: Type.Object({ voice_session_id: Type.Optional(idText) }),
  audio_segment: Type.Object({
    voice_session_id: Type.Optional(idText),
    client_segment_id: Type.Optional(idText),
    audio_base64: audio,
    segment_index: Type.Union([Type.Integer(), integerText], { description: 'an integer from 0' }),
    is_last: Type.Optional(
      Type.Union([Type.Boolean(), Type.Null()], { description: 'true or false' }),
    ),
    duration: Type.Optional(duration),
  }),
  audio_message: Type.Object({ audio_base64: audio, duration: Type.Optional(duration) }),
  transcribe_only: Type.Object({ audio_base64: audio }),
  end_conversation: Type.Object({}),
} as const satisfies Record<string, TSchema>;

export type ClientType = keyof typeof clientData;

/** What each frame of the server holds. */
export const serverData = {
  connect: Type.Object({ status: Type.Literal('connected') }),
  agent_response: Type.Object({
    text: Type.String({ description: 'a part of the reply' }),
    index: Type.Integer({ minimum: 0 }),
    total: Type.Integer({ minimum: 1, description: 'parts of the reply' }),
  }),
  transcript: Type.Object({
    text: Type.String({ description: 'what was recognised' }),
    audio_duration: Type.Optional(
      Type.Number({ description: 'seconds; of an audio_message, which is answered as well' }),
    ),
  }),
  error: Type.Object({
    message: Type.String(),
    code: Type.Unsafe<ErrorCode>({ type: 'string', description: 'one of docs/errors.md' }),
    retry_after: Type.Optional(
      Type.Number({ description: 'seconds after which it is worth trying again' }),
    ),
  }),
  end_conversation: Type.Object({ status: Type.Literal('ended') }),
} as const satisfies Record<string, TSchema>;
export type ServerType = keyof typeof serverData;
export type ServerData<Name extends ServerType> = Static<(typeof serverData)[Name]>;
