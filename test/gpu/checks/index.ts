import type { Check } from '../check.js';
import { clipExact, clipHalf, films, goldenExact, goldenHalf, graphs } from './accuracy.js';
import { build, devices, driver, kernels } from './build.js';
import { cancelling } from './life.js';
import { memory } from './memory.js';
import { nvenc } from './nvenc.js';
import { engines, plan } from './planned.js';
import { speed } from './speed.js';
import { workers } from './workers.js';

/** In the order in which they are run: what others need comes first. */
export const allChecks: readonly Check[] = [
  ...[driver, build, devices, kernels],
  ...[clipExact, goldenExact, clipHalf, goldenHalf, graphs, films],
  ...[cancelling, memory, plan, engines, nvenc, workers, speed],
];
