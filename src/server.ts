import closeWithGrace from 'close-with-grace';
import type { FastifyInstance } from 'fastify';
import { crashSignals } from './alive.js';
import { buildApp } from './app.js';
import { doubtfulNames, loadConfig } from './config.js';
import { CodedError } from './errors.js';
import { processLog } from './log.js';
import { startTracing } from './observe/trace.js';
import { Recovery } from './queue/recovery.js';
import { connectRedis } from './queue/redis.js';

/** What sessions get beyond their own time to end, for whatever else has to close. */
const closingMs = 3000;

/** The API process: listens until it is told to stop, by a signal or by the end of its parent. */
const config = loadConfig();
const log = processLog(config, { process: 'api' });
for (const doubt of doubtfulNames()) log.warn(doubt);
const redis = config.redis.named ? connectRedis(config, log) : undefined;
const recovery = redis && new Recovery(redis, config, log);
const stopTracing = await startTracing(config, 'api', log);
let app: FastifyInstance | undefined;
const stop = async () => {
  await app?.close();
  await recovery?.stop();
  redis?.disconnect();
  await stopTracing();
};
const grace = { delay: config.shutdownMs + closingMs, logger: log, skip: crashSignals };
const { close } = closeWithGrace(grace, stop);
process.on('disconnect', close);

function whyNot(error: unknown): CodedError {
  if (error instanceof CodedError) return error;
  if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') {
    return new CodedError(
      'PORT_IN_USE',
      `another program listens on port ${config.port} of ${config.host}: stop it, or set PORT`,
    );
  }
  return new CodedError('INTERNAL', `the API cannot start: ${(error as Error).message}`);
}

try {
  const isReady = async () => redis === undefined || (await redis.ping()) === 'PONG';
  app = await buildApp({ config, log, redis, isReady });
  const address = await app.listen({ host: config.host, port: config.port });
  recovery?.start();
  log.info({ address }, 'the API listens');
  process.send?.({ type: 'ready', address });
} catch (error) {
  const failure = whyNot(error);
  log.fatal({ code: failure.code }, failure.message);
  process.send?.({ type: 'failed', code: failure.code, message: failure.message });
  await stop();
  process.exit(1);
}
