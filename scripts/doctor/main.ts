import { parseArgs } from 'node:util';
import { type Config, doubtfulNames, loadConfig } from '../../src/config.js';
import { codeOf } from '../../src/errors.js';
import { engine, gpu, weights } from './engine.js';
import { type Check, Findings } from './findings.js';
import { dataFolder, environmentFile, port } from './machine.js';
import { api, database, providers, redis, tempFiles } from './services.js';

/**
 * The part of `npm run doctor` that needs what is installed and compiled: a JSON line for each
 * finding, and one before each check, in case that ends this process. scripts/doctor.mjs runs it.
 */
const { values } = parseArgs({ options: { seconds: { type: 'string', default: '10' } } });
const findings = new Findings(Number(values.seconds) * 1000);
const settings = findings.report('settings');

/** The engine comes last: a library of its that crashes takes nothing else with it. */
const checks: readonly Check[] = [
  ...[environmentFile, dataFolder, port, redis, database, tempFiles, api, providers],
  ...[weights, engine, gpu],
];

let config: Config | undefined;
try {
  config = loadConfig();
  settings.ok('valid');
} catch (error) {
  const fix = 'correct them in the environment or in .env; docs/configuration.md has them all';
  settings.fail(`${codeOf(error)}: ${(error as Error).message}`, fix);
}
for (const doubt of doubtfulNames()) settings.warn(doubt, 'rename or remove it');
if (config !== undefined) {
  for (const check of checks) await findings.run(check, config);
}
// What did not answer in time may still be waited for somewhere.
process.exit();
