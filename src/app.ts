import { setTimeout as sleep } from 'node:timers/promises';
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import type { Config } from './config.js';
import { describeHttp } from './contract/openapi.js';
import { contractRoutes } from './contract/routes.js';
import { accountRoutes } from './account/routes.js';
import { conversationRoutes } from './conversation/routes.js';
import { CodedError } from './errors.js';
import { answerFailure } from './limit/failures.js';
import { limitHttp, serverOptions } from './limit/http.js';
import { trustedRequests } from './limit/trusted.js';
import type { Log } from './log.js';
import type { Redis } from './queue/redis.js';
import { observeHttp, requestIdOf } from './observe/http.js';
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
import { tempFileSweep } from './tempfile/sweep.js';
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
  const sweeping = tempFileSweep(store, config, log);
  app.addHook('onReady', () => {
    sweeping.start();
    return sweeping.now();
  });
  app.addHook('onClose', () => sweeping.stop());
  await app.register(tempFileRoutes, {
    prefix: '/api/tempfile',
    store,
    token: config.apiToken,
    accounts: data.accounts,
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
