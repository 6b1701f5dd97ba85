import closeWithGrace from 'close-with-grace';
import { loadConfig } from '../src/config.js';
import { codeOf } from '../src/errors.js';
import { createLog } from '../src/log.js';
import { type Stack, startStack } from './stack.js';

/** `npm start`: serves until Ctrl-C. */
let stack: Stack | undefined;
try {
  const log = createLog(loadConfig().logLevel).child({ process: 'start' });
  const starting = startStack({ log, redisPort: 6379 });
  const { close } = closeWithGrace({ delay: 120_000, logger: log }, async ({ signal }) => {
    if (signal !== undefined) console.log('\nStopping: running tasks are finished or handed back.');
    stack ??= await starting.catch(() => undefined);
    await stack?.stop();
  });
  stack = await starting;
  const { config } = stack;
  const redis = `${config.redis.host}:${config.redis.port}`;
  const address = config.baseUrl;
  console.log(`EchoMimic Server: ${address}  Redis: ${redis}  model: ${config.model}`);
  await stack.workersReady.catch((error: unknown) => {
    process.exitCode = 1;
    console.error(`${codeOf(error)}: ${(error as Error).message}`);
    close();
  });
  if (process.exitCode === undefined) {
    const queues = config.devices.map(({ id }) =>
      config.queueName.replaceAll('{gpu_id}', String(id)),
    );
    console.log(`Ready: push tasks on ${queues.join(', ')}. Ctrl-C stops.`);
  }
} catch (error) {
  console.error(`${codeOf(error)}: ${(error as Error).message}`);
  process.exitCode = 1;
  if (stack === undefined) process.exit();
}
