import closeWithGrace from 'close-with-grace';
import { loadConfig } from '../src/config.js';
import { codeOf } from '../src/errors.js';
import { createLog } from '../src/log.js';
import { type WorkersOnly, describeQueues, startWorkers } from './stack.js';

/** `npm run workers`: the workers of this machine, for a service on another one, until Ctrl-C. */
let workers: WorkersOnly | undefined;
let stopping = false;
try {
  const log = createLog(loadConfig().logLevel).child({ process: 'workers' });
  const starting = startWorkers({ log });
  closeWithGrace({ delay: 120_000, logger: log }, async ({ signal }) => {
    stopping = true;
    if (signal !== undefined) console.log('\nStopping: running tasks are finished or handed back.');
    workers ??= await starting.catch(() => undefined);
    await workers?.stop();
  });
  workers = await starting;
  const { config } = workers;
  await workers.workersReady;
  console.log(`Working for ${config.baseUrl}: ${describeQueues(config)}. Ctrl-C stops.`);
} catch (error) {
  if (!stopping) {
    console.error(`${codeOf(error)}: ${(error as Error).message}`);
    await workers?.stop();
    process.exit(1);
  }
}
