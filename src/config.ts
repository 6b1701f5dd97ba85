import { hostname } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { Value } from 'typebox/value';
import { CodedError } from './errors.js';
import { projectRoot } from './paths.js';
import { type Settings, openAiUrl, secretSettings, settingNames, settings } from './settings.js';

export { settingNames } from './settings.js';

const MiB = 1024 * 1024;

/** One device that gets a worker: `id` is the `{gpu_id}` of its queue and status key. */
export interface WorkerDevice {
  readonly id: number;
  /** `cpu`, `cuda:N` or, where only time passes in place of a model, `sim`. */
  readonly device: string;
}

export const simulatedDevice = 'sim';

export const quotaKinds = ['messages', 'audio_seconds', 'video_seconds'] as const;
export type QuotaKind = (typeof quotaKinds)[number];

export interface Config {
  readonly host: string;
  readonly port: number;
  /** How workers reach the API. */
  readonly baseUrl: string;
  /** How clients do, and services on the internet when `isPublic`. */
  readonly clientUrl: string;
  readonly isPublic: boolean;
  /** Proxies whose X-Forwarded-For is believed, as fastify's trustProxy takes them. */
  readonly trustedProxies: string | undefined;
  readonly databaseUrl: string;
  readonly dataFolder: string;
  readonly logLevel: Settings['LOG_LEVEL'];
  readonly apiToken: string | undefined;
  readonly tempFiles: {
    readonly folder: string;
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
    readonly serverProgram: string;
  };
  readonly queueName: string;
  readonly progressChannel: string;
  /** Undefined: one for each GPU that this machine turns out to have, or the CPU. */
  readonly devices: readonly WorkerDevice[] | undefined;
  readonly model: string;
  readonly modelFolder: string;
  readonly engine: {
    readonly provider: Settings['ENGINE_PROVIDER'];
    readonly threads: number | undefined;
    /** Milliseconds that a simulated device takes per frame. */
    readonly simulatedFrameMs: number;
  };
  readonly videoEncoder: Settings['VIDEO_ENCODER'];
  readonly tasks: {
    readonly leaseMs: number;
    readonly maxAttempts: number;
    readonly stateMs: number;
    readonly maxAudioSeconds: number;
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

/** Reads and checks the settings; everything that is wrong is reported in one error. */
export function loadConfig(environment: Record<string, string | undefined> = process.env): Config {
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

/** The environment for a child process: ours, with some settings replaced (or removed). */
export function childEnvironment(
  overrides: Partial<Record<keyof Settings, string | undefined>>,
  environment: Record<string, string | undefined> = process.env,
): Record<string, string> {
  const merged: Record<string, string | undefined> = { ...environment, ...overrides };
  return Object.fromEntries(
    Object.entries(merged).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

/**
 * For programs that read untrusted files: what they need to run, none of our tokens. They see the
 * GPUs that we see, under the same numbers.
 */
export function toolEnvironment(
  environment: Record<string, string | undefined> = process.env,
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

function describeProblems(raw: unknown): string[] {
  const problems = new Map<string, string>();
  for (const error of Value.Errors(settings, raw)) {
    const key = error.instancePath.slice(1);
    if (problems.has(key)) continue;
    const secret = secretSettings.has(key);
    const value = (raw as Record<string, unknown>)[key];
    problems.set(
      key,
      secret ? `${key} ${error.message}` : `${key}=${JSON.stringify(value)} ${error.message}`,
    );
  }
  const devices = String((raw as Record<string, unknown>)['WORKER_DEVICES']);
  const gpus = devices.split(',').filter((device) => device.startsWith('cuda:'));
  if (!problems.has('WORKER_DEVICES') && new Set(gpus).size !== gpus.length) {
    problems.set('WORKER_DEVICES', `WORKER_DEVICES="${devices}" names a GPU twice`);
  }
  for (const [key, needs] of neededTogether(raw as Partial<Settings>)) {
    if (!problems.has(needs)) problems.set(needs, `${key} needs ${needs}, which is not set`);
  }
  return [...problems.values()];
}

/** Choices that mean nothing without another setting. */
function neededTogether(raw: Partial<Settings>): [choice: string, needs: keyof Settings][] {
  const needs: [choice: string, needs: keyof Settings][] = [];
  for (const choice of ['ASR', 'TTS', 'DIALOGUE'] as const) {
    if (raw[choice] === 'dashscope') needs.push([`${choice}=dashscope`, 'DASHSCOPE_API_KEY']);
    if (raw[choice] === 'openai' && raw.OPENAI_BASE_URL === openAiUrl)
      needs.push([`${choice}=openai`, 'OPENAI_API_KEY']);
    if (raw[choice] === 'openai' && choice === 'DIALOGUE')
      needs.push(['DIALOGUE=openai', 'DIALOGUE_MODEL']);
  }
  if (raw.ASR === 'command') needs.push(['ASR=command', 'ASR_COMMAND']);
  if (raw.TTS === 'command') needs.push(['TTS=command', 'TTS_COMMAND']);
  return needs.filter(([, key]) => raw[key] === undefined);
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
    trustedProxies: raw.TRUST_PROXY,
    databaseUrl: raw.DATABASE_URL ?? `sqlite:${join(dataFolder, 'echomimic.db')}`,
    dataFolder,
    logLevel: raw.LOG_LEVEL,
    apiToken: raw.API_TOKEN,
    tempFiles: {
      folder: join(dataFolder, 'tempfiles'),
      expiryMs: raw.TEMP_FILE_EXPIRY * 3_600_000,
      maxBytes: {
        image: raw.MAX_IMAGE_MB * MiB,
        audio: raw.MAX_AUDIO_MB * MiB,
        video: raw.MAX_VIDEO_MB * MiB,
      },
    },
    redis: {
      named: [raw.REDIS_HOST, raw.REDIS_PORT, raw.REDIS_DB, raw.REDIS_PASSWORD].some(
        (value) => value !== undefined,
      ),
      host: raw.REDIS_HOST ?? 'localhost',
      port: raw.REDIS_PORT ?? 6379,
      db: raw.REDIS_DB ?? 0,
      password: raw.REDIS_PASSWORD,
      serverProgram: raw.REDIS_SERVER,
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
      threads: raw.ENGINE_THREADS,
      simulatedFrameMs: raw.SIM_FRAME_MS,
    },
    videoEncoder: raw.VIDEO_ENCODER,
    tasks: {
      leaseMs: raw.TASK_LEASE_SECONDS * 1000,
      maxAttempts: raw.TASK_MAX_ATTEMPTS,
      stateMs: raw.TASK_STATE_HOURS * 3_600_000,
      maxAudioSeconds: raw.MAX_AUDIO_SECONDS,
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

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}

/** Whether a host name, as in an address or a URL, is this machine for itself alone. */
export function isLoopback(host: string): boolean {
  return /^(localhost|\[?::1\]?|127(\.\d{1,3}){3})$/i.test(host);
}

/** `free:messages=10,audio_seconds=60;pro:...` */
function readQuotas(text: string): Record<string, Partial<Record<QuotaKind, number>>> {
  return Object.fromEntries(
    text.split(';').map((part) => {
      const [type, limits] = part.split(':') as [string, string];
      const pairs = limits.split(',').filter(Boolean);
      return [
        type,
        Object.fromEntries(
          pairs.map((pair) => {
            const [kind, value] = pair.split('=') as [QuotaKind, string];
            return [kind, Number(value)];
          }),
        ),
      ];
    }),
  );
}

/** How this machine reaches a server that listens on `host`. */
function ownName(host: string): string {
  if (['127.0.0.1', '0.0.0.0', '::', '::1'].includes(host)) return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}

/** From `first` on, `cuda:N` gets id N, and each other device the lowest id that is free. */
function workerDevices(list: string, first: number): WorkerDevice[] | undefined {
  if (list === 'auto') return undefined;
  if (list === 'none') return [];
  const [, simulated] = /^sim:(\d+)$/.exec(list) ?? [];
  const names =
    simulated === undefined
      ? list.split(',')
      : Array.from({ length: Number(simulated) }, () => simulatedDevice);
  const gpu = (name: string) => (name.startsWith('cuda:') ? Number(name.slice(5)) : undefined);
  const taken = new Set(names.map(gpu));
  let free = 0;
  return names.map((device) => {
    let id = gpu(device);
    if (id === undefined) {
      while (taken.has(free)) free++;
      id = free++;
    }
    return { id: first + id, device };
  });
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
