import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';
import type { Config } from './config.js';
import { workerKeyHeader } from './queue/keys.js';
import { idsOfNow } from './observe/scope.js';
import { PinoPretty as pretty } from 'pino-pretty';

export type Log = Logger;

const secretKeys = [
  ...['authorization', 'cookie', 'password', 'token', 'apiKey', 'apiToken', 'secret'],
  workerKeyHeader,
];

/** Options of every logger of the project: secrets never reach the output. */
export function logOptions(level: string): LoggerOptions {
  return {
    level,
    base: undefined as never,
    redact: {
      paths: secretKeys.flatMap((key) => [`["${key}"]`, `*["${key}"]`, `*.*["${key}"]`]),
      censor: '[redacted]',
    },
    serializers: {
      req: (req: { method?: string; url?: string; ip?: string }) => ({
        method: req.method,
        url: withoutQuery(req.url ?? ''),
        ip: req.ip,
      }),
    },
  };
}

/** The names that a logger, a child of another, has on every line already. */
const boundNames = new WeakMap<Logger, ReadonlySet<string>>();

/** The ids of what is being worked on, unless the logger itself has them. */
function mixin(_line: object, _level: number, logger: Logger): Record<string, unknown> {
  const ids = idsOfNow();
  for (const name of boundNames.get(logger) ?? []) delete ids[name];
  return ids;
}

/**
 * Logs to standard error, so that the standard output of commands stays theirs. `secrets` never
 * reach it, whatever message, address or error of a library they stand in.
 */
export function createLog(
  level: string,
  destination?: DestinationStream,
  secrets: readonly string[] = [],
): Log {
  const hidden = secrets.map((secret) => JSON.stringify(secret).slice(1, -1));
  const hide = (line: string) =>
    hidden.reduce((text, secret) => text.replaceAll(secret, '[redacted]'), line);
  const options: LoggerOptions = {
    ...logOptions(level),
    hooks: { streamWrite: hide },
    mixin,
    onChild: (child) => boundNames.set(child, new Set(Object.keys(child.bindings()))),
  };
  return pino(options, destination ?? standardError());
}

/** The log of a process of the service, whose lines all carry `names`. */
export function processLog(config: Config, names: Readonly<Record<string, string | number>>): Log {
  return createLog(config.logLevel, undefined, secretsOf(config)).child(names);
}

const databasePassword = /^postgres(?:ql)?:\/\/[^/@]*:([^/]+)@/;

/** The values of a configuration that are nobody's business. */
export function secretsOf(config: Config): string[] {
  const { apiToken, operatorToken, redis, account, providers, databaseUrl, tempFiles, tracing } =
    config;
  const [, password] = databasePassword.exec(databaseUrl) ?? [];
  const { dashscope, openai } = providers;
  const bucket = tempFiles.s3?.credentials;
  return [
    ...[apiToken, operatorToken, redis.password, redis.sentinels?.password, account.jwtSecret],
    ...[dashscope.apiKey, openai.apiKey, bucket?.accessKeyId, bucket?.secretAccessKey],
    ...Object.values(tracing?.headers ?? {}).flatMap((value) => [value, encodeURIComponent(value)]),
    ...(password === undefined ? [] : [password, safelyDecoded(password)]),
  ].filter((secret) => secret !== undefined && secret.length >= 4) as string[];
}

function safelyDecoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** JSON lines, or lines for people when a person looks on. */
function standardError(): DestinationStream {
  return process.stderr.isTTY
    ? pretty({ destination: 2, sync: true, translateTime: 'SYS:HH:MM:ss', singleLine: true })
    : pino.destination({ dest: 2, sync: true });
}

/** A query may hold a token: it is dropped from what is logged. */
function withoutQuery(url: string): string {
  const query = url.indexOf('?');
  return query === -1 ? url : `${url.slice(0, query)}?[redacted]`;
}
