import { loadConfig } from '../src/config.js';
import { processLog } from '../src/log.js';
import { whereIs } from '../src/queue/redis.js';
import { serve } from './serve.js';
import { describeQueues, startStack } from './stack.js';

/** `npm start`: serves until Ctrl-C. */
await serve(
  () => {
    const log = processLog(loadConfig(), { process: 'start' });
    return { log, starting: startStack({ log, redisPort: 6379 }) };
  },
  async ({ config, workersReady }) => {
    const redis = whereIs(config);
    console.log(`EchoMimic Server: ${config.baseUrl}  Redis: ${redis}  model: ${config.model}`);
    await workersReady;
    console.log(`Ready: ${describeQueues(config)}. Ctrl-C stops.`);
  },
);
