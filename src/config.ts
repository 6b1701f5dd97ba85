import { hostname } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { CodedError } from './errors.js';
import { projectRoot } from './paths.js';

const MiB = 1024 * 1024;
const name = Type.String({ pattern: '^[\\x21-\\x7e]{1,128}$' });
const port = Type.Integer({ minimum: 0, maximum: 65535 });
const megabytes = Type.Integer({ minimum: 1, maximum: 65536 });
const seconds = (minimum: number, maximum: number) => Type.Number({ minimum, maximum });

/** Every setting: its environment variable, what it may be, and its default. */
const settings = Type.Object({
  HOST: Type.String({ default: '127.0.0.1', pattern: '^[0-9A-Za-z.:_-]{1,255}$' }),
  PORT: Type.Integer({ ...port, default: 3000 }),
  BASE_URL: Type.Optional(Type.String({ pattern: '^https?://[^\\s?#@]+$', maxLength: 2048 })),
  DATA_DIR: Type.String({ default: 'data', minLength: 1 }),
  LOG_LEVEL: Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    default: 'info',
  }),
  API_TOKEN: Type.Optional(Type.String({ pattern: '^[\\x21-\\x7e]{16,512}$' })),

  TEMP_FILE_EXPIRY: Type.Number({ default: 24, exclusiveMinimum: 0, maximum: 24 * 366 }),
  MAX_IMAGE_MB: Type.Integer({ ...megabytes, default: 32 }),
  MAX_AUDIO_MB: Type.Integer({ ...megabytes, default: 256 }),
  MAX_VIDEO_MB: Type.Integer({ ...megabytes, default: 1024 }),

  REDIS_HOST: Type.Optional(Type.String({ pattern: '^[0-9A-Za-z.:_-]{1,255}$' })),
  REDIS_PORT: Type.Optional(Type.Integer({ minimum: 1, maximum: 65535 })),
  REDIS_DB: Type.Optional(Type.Integer({ minimum: 0, maximum: 1023 })),
  REDIS_PASSWORD: Type.Optional(Type.String({ minLength: 1, maxLength: 4096 })),
  REDIS_SERVER: Type.String({ default: 'redis-server', minLength: 1 }),
  TASK_QUEUE_NAME: Type.String({ ...name, default: 'task_queue_gpu_{gpu_id}' }),
  PROGRESS_CHANNEL: Type.String({ ...name, default: 'task_progress' }),

  WORKER_DEVICES: Type.String({
    default: 'cpu',
    pattern: '^(cpu|cuda:[0-9]{1,3})(,(cpu|cuda:[0-9]{1,3}))*$',
  }),
  MODEL: Type.String({ default: 'small', minLength: 1 }),
  ENGINE_PROVIDER: Type.Enum(['auto', 'cpu', 'cuda', 'tensorrt'], { default: 'auto' }),
  ENGINE_THREADS: Type.Optional(Type.Integer({ minimum: 1, maximum: 1024 })),

  TASK_LEASE_SECONDS: Type.Number({ ...seconds(1, 3600), default: 30 }),
  TASK_MAX_ATTEMPTS: Type.Integer({ default: 3, minimum: 1, maximum: 100 }),
  TASK_STATE_HOURS: Type.Number({ default: 24, exclusiveMinimum: 0, maximum: 24 * 366 }),
  MAX_AUDIO_SECONDS: Type.Number({ ...seconds(1, 24 * 3600), default: 600 }),
  TRANSFER_TIMEOUT_SECONDS: Type.Number({ ...seconds(1, 3600), default: 300 }),
  SHUTDOWN_SECONDS: Type.Number({ ...seconds(0.1, 3600), default: 10 }),
});

type Settings = Static<typeof settings>;

/** One device that gets a worker: `id` is the `{gpu_id}` of its queue and status key. */
export interface WorkerDevice {
  readonly id: number;
  readonly device: string;
}

export interface Config {
  readonly host: string;
  readonly port: number;
  readonly baseUrl: string;
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
  readonly devices: readonly WorkerDevice[];
  readonly model: string;
  readonly modelFolder: string;
  readonly engine: {
    readonly provider: Settings['ENGINE_PROVIDER'];
    readonly threads: number | undefined;
  };
  readonly tasks: {
    readonly leaseMs: number;
    readonly maxAttempts: number;
    readonly stateMs: number;
    readonly maxAudioSeconds: number;
    readonly transferMs: number;
  };
  readonly shutdownMs: number;
  readonly hostName: string;
}

export const settingNames = Object.keys(settings.properties) as (keyof Settings)[];

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

/** For programs that read untrusted files: what they need to run, none of our tokens. */
export function toolEnvironment(
  environment: Record<string, string | undefined> = process.env,
): Record<string, string> {
  const names = ['PATH', 'HOME', 'TMPDIR', 'LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH'];
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
    const secret = key === 'REDIS_PASSWORD' || key === 'API_TOKEN';
    const value = (raw as Record<string, unknown>)[key];
    problems.set(
      key,
      secret ? `${key} ${error.message}` : `${key}=${JSON.stringify(value)} ${error.message}`,
    );
  }
  const devices = (raw as Record<string, unknown>)['WORKER_DEVICES'];
  if (
    !problems.has('WORKER_DEVICES') &&
    new Set(String(devices).split(',')).size !== String(devices).split(',').length
  ) {
    problems.set(
      'WORKER_DEVICES',
      `WORKER_DEVICES=${JSON.stringify(devices)} names a device twice`,
    );
  }
  return [...problems.values()];
}

function buildConfig(raw: Settings): Config {
  const dataFolder = isAbsolute(raw.DATA_DIR) ? raw.DATA_DIR : join(projectRoot, raw.DATA_DIR);
  return {
    host: raw.HOST,
    port: raw.PORT,
    baseUrl: (raw.BASE_URL ?? `http://${ownName(raw.HOST)}:${raw.PORT}`).replace(/\/+$/, ''),
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
    devices: workerDevices(raw.WORKER_DEVICES),
    model: raw.MODEL,
    modelFolder: /[/\\]/.test(raw.MODEL)
      ? isAbsolute(raw.MODEL)
        ? raw.MODEL
        : join(projectRoot, raw.MODEL)
      : join(projectRoot, 'weights', raw.MODEL),
    engine: { provider: raw.ENGINE_PROVIDER, threads: raw.ENGINE_THREADS },
    tasks: {
      leaseMs: raw.TASK_LEASE_SECONDS * 1000,
      maxAttempts: raw.TASK_MAX_ATTEMPTS,
      stateMs: raw.TASK_STATE_HOURS * 3_600_000,
      maxAudioSeconds: raw.MAX_AUDIO_SECONDS,
      transferMs: raw.TRANSFER_TIMEOUT_SECONDS * 1000,
    },
    shutdownMs: raw.SHUTDOWN_SECONDS * 1000,
    hostName:
      hostname()
        .replace(/[^A-Za-z0-9-]/g, '-')
        .slice(0, 64) || 'host',
  };
}

/** How this machine reaches a server that listens on `host`. */
function ownName(host: string): string {
  if (['127.0.0.1', '0.0.0.0', '::', '::1'].includes(host)) return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}

/** `cuda:N` gets id N; the CPU gets the lowest id that no GPU has. */
function workerDevices(list: string): WorkerDevice[] {
  const names = list.split(',');
  const taken = new Set(names.filter((n) => n !== 'cpu').map((n) => Number(n.slice(5))));
  let free = 0;
  while (taken.has(free)) free++;
  return names.map((device) => ({
    id: device === 'cpu' ? free : Number(device.slice(5)),
    device,
  }));
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
