import { Type } from 'typebox';
import {
  apiKey,
  command,
  hours,
  httpUrl,
  longSecret,
  name,
  openAiUrl,
  range,
  socketUrl,
} from './values.js';

/** Settings of accounts, sessions and the services that listen, think and speak. */

export const accounts = {
  AUTH: Type.Optional(
    Type.Enum(['required', 'optional'], {
      unset: '`optional` on loopback, else `required`',
      description: 'whether sessions need an access token',
    }),
  ),
  REGISTRATION: Type.Enum(['open', 'closed'], {
    default: 'open',
    description: '`closed`: nobody can make an account',
  }),
  JWT_SECRET: Type.Optional(
    Type.String({
      ...longSecret,
      unset: 'made once, kept in `DATA_DIR`',
      description: 'signs access tokens (32 characters or more); the same on every machine',
    }),
  ),
  ACCESS_TOKEN_MINUTES: Type.Number({
    ...range(0.01, 24 * 60, 60),
    description: 'how long an access token lives',
  }),
  REFRESH_TOKEN_DAYS: Type.Number({
    ...range(0.0001, 366, 30),
    description: 'how long a refresh token lives',
  }),
  LOGIN_ATTEMPTS: Type.Integer({
    ...range(1, 1000, 10),
    description: 'failed log-ins allowed within the window',
  }),
  LOGIN_WINDOW_MINUTES: Type.Number({
    ...range(0.01, 24 * 60, 15),
    description: 'that window',
  }),
  QUOTAS: Type.String({
    default:
      'free:messages=1000,audio_seconds=7200,video_seconds=3600;' +
      'pro:messages=20000,audio_seconds=86400,video_seconds=86400',
    pattern:
      '^[a-z0-9_-]+:((messages|audio_seconds|video_seconds)=[0-9]+,?)*(;[a-z0-9_-]+:((messages|audio_seconds|video_seconds)=[0-9]+,?)*)*$',
    description:
      'daily limits per subscription type; what is not named is not limited ([accounts.md](accounts.md))',
  }),
  DELETED_CONVERSATION_DAYS: Type.Number({
    ...range(0, 3660, 30),
    description:
      'days after which a conversation that its user deleted is removed from the database',
  }),
  HISTORY_CACHE_HOURS: Type.Number({
    ...hours(24),
    description: 'hours that Redis keeps the history of a conversation',
  }),
};

export const sessions = {
  WS_ALLOWED_ORIGINS: Type.Optional(
    Type.String({
      pattern: '^(\\*|https?://[^\\s,/]+)(,https?://[^\\s,/]+)*$',
      unset: "this server's own",
      description:
        'pages that may open sessions and use the REST interface, separated by commas, or `*`',
    }),
  ),
  WS_MAX_FRAME_KB: Type.Integer({
    ...range(16, 262144, 16384),
    description: 'largest frame from a client',
  }),
  WS_FRAMES_PER_SECOND: Type.Number({
    ...range(1, 10_000, 50),
    description: 'frames a client may send; twice as many at once',
  }),
  WS_COALESCE_KB: Type.Integer({
    ...range(1, 1048576, 256),
    description: 'unsent output from which only the latest progress is kept',
  }),
  WS_MAX_BUFFER_KB: Type.Integer({
    ...range(16, 1048576, 8192),
    description: 'unsent output from which the client is dropped',
  }),
  WS_HEARTBEAT_SECONDS: Type.Number({
    ...range(0.05, 3600, 30),
    description: 'time between pings; a client that misses one is gone',
  }),
  WS_AUTH_SECONDS: Type.Number({
    ...range(0.05, 3600, 10),
    description: 'how long a socket may say nothing before its first frame',
  }),
  WS_IDLE_SECONDS: Type.Number({
    ...range(0.05, 7 * 24 * 3600, 3600),
    description: 'how long it may say nothing after it',
  }),
  SESSIONS_PER_USER: Type.Integer({
    ...range(1, 1_000_000, 10),
    description: 'open sessions of a user at once',
  }),
  SESSIONS_PER_ADDRESS: Type.Integer({
    ...range(1, 1_000_000, 100),
    description: 'open sessions of an address at once',
  }),
  SESSION_GRACE_SECONDS: Type.Number({
    ...range(0, 3600, 60),
    description: 'how long a session waits for a client whose line broke',
  }),
  SESSION_MAX_TURNS_WAITING: Type.Integer({
    ...range(1, 1000, 8),
    description: 'turns that may wait for the one being answered',
  }),
  SESSION_MAX_TEXT: Type.Integer({
    ...range(1, 100_000, 4000),
    description: 'characters of a typed message',
  }),
  LISTENING_FEEDBACK_SECONDS: Type.Number({
    ...range(0.01, 600, 8),
    description: 'when a long recording gets a sign of attention (life-echo clients)',
  }),
};

const ofProvider = { unset: "the provider's" };

export const speech = {
  ASR: Type.Enum(['parrot', 'dashscope', 'openai', 'command'], {
    default: 'parrot',
    description: 'what recognises speech ([speech.md](speech.md))',
  }),
  ASR_MODEL: Type.Optional(
    Type.String({ ...{ ...name, ...ofProvider }, description: 'its model' }),
  ),
  ASR_COMMAND: Type.Optional(
    Type.String({ ...command, description: 'the program of `ASR=command`' }),
  ),
  TTS: Type.Enum(['flite', 'dashscope', 'openai', 'command'], {
    default: 'flite',
    description: 'what speaks ([speech.md](speech.md))',
  }),
  TTS_MODEL: Type.Optional(
    Type.String({ ...{ ...name, ...ofProvider }, description: 'its model' }),
  ),
  TTS_VOICE: Type.Optional(
    Type.String({
      ...name,
      ...ofProvider,
      description: 'the voice of whoever names none',
    }),
  ),
  TTS_COMMAND: Type.Optional(
    Type.String({ ...command, description: 'the program of `TTS=command`' }),
  ),
  DIALOGUE: Type.Enum(['echo', 'openai', 'dashscope'], {
    default: 'echo',
    description: 'what answers ([speech.md](speech.md))',
  }),
  DIALOGUE_MODEL: Type.Optional(
    Type.String({ ...{ ...name, ...ofProvider }, description: 'its model' }),
  ),
  PROVIDER_TIMEOUT_SECONDS: Type.Number({
    ...range(0.05, 3600, 60),
    description: 'time for one request to a service',
  }),
  PROVIDER_RETRIES: Type.Integer({
    ...range(0, 10, 2),
    description: 'how often it is tried again',
  }),
  DASHSCOPE_API_KEY: Type.Optional(
    Type.String({ ...apiKey, description: 'key of Aliyun Model Studio' }),
  ),
  DASHSCOPE_WORKSPACE: Type.Optional(
    Type.String({ ...name, description: 'workspace of Aliyun Model Studio' }),
  ),
  DASHSCOPE_HTTP_BASE_URL: Type.String({
    ...httpUrl,
    default: 'https://dashscope.aliyuncs.com/api/v1',
    description: 'another region or the host of a workspace: its HTTP interface',
  }),
  DASHSCOPE_WEBSOCKET_BASE_URL: Type.String({
    ...socketUrl,
    default: 'wss://dashscope.aliyuncs.com/api-ws/v1/inference',
    description: 'its WebSocket interface',
  }),
  DASHSCOPE_COMPATIBLE_BASE_URL: Type.String({
    ...httpUrl,
    default: 'https://dashscope.aliyuncs.com/compatible-mode/v1',
    description: 'its OpenAI-compatible interface',
  }),
  OPENAI_API_KEY: Type.Optional(
    Type.String({ ...apiKey, description: 'key of OpenAI or a compatible server' }),
  ),
  OPENAI_BASE_URL: Type.String({
    ...httpUrl,
    default: openAiUrl,
    description: 'OpenAI, or any compatible server',
  }),
};
