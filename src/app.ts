import { setTimeout as sleep } from 'node:timers/promises';
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import type { Config } from './config.js';
import { describeHttp } from './contract/openapi.js';
import { contractRoutes } from './contract/routes.js';
import { accountRoutes } from './account/routes.js';
import { conversationRoutes } from './conversation/routes.js';
import { CodedError, type ErrorCode } from './errors.js';
import { hungUp, limitHttp, serverOptions, tellFailure } from './limit/http.js';
import { trustedRequests } from './limit/trusted.js';
import type { Log } from './log.js';
import type { Redis } from './queue/redis.js';
import { observeHttp, requestIdOf } from './observe/http.js';
import { meters } from './observe/meters.js';
import { metricsRoute } from './operator/metrics.js';
import { operatorRoutes } from './operator/routes.js';
import { roleRoutes } from './role/routes.js';
import { openData, openSessionServices } from './services.js';
import { sessionRoutes } from './session/routes.js';
import type { SessionServices } from './session/services.js';
import { Orphans } from './task/orphans.js';
import { taskRoutes } from './task/routes.js';
import { tempFileRoutes } from './tempfile/routes.js';
import { openTempFiles } from './tempfile/open.js';
import type { TempFileStore } from './tempfile/store.js';
import { webRoutes } from './web/routes.js';

export interface AppOptions {
  readonly config: Config;
  readonly log: Log;
  /** Whether the parts that requests need are there; `/readyz` answers 503 until it resolves. */
  readonly isReady?: () => Promise<boolean>;
  /** Without one there are no sessions. It stays the caller's to close. */
  readonly redis?: Redis | undefined;
  /** Used in place of what the configuration names. */
  readonly services?: Partial<SessionServices>;
}

const readyMs = 1000;
const readyRetrySeconds = 5;

/** Builds the HTTP application without listening; closing it stops everything it started. */
export async function buildApp(options: AppOptions): Promise<FastifyInstance> {
  const { config, log, isReady, redis } = options;
  const logger: FastifyBaseLogger = log;
  const app = fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request' }),
    bodyLimit: 1024 * 1024,
    ...serverOptions(config),
    forceCloseConnections: 'idle',
    trustProxy: config.trustedProxies ?? false,
    routerOptions: { maxParamLength: 300 },
    requestIdHeader: false,
    genReqId: requestIdOf,
    frameworkErrors: (error, request, reply) => void answerFailure(error, request, reply),
  });
  app.setValidatorCompiler(TypeBoxValidatorCompiler);
  app.setErrorHandler(answerFailure);
  observeHttp(app);
  const data = await openData(config, log, redis);
  app.addHook('onClose', () => data.close());
  limitHttp(app, {
    ...{ config, rates: data.rates },
    userOf: (authorization) => data.accounts.claimedUser(authorization),
    isTrusted: trustedRequests(config, redis),
  });
  await describeHttp(app);
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send({
      success: false,
      message: `there is no ${request.method} ${request.url.split('?')[0]}`,
      code: 'NOT_FOUND',
    }),
  );
  const store = await openTempFiles(config);
  app.addHook('onClose', async () => store.close());
  startSweeping(app, store, config, log);
  await app.register(tempFileRoutes, {
    prefix: '/api/tempfile',
    store,
    token: config.apiToken,
    usage: data.usage,
    uploadsPerAddress: config.limits.uploadsPerAddress,
  });

  await app.register(accountRoutes, { prefix: '/api', ...data });
  await app.register(roleRoutes, { prefix: '/api/roles', ...data, files: store });
  await app.register(conversationRoutes, { prefix: '/api/conversations', ...data });
  await app.register(operatorRoutes, { prefix: '/api/operator', config, redis });
  await app.register(metricsRoute, { config, log, redis });
  if (redis === undefined) {
    const refuse = () => {
      throw new CodedError('REDIS_UNAVAILABLE', 'sessions and tasks need a Redis: set REDIS_HOST');
    };
    app.get('/ws*', refuse);
    app.all('/api/tasks*', refuse);
  } else {
    const orphans = new Orphans(redis, store, config, log);
    app.addHook('onReady', async () => orphans.start());
    app.addHook('onClose', () => orphans.stop());
    const services = openSessionServices(config, log, store, redis, data, options.services);
    app.addHook('onClose', () => services.close());
    await app.register(taskRoutes, { prefix: '/api/tasks', ...services });
    await app.register(sessionRoutes, services);
  }

  await app.register(contractRoutes, { config });
  await app.register(webRoutes, { config, log });
  const probe = Type.Object({ status: Type.String() });
  const tags = ['service'];
  app.get(
    '/livez',
    { schema: { tags, summary: 'Whether the process lives', response: { 200: probe } } },
    async () => ({ status: 'ok' }),
  );
  app.get(
    '/readyz',
    {
      schema: {
        tags,
        summary: 'Whether all that requests need is there',
        response: { 200: probe, 503: probe },
      },
    },
    async (_request, reply) => {
      const checks = Promise.all([data.isReady(), isReady?.() ?? true]).catch(() => [false]);
      const ready = (await Promise.race([checks, late(readyMs)])).every(Boolean);
      if (ready) return { status: 'ok' };
      return reply.code(503).header('retry-after', readyRetrySeconds).send({ status: 'not ready' });
    },
  );
  return app;
}

/** A part that does not answer is not ready either. */
async function late(ms: number): Promise<boolean[]> {
  return sleep(ms, [false]);
}

function startSweeping(app: FastifyInstance, store: TempFileStore, config: Config, log: Log): void {
  let running: Promise<void> | undefined;
  const sweep = () => {
    running ??= store
      .sweep()
      .then((count) => {
        if (count > 0) log.info({ count }, 'removed expired and abandoned temp files');
      })
      .catch((err: unknown) => log.error({ err }, 'sweep of the temp files failed'))
      .finally(() => (running = undefined));
    return running;
  };
  app.addHook('onReady', sweep);
  const period = Math.min(Math.max(config.tempFiles.expiryMs / 10, 1000), 600_000);
  const timer = setInterval(() => void sweep(), period).unref();
  app.addHook('onClose', async () => {
    clearInterval(timer);
    await running;
  });
}

function answerFailure(error: FastifyError, request: FastifyRequest, reply: FastifyReply) {
  const failure = error === request.raw.errored ? hungUp() : describeFailure(error);
  const { code, status, message } = failure;
  if (status >= 500) request.log.error({ err: error, req: request }, 'request failed');
  else request.log.info({ code, req: request }, message);
  meters.errors.inc({ code, via: 'http' });
  if (reply.raw.headersSent) return reply.raw.destroy();
  tellFailure(reply, failure);
  reply.header('x-request-id', request.id);
  return reply.code(status).send({ success: false, message, code });
}

interface Failure {
  readonly code: ErrorCode;
  readonly status: number;
  readonly message: string;
  readonly retryAfterSeconds: number | undefined;
}

/** What a client is told: our errors as they are, the framework's by kind, anything else hidden. */
function describeFailure(error: FastifyError): Failure {
  const failure = (code: ErrorCode, message: string): Failure => new CodedError(code, message);
  if (error instanceof CodedError) return error;
  if (error.validation !== undefined) return failure('BAD_REQUEST', error.message);
  if (/^FST_(FILES|PARTS|FIELDS)_LIMIT$/.test(error.code)) {
    return failure('FORM_TOO_LARGE', 'the form has more files or fields than an upload may have');
  }
  const status = error.statusCode ?? (isBrokenForm(error) ? 400 : 500);
  if (status >= 400 && status < 500) {
    const code = status === 413 ? 'FORM_TOO_LARGE' : 'BAD_REQUEST';
    const { message } = error;
    return { code, message, status: status === 406 ? 400 : status, retryAfterSeconds: undefined };
  }
  return failure('INTERNAL', 'the server failed; its log says why');
}

/** The multipart parser's own errors carry no status. */
function isBrokenForm(error: Error): boolean {
  return /multipart|malformed part header|part terminated early|unexpected end of/i.test(
    error.message,
  );
}
