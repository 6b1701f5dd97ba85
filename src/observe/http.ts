import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { meters } from './meters.js';
import { type Scope, currentScope, inScope, withOnlyIds } from './scope.js';
import { type OpenSpan, beginSpan } from './trace.js';
import { isTraceparent } from './traceparent.js';

const saneId = /^[A-Za-z0-9._:/+=-]{1,128}$/;
/** Nobody wants to read of these. */
const untraced = new Set(['/livez', '/readyz', '/metrics']);

declare module 'fastify' {
  interface FastifyRequest {
    observed: { readonly scope: Scope; readonly span: OpenSpan | undefined } | undefined;
  }
}

/** What a client or proxy calls the request, if that is sane; else a name of our own. */
export function requestIdOf({ headers }: Pick<IncomingMessage, 'headers'>): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && saneId.test(given) ? given : randomUUID();
}

/** Names, counts and traces every request; to be called before any other hook is added. */
export function observeHttp(app: FastifyInstance): void {
  app.decorateRequest('observed', undefined);
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    withOnlyIds({ request: request.id }, () => {
      const span = spanOf(request);
      const begin = () => {
        request.observed = { scope: currentScope() as Scope, span };
        done();
      };
      if (span === undefined) begin();
      else span.run(begin);
    });
  });
  // A body comes in by events of the line, which know nothing of the request.
  app.addHook('preValidation', (request, _reply, done) => {
    if (request.observed === undefined) done();
    else inScope(request.observed.scope, done);
  });
  app.addHook('onResponse', async (request, reply) => {
    const { statusCode: status, elapsedTime: ms } = reply;
    const route = request.routeOptions.url ?? 'none';
    request.log.debug({ req: request, status, ms }, 'answered');
    meters.httpDuration.observe({ method: request.method, route, status }, ms / 1000);
    const span = request.observed?.span;
    span?.set({ 'http.response.status_code': status });
    span?.end(status >= 500 ? new Error('5xx') : undefined);
  });
  // The line broke before the answer was out.
  app.addHook('onRequestAbort', async (request) => request.observed?.span?.end());
}

function spanOf({ method, routeOptions, headers }: FastifyRequest): OpenSpan | undefined {
  const route = routeOptions.url ?? 'none';
  if (untraced.has(route)) return undefined;
  const { traceparent: parent } = headers;
  return beginSpan(`${method} ${route}`, {
    kind: 'server',
    attributes: { 'http.request.method': method, 'http.route': route },
    parent: isTraceparent(parent) ? parent : null,
  });
}
