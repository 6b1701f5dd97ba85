import type { IncomingMessage, Server, ServerOptions, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyHttpOptions, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Config } from '../config.js';
import { CodedError, type ErrorCode } from '../errors.js';
import { LocalCounts } from './counts.js';
import { tooMuch } from './json.js';
import { networkOf } from './network.js';
import { checkOrigin } from './origin.js';
import { answerRaw, cutSilentLines, safeHeaders } from './raw.js';
import { type Budget, type Owner, type Rates, ownerOf, rateLimited } from './rates.js';

/** What pages of allowed origins may send and read. */
const preflightHeaders = {
  'access-control-allow-methods': 'GET, HEAD, POST, PATCH, DELETE',
  'access-control-allow-headers':
    'authorization, content-type, range, if-range, if-none-match, last-event-id, ' +
    'traceparent, x-request-id',
  'access-control-max-age': '600',
} as const;
const readableHeaders =
  'content-disposition, content-length, content-range, etag, ratelimit-limit, ' +
  'ratelimit-remaining, ratelimit-reset, retry-after, www-authenticate, x-request-id';

declare module 'fastify' {
  interface FastifyRequest {
    /** For whom the request is counted; undefined when it is not. */
    owner: Owner | undefined;
  }
}

const mostHeaderBytes = 16 * 1024;
const mostHeaders = 100;
const mostJson = { depth: 8, values: 5000 };
/** Less than this of a body within a second, for a while, and its sender is not trying. */
const leastBytesPerSecond = 1024;
const probes = new Set(['/livez', '/readyz']);

/** Time for a whole upload over a slow line; a line that says nothing is cut much sooner. */
const requestMs = 600_000;

/** What of the limits the HTTP server itself keeps. */
export function serverOptions({
  limits,
}: Config): Pick<
  FastifyHttpOptions<Server>,
  'requestTimeout' | 'connectionTimeout' | 'keepAliveTimeout' | 'clientErrorHandler'
> & { http: ServerOptions } {
  return {
    requestTimeout: requestMs,
    connectionTimeout: 60_000,
    keepAliveTimeout: 10_000,
    http: {
      maxHeaderSize: mostHeaderBytes,
      headersTimeout: limits.headerMs,
      // Node compares the two before the framework sets its own.
      requestTimeout: requestMs,
      connectionsCheckingInterval: Math.min(5000, limits.headerMs / 3),
    },
    clientErrorHandler: (error, socket) => {
      const failures: Record<string, readonly [ErrorCode, string]> = {
        HPE_HEADER_OVERFLOW: [
          'HEADERS_TOO_LARGE',
          `the headers of a request have at most ${mostHeaderBytes} bytes`,
        ],
        ERR_HTTP_REQUEST_TIMEOUT: ['REQUEST_TIMEOUT', 'the request did not come in time'],
      };
      const [code, message] = failures[error.code] ?? ['BAD_REQUEST', 'this is not HTTP/1.1'];
      answerRaw(socket, code, message);
    },
  };
}

export interface HttpLimits {
  readonly config: Config;
  readonly rates: Rates;
  /** The user of an Authorization header, by its signature alone. */
  readonly userOf: (authorization: string) => Promise<{ readonly id: string } | undefined>;
  /** Whether nothing is counted: a worker of ours, or who holds the API token. */
  readonly isTrusted: (request: FastifyRequest) => Promise<boolean>;
}

/** Keeps the limits of all requests, upgrades included; to be called before any route is added. */
export function limitHttp(app: FastifyInstance, limits: HttpLimits): void {
  const { config } = limits;
  app.server.maxConnections = config.limits.connections;
  app.server.maxHeadersCount = mostHeaders;
  if (config.trustedProxies === undefined) {
    limitConnections(app.server, config.limits.connectionsPerAddress);
  }
  cutSilentLines(app);

  app.decorateRequest('owner', undefined);
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(safeHeaders);
    const { origin, host } = request.headers;
    checkOrigin(origin, host, config);
    if (origin !== undefined) allow(reply, origin);
    if (probes.has(request.url.split('?', 1)[0] as string)) return;
    await count(request, reply, limits);
    if (request.method === 'OPTIONS' && 'access-control-request-method' in request.headers) {
      return reply.code(204).headers(preflightHeaders).send();
    }
    if (!hasBody(request.raw)) return;
    // The end of such a request was told before: whatever waits for it would wait for ever.
    if (request.raw.destroyed) throw hungUp();
    watchBody(request.raw, reply.raw, config.limits.bodyStallMs);
  });

  // The server has let go of a line that asked to become a socket: after a refusal it would stay open.
  app.addHook('onResponse', async ({ raw }) => {
    if (raw.headers.upgrade?.toLowerCase() === 'websocket') raw.socket.destroySoon();
  });

  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser<Buffer>(
    'application/json',
    { parseAs: 'buffer' },
    (request, body, done) => {
      const excess = tooMuch(body, mostJson);
      if (excess === undefined) return parse(request, body.toString(), done);
      done(new CodedError('BAD_REQUEST', `a body is JSON of limited size; this is ${excess}`));
    },
  );
}

function allow(reply: FastifyReply, origin: string): void {
  reply.headers({
    'access-control-allow-origin': origin,
    'access-control-expose-headers': readableHeaders,
    vary: 'Origin',
  });
}

/** Counts a request for its address and, where a token names one, for its user. */
async function count(
  request: FastifyRequest,
  reply: FastifyReply,
  { rates, userOf, isTrusted }: HttpLimits,
): Promise<void> {
  if (await isTrusted(request)) return;
  const { authorization } = request.headers;
  const user = authorization === undefined ? undefined : await userOf(authorization);
  request.owner = ownerOf(user, request.ip);
  const owners = [ownerOf(undefined, request.ip), ...(user ? [ownerOf(user, request.ip)] : [])];
  const budgets = (await Promise.all(owners.map((owner) => rates.request(owner)))).filter(
    (budget) => budget !== undefined,
  );
  const [nearest] = budgets.sort((a, b) => Number(b.isOver) - Number(a.isOver) || a.left - b.left);
  if (nearest === undefined) return;
  tell(reply, nearest);
  if (nearest.isOver) throw rateLimited(nearest, 'requests');
}

function tell(reply: FastifyReply, { limit, left, resetSeconds }: Budget): void {
  reply.headers({
    'ratelimit-limit': String(limit),
    'ratelimit-remaining': String(left),
    'ratelimit-reset': String(resetSeconds),
  });
}

/** Of a request whose client is gone: only the log and the meters hear of it. */
export function hungUp(): CodedError {
  return new CodedError('BAD_REQUEST', 'the client went away before its request was complete');
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** Cuts a body that only drips; one that we are slow to take is waited for. */
function watchBody(request: IncomingMessage, reply: ServerResponse, stallMs: number): void {
  const { socket } = request;
  const least = (leastBytesPerSecond * stallMs) / 1000;
  let before = socket.bytesRead;
  const timer = setInterval(() => {
    const came = socket.bytesRead - before;
    before = socket.bytesRead;
    if (came >= least || request.readableLength > 0 || request.isPaused()) return;
    stop();
    answerRaw(
      socket,
      'REQUEST_TIMEOUT',
      `the body came too slowly: less than ${leastBytesPerSecond} bytes a second`,
    );
    request.destroy();
  }, stallMs);
  const stop = () => clearInterval(timer);
  request.once('end', stop).once('close', stop);
  // A body that nobody wanted has no end.
  reply.once('close', stop);
}

/** Lines that are taken for another request keep their place: each is counted once. */
function limitConnections(server: Server, most: number): void {
  if (most === 0) return;
  const open = new LocalCounts();
  const known = new WeakSet<Socket>();
  server.prependListener('connection', (socket: Socket) => {
    if (known.has(socket)) return;
    known.add(socket);
    const network = networkOf(socket.remoteAddress ?? '');
    if (open.take(network, most)) return void socket.once('close', () => open.give(network));
    answerRaw(
      socket,
      'TOO_MANY_CONNECTIONS',
      `${most} connections are open from this address, which is the limit: close one first`,
    );
  });
}
