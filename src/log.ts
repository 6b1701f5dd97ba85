import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';
import { PinoPretty as pretty } from 'pino-pretty';

export type Log = Logger;

const secretKeys = ['authorization', 'cookie', 'password', 'token', 'apiKey', 'apiToken', 'secret'];

/** Options of every logger of the project: secrets never reach the output. */
export function logOptions(level: string): LoggerOptions {
  return {
    level,
    base: undefined as never,
    redact: {
      paths: secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
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

/** Logs to standard error, so that the standard output of commands stays theirs. */
export function createLog(level: string, destination?: DestinationStream): Log {
  return pino(logOptions(level), destination ?? standardError());
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
