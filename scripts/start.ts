import closeWithGrace from 'close-with-grace';
import { loadConfig } from '../src/config.js';
import { codeOf } from '../src/errors.js';
import { createLog } from '../src/log.js';
import { type Stack, describeQueues, startStack } from './stack.js';

/** `npm start`: serves until Ctrl-C. */
let stack: Stack | undefined;
let stopping = false;
try {
  const log = createLog(loadConfig().logLevel).child({ process: 'start' });
  const starting = startStack({ log, redisPort: 6379 });
  closeWithGrace({ delay: 120_000, logger: log }, async ({ signal }) => {
    stopping = true;
    if (signal !== undefined) console.log('\nStopping: running tasks are finished or handed back.');
    stack ??= await starting.catch(() => undefined);
    await stack?.stop();
  });
  stack = await starting;
  const { config } = stack;
  const redis = `${config.redis.host}:${config.redis.port}`;
  console.log(`EchoMimic Server: ${config.baseUrl}  Redis: ${redis}  model: ${config.model}`);
  await stack.workersReady;
  console.log(`Ready: ${describeQueues(config)}. Ctrl-C stops.`);
} catch (error) {
  if (!stopping) {
    console.error(`${codeOf(error)}: ${(error as Error).message}`);
    await stack?.stop();
    process.exit(1);
  }
}
