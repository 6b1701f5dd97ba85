import { relative } from 'node:path';
import { parseArgs } from 'node:util';
import { projectRoot } from '../src/paths.js';
import { staleConfigFiles } from './config-files.js';

/** `npm run config`: whether the files that list the settings are those of src/config/settings. */
const { values } = parseArgs({ options: { write: { type: 'boolean', default: false } } });
const stale = staleConfigFiles(values.write);
for (const path of stale) {
  console.log(`${relative(projectRoot, path)} ${values.write ? 'was written' : 'is out of date'}`);
}
if (stale.length > 0 && !values.write) {
  console.log('"npm run config -- --write" brings them up to date');
  process.exitCode = 1;
}
