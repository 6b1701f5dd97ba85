import { loadConfig } from '../src/config.js';
import { processLog } from '../src/log.js';
import { serve } from './serve.js';
import { describeQueues, startWorkers } from './stack.js';

/** `npm run workers`: the workers of this machine, for a service on another one, until Ctrl-C. */
await serve(
  () => {
    const log = processLog(loadConfig(), { process: 'workers' });
    return { log, starting: startWorkers({ log }) };
  },
  async ({ config, workersReady }) => {
    await workersReady;
    console.log(`Working for ${config.baseUrl}: ${describeQueues(config)}. Ctrl-C stops.`);
  },
);
