import { hostname } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { Value } from 'typebox/value';
import { describeProblems } from './config/problems.js';
import {
  type QuotaKind,
  type S3Config,
  type SentinelConfig,
  type TracingConfig,
  type WorkerDevice,
  ownName,
  placeOfFiles,
  readQuotas,
  readSentinels,
  readTracing,
  withoutSlash,
  workerDevices,
} from './config/parse.js';
import { addEnvironmentFile, likelyMistakes } from './config/environment.js';
import { CodedError } from './errors.js';
import { type Limits, readLimits } from './config/limits.js';
import { projectRoot } from './paths.js';
import { type Settings, settingNames, settings } from './config/settings.js';

export { settingNames } from './config/settings.js';
export {
  type QuotaKind,
  type S3Config,
  type SentinelConfig,
  type WorkerDevice,
  quotaKinds,
  simulatedDevice,
} from './config/parse.js';

const MiB = 1024 * 1024;

export interface Config {
  readonly host: string;
  readonly port: number;
  /** How workers reach the API. */
  readonly baseUrl: string;
  /** How clients do, and services on the internet when `isPublic`. */
  readonly clientUrl: string;
  readonly isPublic: boolean;
  /** How other API processes reach this one; undefined: by the address it listens on. */
  readonly peerUrl: string | undefined;
  /** Proxies whose X-Forwarded-For is believed, as fastify's trustProxy takes them. */
  readonly trustedProxies: string | undefined;
  readonly databaseUrl: string;
  readonly dataFolder: string;
  readonly logLevel: Settings['LOG_LEVEL'];
  readonly apiToken: string | undefined;
  /** Opens the operator API and the metrics. */
  readonly operatorToken: string | undefined;
  /** Where traces are sent; undefined: nothing is traced. */
  readonly tracing: TracingConfig | undefined;
  readonly tempFiles: {
    /** Where they lie when not in a bucket. */
    readonly folder: string;
    readonly s3: S3Config | undefined;
    readonly expiryMs: number;
    readonly maxBytes: { readonly image: number; readonly audio: number; readonly video: number };
  };
  readonly redis: {
    /** Whether the operator named a Redis server; otherwise `npm start` runs a private one. */
    readonly named: boolean;
    readonly host: string;
    readonly port: number;
    readonly db: number;
    readonly password: string | undefined;
    /** Those who know which server is the master; host and port mean nothing then. */
    readonly sentinels: SentinelConfig | undefined;
    readonly serverProgram: string;
    /** Of the private server. */
    readonly fsync: Settings['REDIS_FSYNC'];
  };
  readonly queueName: string;
  readonly progressChannel: string;
  /** Undefined: one for each GPU that this machine turns out to have, or the CPU. */
  readonly devices: readonly WorkerDevice[] | undefined;
  readonly model: string;
  readonly modelFolder: string;
  readonly engine: {
    readonly provider: Settings['ENGINE_PROVIDER'];
    readonly precision: Settings['ENGINE_PRECISION'];
    /** What may be used in place of a provider or GPU that fails. */
    readonly fallback: ('cuda' | 'cpu')[];
    /** Where TensorRT's engines are kept. */
    readonly cacheFolder: string;
    readonly graphs: boolean;
    readonly threads: number | undefined;
    /** Milliseconds that a simulated device takes per frame. */
    readonly simulatedFrameMs: number;
  };
  readonly videoEncoder: Settings['VIDEO_ENCODER'];
  /** A label in the picture of every video. */
  readonly visibleMark: Settings['VISIBLE_MARK'];
  readonly tasks: {
    readonly leaseMs: number;
    readonly maxAttempts: number;
    /** How long a worker may make no progress with a clip. */
    readonly stallMs: number;
    readonly stateMs: number;
    readonly maxAudioSeconds: number;
    /** The largest side of a picture; undefined: the one that the model was made for. */
    readonly maxSize: number | undefined;
    readonly transferMs: number;
    readonly strategy: Settings['TASK_STRATEGY'];
    /** How long a task waits for any live worker before it is refused. */
    readonly workerWaitMs: number;
  };
  readonly account: {
    readonly authRequired: boolean;
    readonly registrationOpen: boolean;
    /** Undefined: one is made and kept in the data folder. */
    readonly jwtSecret: string | undefined;
    readonly accessTokenMs: number;
    readonly refreshTokenMs: number;
    readonly loginAttempts: number;
    readonly loginWindowMs: number;
    /** By subscription type; what a type does not name is not limited. */
    readonly quotas: Readonly<Record<string, Partial<Record<QuotaKind, number>>>>;
  };
  readonly historyCacheMs: number;
  /** How long the rows of a deleted conversation stay. */
  readonly deletedConversationMs: number;
  readonly limits: Limits;
  readonly sessions: {
    /** Undefined: pages of this server's own origin only. */
    readonly allowedOrigins: readonly string[] | undefined;
    readonly maxFrameBytes: number;
    readonly framesPerSecond: number;
    readonly coalesceBytes: number;
    readonly maxBufferBytes: number;
    readonly heartbeatMs: number;
    readonly authMs: number;
    readonly idleMs: number;
    readonly perUser: number;
    readonly perAddress: number;
    readonly graceMs: number;
    readonly maxTurnsWaiting: number;
    readonly maxText: number;
    readonly listeningFeedbackMs: number;
  };
  readonly speech: {
    readonly asr: Settings['ASR'];
    readonly asrModel: string | undefined;
    readonly asrCommand: string | undefined;
    readonly tts: Settings['TTS'];
    readonly ttsModel: string | undefined;
    readonly ttsVoice: string | undefined;
    readonly ttsCommand: string | undefined;
  };
  readonly dialogue: {
    readonly provider: Settings['DIALOGUE'];
    readonly model: string | undefined;
  };
  readonly providers: {
    readonly timeoutMs: number;
    readonly retries: number;
    readonly dashscope: {
      readonly apiKey: string | undefined;
      readonly workspace: string | undefined;
      readonly httpUrl: string;
      readonly socketUrl: string;
      readonly compatibleUrl: string;
    };
    readonly openai: { readonly apiKey: string | undefined; readonly url: string };
  };
  readonly shutdownMs: number;
  readonly hostName: string;
}

type Environment = Record<string, string | undefined>;
let isComplete = false;

/** That of this process; what it lacks is in the file that ENV_FILE names, read once. */
function ownEnvironment(): Environment {
  if (!isComplete) addEnvironmentFile(process.env);
  isComplete = true;
  return process.env;
}

/** Reads and checks the settings; everything that is wrong is reported in one error. */
export function loadConfig(environment: Environment = ownEnvironment()): Config {
  const given: Record<string, string> = {};
  for (const key of settingNames) {
    const value = environment[key];
    if (value !== undefined && value !== '') given[key] = value;
  }
  const raw = Value.Convert(settings, Value.Default(settings, { ...given }));
  const problems = describeProblems(raw);
  if (problems.length > 0) {
    throw new CodedError(
      'CONFIG_INVALID',
      `${problems.length} setting${problems.length > 1 ? 's are' : ' is'} wrong: ${problems.join('; ')}`,
    );
  }
  return deepFreeze(buildConfig(raw as Settings));
}

/** Sentences about names in the environment that look like settings and are none. */
export function doubtfulNames(environment: Environment = ownEnvironment()): string[] {
  return likelyMistakes(Object.keys(environment), settingNames);
}

/**
 * The environment for a child process: ours, with some settings replaced (or removed). It has the
 * file's settings already, and would only bring back those that were removed.
 */
export function childEnvironment(
  overrides: Partial<Record<keyof Settings, string | undefined>>,
  environment: Environment = ownEnvironment(),
): Record<string, string> {
  const merged: Environment = { ...environment, ...overrides, ENV_FILE: 'none' };
  return Object.fromEntries(
    Object.entries(merged).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

/**
 * For programs that read untrusted files: what they need to run, none of our tokens. They see the
 * GPUs that we see, under the same numbers.
 */
export function toolEnvironment(
  environment: Environment = ownEnvironment(),
): Record<string, string> {
  const names = [
    ...['PATH', 'HOME', 'TMPDIR', 'LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH'],
    ...['CUDA_VISIBLE_DEVICES', 'CUDA_DEVICE_ORDER'],
  ];
  const kept = names.flatMap((key) => {
    const value = environment[key];
    return value === undefined ? [] : [[key, value] as const];
  });
  return { ...Object.fromEntries(kept), LC_ALL: 'C' };
}

function buildConfig(raw: Settings): Config {
  const dataFolder = isAbsolute(raw.DATA_DIR) ? raw.DATA_DIR : join(projectRoot, raw.DATA_DIR);
  const baseUrl = withoutSlash(raw.BASE_URL ?? `http://${ownName(raw.HOST)}:${raw.PORT}`);
  return {
    host: raw.HOST,
    port: raw.PORT,
    baseUrl,
    clientUrl: withoutSlash(raw.PUBLIC_BASE_URL ?? baseUrl),
    isPublic: raw.PUBLIC_BASE_URL !== undefined,
    peerUrl: raw.PEER_URL && withoutSlash(raw.PEER_URL),
    trustedProxies: raw.TRUST_PROXY,
    databaseUrl: raw.DATABASE_URL ?? `sqlite:${join(dataFolder, 'echomimic.db')}`,
    dataFolder,
    logLevel: raw.LOG_LEVEL,
    apiToken: raw.API_TOKEN,
    operatorToken: raw.OPERATOR_TOKEN,
    tracing: readTracing(raw),
    tempFiles: {
      ...placeOfFiles(raw, dataFolder),
      expiryMs: raw.TEMP_FILE_EXPIRY * 3_600_000,
      maxBytes: {
        image: raw.MAX_IMAGE_MB * MiB,
        audio: raw.MAX_AUDIO_MB * MiB,
        video: raw.MAX_VIDEO_MB * MiB,
      },
    },
    redis: {
      named: [
        ...[raw.REDIS_HOST, raw.REDIS_PORT, raw.REDIS_DB, raw.REDIS_PASSWORD],
        raw.REDIS_SENTINELS,
      ].some((value) => value !== undefined),
      host: raw.REDIS_HOST ?? 'localhost',
      port: raw.REDIS_PORT ?? 6379,
      db: raw.REDIS_DB ?? 0,
      password: raw.REDIS_PASSWORD,
      sentinels: readSentinels(raw),
      serverProgram: raw.REDIS_SERVER,
      fsync: raw.REDIS_FSYNC,
    },
    queueName: raw.TASK_QUEUE_NAME,
    progressChannel: raw.PROGRESS_CHANNEL,
    devices: workerDevices(raw.WORKER_DEVICES, raw.WORKER_FIRST_ID),
    model: raw.MODEL,
    modelFolder: /[/\\]/.test(raw.MODEL)
      ? isAbsolute(raw.MODEL)
        ? raw.MODEL
        : join(projectRoot, raw.MODEL)
      : join(projectRoot, 'weights', raw.MODEL),
    engine: {
      provider: raw.ENGINE_PROVIDER,
      precision: raw.ENGINE_PRECISION,
      fallback: (raw.ENGINE_FALLBACK?.split(',') ?? []) as ('cuda' | 'cpu')[],
      cacheFolder: resolve(projectRoot, raw.ENGINE_CACHE_DIR ?? join(dataFolder, 'engines')),
      graphs: raw.ENGINE_CUDA_GRAPHS === 'on',
      threads: raw.ENGINE_THREADS,
      simulatedFrameMs: raw.SIM_FRAME_MS,
    },
    videoEncoder: raw.VIDEO_ENCODER,
    visibleMark: raw.VISIBLE_MARK,
    tasks: {
      leaseMs: raw.TASK_LEASE_SECONDS * 1000,
      maxAttempts: raw.TASK_MAX_ATTEMPTS,
      stallMs: raw.TASK_STALL_SECONDS * 1000,
      stateMs: raw.TASK_STATE_HOURS * 3_600_000,
      maxAudioSeconds: raw.MAX_AUDIO_SECONDS,
      maxSize: raw.MAX_VIDEO_SIDE,
      transferMs: raw.TRANSFER_TIMEOUT_SECONDS * 1000,
      strategy: raw.TASK_STRATEGY,
      workerWaitMs: raw.TASK_WORKER_WAIT_SECONDS * 1000,
    },
    account: {
      authRequired: raw.AUTH === undefined ? !isLoopback(raw.HOST) : raw.AUTH === 'required',
      registrationOpen: raw.REGISTRATION === 'open',
      jwtSecret: raw.JWT_SECRET,
      accessTokenMs: raw.ACCESS_TOKEN_MINUTES * 60_000,
      refreshTokenMs: raw.REFRESH_TOKEN_DAYS * 86_400_000,
      loginAttempts: raw.LOGIN_ATTEMPTS,
      loginWindowMs: raw.LOGIN_WINDOW_MINUTES * 60_000,
      quotas: readQuotas(raw.QUOTAS),
    },
    historyCacheMs: raw.HISTORY_CACHE_HOURS * 3_600_000,
    deletedConversationMs: raw.DELETED_CONVERSATION_DAYS * 24 * 3_600_000,
    limits: readLimits(raw),
    sessions: {
      allowedOrigins: raw.WS_ALLOWED_ORIGINS?.split(','),
      maxFrameBytes: raw.WS_MAX_FRAME_KB * 1024,
      framesPerSecond: raw.WS_FRAMES_PER_SECOND,
      coalesceBytes: raw.WS_COALESCE_KB * 1024,
      maxBufferBytes: raw.WS_MAX_BUFFER_KB * 1024,
      heartbeatMs: raw.WS_HEARTBEAT_SECONDS * 1000,
      authMs: raw.WS_AUTH_SECONDS * 1000,
      idleMs: raw.WS_IDLE_SECONDS * 1000,
      perUser: raw.SESSIONS_PER_USER,
      perAddress: raw.SESSIONS_PER_ADDRESS,
      graceMs: raw.SESSION_GRACE_SECONDS * 1000,
      maxTurnsWaiting: raw.SESSION_MAX_TURNS_WAITING,
      maxText: raw.SESSION_MAX_TEXT,
      listeningFeedbackMs: raw.LISTENING_FEEDBACK_SECONDS * 1000,
    },
    speech: {
      asr: raw.ASR,
      asrModel: raw.ASR_MODEL,
      asrCommand: raw.ASR_COMMAND,
      tts: raw.TTS,
      ttsModel: raw.TTS_MODEL,
      ttsVoice: raw.TTS_VOICE,
      ttsCommand: raw.TTS_COMMAND,
    },
    dialogue: { provider: raw.DIALOGUE, model: raw.DIALOGUE_MODEL },
    providers: {
      timeoutMs: raw.PROVIDER_TIMEOUT_SECONDS * 1000,
      retries: raw.PROVIDER_RETRIES,
      dashscope: {
        apiKey: raw.DASHSCOPE_API_KEY,
        workspace: raw.DASHSCOPE_WORKSPACE,
        httpUrl: withoutSlash(raw.DASHSCOPE_HTTP_BASE_URL),
        socketUrl: withoutSlash(raw.DASHSCOPE_WEBSOCKET_BASE_URL),
        compatibleUrl: withoutSlash(raw.DASHSCOPE_COMPATIBLE_BASE_URL),
      },
      openai: { apiKey: raw.OPENAI_API_KEY, url: withoutSlash(raw.OPENAI_BASE_URL) },
    },
    shutdownMs: raw.SHUTDOWN_SECONDS * 1000,
    hostName:
      hostname()
        .replace(/[^A-Za-z0-9-]/g, '-')
        .slice(0, 64) || 'host',
  };
}

/** Whether a host name, as in an address or a URL, is this machine for itself alone. */
export function isLoopback(host: string): boolean {
  return /^(localhost|\[?::1\]?|127(\.\d{1,3}){3})$/i.test(host);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
