/**
 * How long clips wait, by the number of GPUs, what a clip takes and how many are asked for: a
 * discrete-event simulation of the queues, without any GPU. It prints the table of docs/scaling.md.
 *
 *   npm run bench -- capacity [--gpus 1,2,4,8] [--seconds 5,30] [--load 0.5,0.7,0.9 | --per-hour N,…]
 *       [--clips 100000] [--seed 1]
 *
 * `--seconds` is what a device works on a clip on average: `npm run bench` measures it.
 */
import { parseArgs } from 'node:util';
import { capacityDefaults, capacityTable } from './capacity/table.js';
import { numberOf } from './engine/options.js';

const { values } = parseArgs({
  options: {
    gpus: { type: 'string' },
    seconds: { type: 'string' },
    load: { type: 'string' },
    'per-hour': { type: 'string' },
    clips: { type: 'string' },
    seed: { type: 'string' },
  },
});
const list = (name: string, text: string | undefined, usual: readonly number[], whole = false) =>
  text === undefined
    ? usual
    : text.split(',').map((one) => numberOf(name, one, { least: 1e-6, whole })!);
const { devices, seconds, loads, perHour, clips, seed } = capacityDefaults;

console.log(
  capacityTable({
    devices: list('gpus', values.gpus, devices, true),
    seconds: list('seconds', values.seconds, seconds),
    loads: list('load', values.load, loads),
    perHour: list('per-hour', values['per-hour'], perHour),
    clips: list('clips', values.clips, [clips], true)[0]!,
    seed: list('seed', values.seed, [seed], true)[0]!,
  }),
);
