import { type Static, Type } from 'typebox';

const name = Type.String({ pattern: '^[\\x21-\\x7e]{1,128}$' });
const port = Type.Integer({ minimum: 0, maximum: 65535 });
const megabytes = Type.Integer({ minimum: 1, maximum: 65536 });
const seconds = (minimum: number, maximum: number) => Type.Number({ minimum, maximum });
const httpUrl = Type.String({ pattern: '^https?://[^\\s?#@]+$', maxLength: 2048 });
const socketUrl = Type.String({ pattern: '^wss?://[^\\s?#@]+$', maxLength: 2048 });
const secret = Type.String({ pattern: '^[\\x21-\\x7e]{16,512}$' });
const model = Type.String({ pattern: '^[\\x21-\\x7e]{1,128}$' });
const command = Type.String({ minLength: 1, maxLength: 4096 });
/** Where a key is always needed. */
export const openAiUrl = 'https://api.openai.com/v1';
const count = (minimum: number, maximum: number) => Type.Integer({ minimum, maximum });

/** Every setting: its environment variable, what it may be, and its default. */
export const settings = Type.Object({
  HOST: Type.String({ default: '127.0.0.1', pattern: '^[0-9A-Za-z.:_-]{1,255}$' }),
  PORT: Type.Integer({ ...port, default: 3000 }),
  BASE_URL: Type.Optional(httpUrl),
  PUBLIC_BASE_URL: Type.Optional(httpUrl),
  PEER_URL: Type.Optional(httpUrl),
  TRUST_PROXY: Type.Optional(
    Type.String({
      pattern:
        '^(loopback|linklocal|uniquelocal|[0-9a-fA-F.:]+(/[0-9]{1,3})?)(,(loopback|linklocal|uniquelocal|[0-9a-fA-F.:]+(/[0-9]{1,3})?))*$',
    }),
  ),
  DATA_DIR: Type.String({ default: 'data', minLength: 1 }),
  DATABASE_URL: Type.Optional(Type.String({ pattern: '^(postgres(ql)?://|sqlite:).+$' })),
  LOG_LEVEL: Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    default: 'info',
  }),
  API_TOKEN: Type.Optional(secret),

  TEMP_FILE_EXPIRY: Type.Number({ default: 24, exclusiveMinimum: 0, maximum: 24 * 366 }),
  MAX_IMAGE_MB: Type.Integer({ ...megabytes, default: 32 }),
  MAX_AUDIO_MB: Type.Integer({ ...megabytes, default: 256 }),
  MAX_VIDEO_MB: Type.Integer({ ...megabytes, default: 1024 }),

  TEMP_FILE_STORE: Type.Optional(
    Type.String({ pattern: '^(s3://[a-z0-9][a-z0-9.-]{1,62}(/[A-Za-z0-9._/-]{0,200})?|[^:]+)$' }),
  ),
  S3_ENDPOINT: Type.Optional(httpUrl),
  S3_REGION: Type.String({ default: 'us-east-1', pattern: '^[A-Za-z0-9-]{1,64}$' }),
  S3_ACCESS_KEY_ID: Type.Optional(Type.String({ pattern: '^[\\x21-\\x7e]{1,128}$' })),
  S3_SECRET_ACCESS_KEY: Type.Optional(Type.String({ pattern: '^[\\x21-\\x7e]{1,512}$' })),
  S3_PATH_STYLE: Type.Optional(Type.Enum(['yes', 'no'])),

  REDIS_HOST: Type.Optional(Type.String({ pattern: '^[0-9A-Za-z.:_-]{1,255}$' })),
  REDIS_PORT: Type.Optional(Type.Integer({ minimum: 1, maximum: 65535 })),
  REDIS_DB: Type.Optional(Type.Integer({ minimum: 0, maximum: 1023 })),
  REDIS_PASSWORD: Type.Optional(Type.String({ minLength: 1, maxLength: 4096 })),
  REDIS_SENTINELS: Type.Optional(
    Type.String({ pattern: '^[0-9A-Za-z.:_-]+:[0-9]{1,5}(,[0-9A-Za-z.:_-]+:[0-9]{1,5})*$' }),
  ),
  REDIS_SENTINEL_NAME: Type.String({ ...name, default: 'mymaster' }),
  REDIS_SENTINEL_PASSWORD: Type.Optional(Type.String({ minLength: 1, maxLength: 4096 })),
  REDIS_SERVER: Type.String({ default: 'redis-server', minLength: 1 }),
  REDIS_FSYNC: Type.Enum(['always', 'everysec'], { default: 'everysec' }),
  TASK_QUEUE_NAME: Type.String({ ...name, default: 'task_queue_gpu_{gpu_id}' }),
  PROGRESS_CHANNEL: Type.String({ ...name, default: 'task_progress' }),

  WORKER_DEVICES: Type.String({
    default: 'auto',
    pattern:
      '^(auto|none|sim:[1-9][0-9]?|(cpu|cuda:(0|[1-9][0-9]{0,2}))(,(cpu|cuda:(0|[1-9][0-9]{0,2})))*)$',
  }),
  WORKER_FIRST_ID: Type.Integer({ ...count(0, 99_999), default: 0 }),
  MODEL: Type.String({ default: 'small', minLength: 1 }),
  ENGINE_PROVIDER: Type.Enum(['auto', 'cpu', 'cuda', 'tensorrt'], { default: 'auto' }),
  ENGINE_PRECISION: Type.Enum(['exact', 'approximate'], { default: 'exact' }),
  ENGINE_FALLBACK: Type.Optional(Type.String({ pattern: '^(cuda|cpu|cuda,cpu)$' })),
  ENGINE_CACHE_DIR: Type.Optional(Type.String({ minLength: 1 })),
  ENGINE_CUDA_GRAPHS: Type.Enum(['on', 'off'], { default: 'on' }),
  ENGINE_THREADS: Type.Optional(Type.Integer({ minimum: 1, maximum: 1024 })),
  VIDEO_ENCODER: Type.Enum(['auto', 'x264', 'nvenc'], { default: 'auto' }),
  SIM_FRAME_MS: Type.Number({ ...seconds(0, 60_000), default: 40 }),

  TASK_LEASE_SECONDS: Type.Number({ ...seconds(1, 3600), default: 30 }),
  TASK_MAX_ATTEMPTS: Type.Integer({ default: 3, minimum: 1, maximum: 100 }),
  TASK_STALL_SECONDS: Type.Number({ ...seconds(0.1, 24 * 3600), default: 1800 }),
  TASK_STATE_HOURS: Type.Number({ default: 24, exclusiveMinimum: 0, maximum: 24 * 366 }),
  TASK_STRATEGY: Type.Enum(['least_loaded', 'round_robin'], { default: 'least_loaded' }),
  TASK_WORKER_WAIT_SECONDS: Type.Number({ ...seconds(0, 600), default: 10 }),
  MAX_AUDIO_SECONDS: Type.Number({ ...seconds(1, 24 * 3600), default: 600 }),
  TRANSFER_TIMEOUT_SECONDS: Type.Number({ ...seconds(1, 3600), default: 300 }),
  SHUTDOWN_SECONDS: Type.Number({ ...seconds(0.1, 3600), default: 10 }),

  AUTH: Type.Optional(Type.Enum(['required', 'optional'])),
  REGISTRATION: Type.Enum(['open', 'closed'], { default: 'open' }),
  JWT_SECRET: Type.Optional(Type.String({ minLength: 32, maxLength: 1024 })),
  ACCESS_TOKEN_MINUTES: Type.Number({ ...seconds(0.01, 24 * 60), default: 60 }),
  REFRESH_TOKEN_DAYS: Type.Number({ ...seconds(0.0001, 366), default: 30 }),
  LOGIN_ATTEMPTS: Type.Integer({ ...count(1, 1000), default: 10 }),
  LOGIN_WINDOW_MINUTES: Type.Number({ ...seconds(0.01, 24 * 60), default: 15 }),
  QUOTAS: Type.String({
    default:
      'free:messages=1000,audio_seconds=7200,video_seconds=3600;' +
      'pro:messages=20000,audio_seconds=86400,video_seconds=86400',
    pattern:
      '^[a-z0-9_-]+:((messages|audio_seconds|video_seconds)=[0-9]+,?)*(;[a-z0-9_-]+:((messages|audio_seconds|video_seconds)=[0-9]+,?)*)*$',
  }),
  DELETED_CONVERSATION_DAYS: Type.Number({ ...seconds(0, 3660), default: 30 }),
  HISTORY_CACHE_HOURS: Type.Number({ default: 24, exclusiveMinimum: 0, maximum: 24 * 366 }),

  REQUESTS_PER_MINUTE: Type.Integer({ ...count(0, 1_000_000), default: 600 }),
  TURNS_PER_MINUTE: Type.Integer({ ...count(0, 1_000_000), default: 60 }),
  TASKS_PER_USER: Type.Integer({ ...count(0, 1_000_000), default: 10 }),
  TASK_QUEUE_LIMIT: Type.Integer({ ...count(0, 1_000_000), default: 1000 }),
  STORAGE_PER_USER_MB: Type.Integer({ ...count(0, 16_777_216), default: 4096 }),
  UPLOADS_PER_ADDRESS: Type.Integer({ ...count(0, 1_000_000), default: 20 }),
  CONNECTIONS: Type.Integer({ ...count(1, 1_000_000), default: 10_000 }),
  CONNECTIONS_PER_ADDRESS: Type.Integer({ ...count(0, 1_000_000), default: 500 }),
  HEADER_SECONDS: Type.Number({ ...seconds(0.1, 600), default: 15 }),
  BODY_STALL_SECONDS: Type.Number({ ...seconds(0.1, 600), default: 30 }),

  WS_ALLOWED_ORIGINS: Type.Optional(
    Type.String({ pattern: '^(\\*|https?://[^\\s,/]+)(,https?://[^\\s,/]+)*$' }),
  ),
  WS_MAX_FRAME_KB: Type.Integer({ ...count(16, 262144), default: 16384 }),
  WS_FRAMES_PER_SECOND: Type.Number({ ...seconds(1, 10_000), default: 50 }),
  WS_COALESCE_KB: Type.Integer({ ...count(1, 1048576), default: 256 }),
  WS_MAX_BUFFER_KB: Type.Integer({ ...count(16, 1048576), default: 8192 }),
  WS_HEARTBEAT_SECONDS: Type.Number({ ...seconds(0.05, 3600), default: 30 }),
  WS_AUTH_SECONDS: Type.Number({ ...seconds(0.05, 3600), default: 10 }),
  WS_IDLE_SECONDS: Type.Number({ ...seconds(0.05, 7 * 24 * 3600), default: 3600 }),
  SESSIONS_PER_USER: Type.Integer({ ...count(1, 1_000_000), default: 10 }),
  SESSIONS_PER_ADDRESS: Type.Integer({ ...count(1, 1_000_000), default: 100 }),
  SESSION_GRACE_SECONDS: Type.Number({ ...seconds(0, 3600), default: 60 }),
  SESSION_MAX_TURNS_WAITING: Type.Integer({ ...count(1, 1000), default: 8 }),
  SESSION_MAX_TEXT: Type.Integer({ ...count(1, 100_000), default: 4000 }),
  LISTENING_FEEDBACK_SECONDS: Type.Number({ ...seconds(0.01, 600), default: 8 }),

  ASR: Type.Enum(['parrot', 'dashscope', 'openai', 'command'], { default: 'parrot' }),
  ASR_MODEL: Type.Optional(model),
  ASR_COMMAND: Type.Optional(command),
  TTS: Type.Enum(['flite', 'dashscope', 'openai', 'command'], { default: 'flite' }),
  TTS_MODEL: Type.Optional(model),
  TTS_VOICE: Type.Optional(model),
  TTS_COMMAND: Type.Optional(command),
  DIALOGUE: Type.Enum(['echo', 'openai', 'dashscope'], { default: 'echo' }),
  DIALOGUE_MODEL: Type.Optional(model),
  PROVIDER_TIMEOUT_SECONDS: Type.Number({ ...seconds(0.05, 3600), default: 60 }),
  PROVIDER_RETRIES: Type.Integer({ ...count(0, 10), default: 2 }),
  DASHSCOPE_API_KEY: Type.Optional(Type.String({ pattern: '^[\\x21-\\x7e]{1,512}$' })),
  DASHSCOPE_WORKSPACE: Type.Optional(model),
  DASHSCOPE_HTTP_BASE_URL: Type.String({
    ...httpUrl,
    default: 'https://dashscope.aliyuncs.com/api/v1',
  }),
  DASHSCOPE_WEBSOCKET_BASE_URL: Type.String({
    ...socketUrl,
    default: 'wss://dashscope.aliyuncs.com/api-ws/v1/inference',
  }),
  DASHSCOPE_COMPATIBLE_BASE_URL: Type.String({
    ...httpUrl,
    default: 'https://dashscope.aliyuncs.com/compatible-mode/v1',
  }),
  OPENAI_API_KEY: Type.Optional(Type.String({ pattern: '^[\\x21-\\x7e]{1,512}$' })),
  OPENAI_BASE_URL: Type.String({ ...httpUrl, default: openAiUrl }),
});
export type Settings = Static<typeof settings>;

export const settingNames = Object.keys(settings.properties) as (keyof Settings)[];

/** Settings whose values never appear in a message. */
export const secretSettings: ReadonlySet<string> = new Set<keyof Settings>([
  'REDIS_PASSWORD',
  'REDIS_SENTINEL_PASSWORD',
  'API_TOKEN',
  'DATABASE_URL',
  'JWT_SECRET',
  'DASHSCOPE_API_KEY',
  'OPENAI_API_KEY',
  'S3_ACCESS_KEY_ID',
  'S3_SECRET_ACCESS_KEY',
]);
