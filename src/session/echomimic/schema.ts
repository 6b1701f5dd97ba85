import { type Static, Type } from 'typebox';
import type { ErrorCode } from '../../errors.js';
import { taskStatuses } from '../../queue/update.js';

const text = (description: string, maxLength: number) =>
  Type.String({ minLength: 1, maxLength, description });
const rate = Type.Number({ minimum: 0.5, maximum: 2, description: 'a number from 0.5 to 2' });
const sessionId = Type.Optional(text('the session_id of connection_ack', 200));

/** What each frame of a client holds; members that are not listed here are ignored. */
export const clientData = {
  request_connection: Type.Object({
    token: Type.Optional(Type.String({ maxLength: 8192, description: 'an access token' })),
    mode: Type.Optional(Type.Enum(['voice', 'video'], { description: '"voice" or "video"' })),
    role_id: Type.Optional(text('the id of a role', 200)),
    conversation_id: Type.Optional(
      Type.String({
        pattern: '^[A-Za-z0-9._:-]{1,128}$',
        description: '1 to 128 letters, digits and . _ : -',
      }),
    ),
    image_id: Type.Optional(text('the file_id of an uploaded picture', 2048)),
    voice_id: Type.Optional(text('the name of a voice, up to 200 characters', 200)),
    speech_rate: Type.Optional(rate),
    pitch_rate: Type.Optional(rate),
    session_id: sessionId,
    resume_token: Type.Optional(text('the resume_token of connection_ack', 200)),
    last_seq: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
        description: 'the seq of the last frame that arrived',
      }),
    ),
  }),
  audio_uploaded: Type.Object({
    session_id: sessionId,
    audio_url: text('the download URL or the file_id of an uploaded recording', 2048),
  }),
  audio_stream_chunk: Type.Object({
    session_id: sessionId,
    chunk: Type.String({ description: 'a piece of a recording in Base64' }),
    is_last: Type.Boolean({ description: 'true or false' }),
    format: Type.Optional(
      Type.String({ maxLength: 200, description: 'the name of a format, such as "pcm"' }),
    ),
  }),
  text_message: Type.Object({
    session_id: sessionId,
    text: Type.String({ description: 'what the user says, as a string' }),
  }),
  interrupt: Type.Object({ session_id: sessionId }),
  stop_session: Type.Object({ session_id: sessionId }),
};

export type ClientEvent = keyof typeof clientData;
export type ClientData<Name extends ClientEvent = ClientEvent> = Static<(typeof clientData)[Name]>;
export type ConnectionRequest = ClientData<'request_connection'>;

const mode = Type.Enum(['voice', 'video', 'text']);
const string = (description: string) => Type.String({ description });
const maybe = (description: string) => Type.Optional(string(description));
const url = (of: string) => string(`a download URL: ${of}`);
const turn_id = Type.Integer({ minimum: 1, description: 'counts the turns of the session' });
const task_id = Type.String();

/** What each frame of the server holds. */
export const serverData = {
  connection_ack: Type.Object({
    session_id: Type.String(),
    mode,
    ai_role: Type.Object({
      role_id: Type.String(),
      name: Type.String(),
      personality: Type.String(),
      image_url: string('empty: the role has no portrait'),
    }),
    chat_history: Type.Array(
      Type.Object({
        type: Type.Enum(['user', 'ai']),
        text: Type.String(),
        audio_url: maybe('a download URL'),
        video_url: maybe('a download URL'),
      }),
    ),
    conversation_id: maybe('of a conversation that is kept'),
    resume_token: string('for a client that lost its line'),
    resumed: Type.Boolean(),
  }),
  asr_result: Type.Object({
    user_text: string('what was recognised'),
    original_audio_url: Type.Optional(url('the recording')),
    turn_id,
  }),
  tts_audio: Type.Object({
    ai_text: string('a sentence of the reply'),
    audio_url: url('its voice'),
    turn_id,
    index: Type.Integer({ minimum: 0, description: 'counts the sentences of the reply' }),
    is_last: Type.Boolean(),
  }),
  task_submitted: Type.Object({
    task_id,
    message: Type.String(),
    position: Type.Integer({ minimum: 0, description: 'tasks ahead of it in its queue' }),
    turn_id,
  }),
  task_progress: Type.Object({
    task_id,
    status: Type.Enum([...taskStatuses]),
    percentage: Type.Number({ minimum: 0, maximum: 100 }),
    position: Type.Optional(
      Type.Integer({ minimum: 0, description: 'tasks ahead of it while it waits' }),
    ),
    message: Type.String(),
    turn_id,
  }),
  task_result: Type.Object({
    task_id,
    status: Type.Literal('completed'),
    video_url: url('the video'),
    turn_id,
  }),
  reply_interrupted: Type.Object({ turn_id }),
  error: Type.Object({
    code: Type.Unsafe<ErrorCode>({ type: 'string', description: 'one of docs/errors.md' }),
    message: Type.String(),
    retry_after: Type.Optional(
      Type.Number({ description: 'seconds after which it is worth trying again' }),
    ),
    task_id: Type.Optional(task_id),
    turn_id: Type.Optional(turn_id),
  }),
  session_stopped_ack: Type.Object({ message: Type.String() }),
};

export type ServerEvent = keyof typeof serverData;
export type ServerData<Name extends ServerEvent = ServerEvent> = Static<(typeof serverData)[Name]>;
/** A frame of the server; `seq` counts those of its session. */
export type ServerFrame = {
  [Name in ServerEvent]: {
    readonly event: Name;
    readonly data: ServerData<Name>;
    readonly seq?: number;
  };
}[ServerEvent];
