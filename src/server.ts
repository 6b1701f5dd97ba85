import closeWithGrace from 'close-with-grace';
import { buildApp } from './app.js';
import { loadConfig } from './config.js';
import { CodedError } from './errors.js';
import { createLog } from './log.js';

/** The API process: listens until it is told to stop, by a signal or by the end of its parent. */
const config = loadConfig();
const log = createLog(config.logLevel);
const app = await buildApp({ config, log });
const { close } = closeWithGrace({ delay: config.shutdownMs, logger: log }, async () =>
  app.close(),
);
process.on('disconnect', close);

try {
  const address = await app.listen({ host: config.host, port: config.port });
  log.info({ address }, 'the API listens');
  process.send?.({ type: 'ready', address });
} catch (error) {
  const busy = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
  const failure = busy
    ? new CodedError('PORT_IN_USE', `port ${config.port} of ${config.host} is taken; set PORT`)
    : error;
  log.fatal({ err: failure }, 'the API cannot listen');
  process.send?.({ type: 'failed', code: busy ? 'PORT_IN_USE' : 'INTERNAL' });
  process.exitCode = 1;
  close();
}
