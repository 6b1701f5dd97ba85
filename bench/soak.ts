/**
 * Sessions, tasks, cancels, killed workers and a restart of the API for a long time, on loopback
 * (Linux): memory, open handles, temp files and Redis keys must return to what they were. Fails and
 * says what grew.
 *
 *   npm run bench -- soak [--seconds 3600] [--sessions 10]
 */
import { parseArgs } from 'node:util';
import { numberOf } from './engine/options.js';
import { soak } from './soak/soak.js';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3600' },
    sessions: { type: 'string', default: '10' },
  },
});
const result = await soak(
  {
    seconds: numberOf('seconds', values.seconds, { least: 0 })!,
    sessions: numberOf('sessions', values.sessions, { least: 1, whole: true })!,
  },
  (what) => console.log(what),
);
console.log(
  `${result.rounds} rounds; ${result.grown.length === 0 ? 'nothing grew' : 'what grew:'}`,
);
for (const what of result.grown) console.log(`- ${what}`);
if (result.grown.length > 0) process.exitCode = 1;
