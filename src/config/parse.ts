import { isAbsolute, join } from 'node:path';
import { projectRoot } from '../paths.js';
import type { Settings } from './settings.js';

/** What the settings that hold more than one value mean; `src/config.ts` puts them together. */

/** One device that gets a worker: `id` is the `{gpu_id}` of its queue and status key. */
export interface WorkerDevice {
  readonly id: number;
  /** `cpu`, `cuda:N` or, where only time passes in place of a model, `sim`. */
  readonly device: string;
}

export const simulatedDevice = 'sim';

export const quotaKinds = ['messages', 'audio_seconds', 'video_seconds'] as const;
export type QuotaKind = (typeof quotaKinds)[number];

/** Servers that watch over Redis. */
export interface SentinelConfig {
  readonly servers: readonly { readonly host: string; readonly port: number }[];
  /** What they call the master. */
  readonly name: string;
  readonly password: string | undefined;
}

/** A bucket of an S3-compatible service. */
export interface S3Config {
  readonly bucket: string;
  /** Before the names of all objects, without slashes at its ends; may be empty. */
  readonly prefix: string;
  readonly endpoint: string | undefined;
  readonly region: string;
  /** Undefined: what the machine has, an instance role for example. */
  readonly credentials:
    { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined;
  /** Whether the bucket stands in the path of addresses rather than in the name of the host. */
  readonly pathStyle: boolean;
}

/** Where temp files lie: `s3://bucket/prefix`, or a folder relative to the project. */
export function placeOfFiles(
  raw: Settings,
  dataFolder: string,
): { readonly folder: string; readonly s3: S3Config | undefined } {
  const place = raw.TEMP_FILE_STORE ?? join(dataFolder, 'tempfiles');
  const [, bucket, prefix = ''] = /^s3:\/\/([^/]+)(?:\/(.*))?$/.exec(place) ?? [];
  if (bucket === undefined) {
    return { folder: isAbsolute(place) ? place : join(projectRoot, place), s3: undefined };
  }
  const { S3_ACCESS_KEY_ID: accessKeyId, S3_SECRET_ACCESS_KEY: secretAccessKey } = raw;
  const isKnown = accessKeyId !== undefined && secretAccessKey !== undefined;
  return {
    folder: '',
    s3: {
      bucket,
      prefix: prefix.replace(/^\/+|\/+$/g, ''),
      endpoint: raw.S3_ENDPOINT && withoutSlash(raw.S3_ENDPOINT),
      region: raw.S3_REGION,
      credentials: isKnown ? { accessKeyId, secretAccessKey } : undefined,
      pathStyle:
        raw.S3_PATH_STYLE === undefined
          ? raw.S3_ENDPOINT !== undefined
          : raw.S3_PATH_STYLE === 'yes',
    },
  };
}

/** `host:port,host:port` */
export function readSentinels(raw: Settings): SentinelConfig | undefined {
  const {
    REDIS_SENTINELS: list,
    REDIS_SENTINEL_NAME: name,
    REDIS_SENTINEL_PASSWORD: password,
  } = raw;
  const servers = list?.split(',').map((one) => {
    const at = one.lastIndexOf(':');
    return { host: one.slice(0, at), port: Number(one.slice(at + 1)) };
  });
  return servers && { servers, name, password };
}

/** Where traces go, as OpenTelemetry's own settings say. */
export interface TracingConfig {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly serviceName: string;
  /** The part of all traces that is kept, 0 to 1. */
  readonly ratio: number;
}

/** Headers are `name=value,name=value`, values encoded as in URLs. */
export function readTracing(raw: Settings): TracingConfig | undefined {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_HEADERS: headers } = raw;
  if (endpoint === undefined) return undefined;
  const pairs = (headers?.split(',') ?? []).map((pair) => {
    const at = pair.indexOf('=');
    return [pair.slice(0, at).trim(), decodeURIComponent(pair.slice(at + 1).trim())] as const;
  });
  return {
    url: `${withoutSlash(endpoint)}/v1/traces`,
    headers: Object.fromEntries(pairs),
    serviceName: raw.OTEL_SERVICE_NAME,
    ratio: raw.OTEL_TRACES_SAMPLER_ARG,
  };
}

export function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}

/** `free:messages=10,audio_seconds=60;pro:...` */
export function readQuotas(text: string): Record<string, Partial<Record<QuotaKind, number>>> {
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
export function ownName(host: string): string {
  if (['127.0.0.1', '0.0.0.0', '::', '::1'].includes(host)) return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}

/** From `first` on, `cuda:N` gets id N, and each other device the lowest id that is free. */
export function workerDevices(list: string, first: number): WorkerDevice[] | undefined {
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
