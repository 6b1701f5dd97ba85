import closeWithGrace from 'close-with-grace';
import { buildApp } from './app.js';
import { loadConfig } from './config.js';
import { CodedError } from './errors.js';
import { createLog } from './log.js';
import { Recovery } from './queue/recovery.js';
import { connectRedis } from './queue/redis.js';

/** The API process: listens until it is told to stop, by a signal or by the end of its parent. */
const config = loadConfig();
const log = createLog(config.logLevel).child({ process: 'api' });
const redis = config.redis.named ? connectRedis(config, log) : undefined;
const recovery = redis && new Recovery(redis, config, log);
const app = await buildApp({
  config,
  log,
  isReady: async () => {
    if (redis === undefined) return true;
    const late = new Promise<string>((resolve) => setTimeout(resolve, 1000, 'late').unref());
    return (await Promise.race([redis.ping().catch(() => 'error'), late])) === 'PONG';
  },
});
const stop = async () => {
  await app.close();
  await recovery?.stop();
  redis?.disconnect();
};
const { close } = closeWithGrace({ delay: config.shutdownMs, logger: log }, stop);
process.on('disconnect', close);

try {
  const address = await app.listen({ host: config.host, port: config.port });
  recovery?.start();
  log.info({ address }, 'the API listens');
  process.send?.({ type: 'ready', address });
} catch (error) {
  const failure =
    (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
      ? new CodedError('PORT_IN_USE', `port ${config.port} of ${config.host} is taken: set PORT`)
      : new CodedError('INTERNAL', `the API cannot listen: ${(error as Error).message}`);
  log.fatal({ code: failure.code }, failure.message);
  process.send?.({ type: 'failed', code: failure.code, message: failure.message });
  await stop();
  process.exit(1);
}
