import { elementCount } from '../weights/checkpoint/index.js';
import { fullSize, shapesOf, writeCheckpoint } from './synthetic/checkpoint.js';

// Makes a checkpoint of the official release's size out of synthetic tensors:
//   node dist/bench/full-size-checkpoint.js FOLDER [float32|float16]
const [folder, dtype = 'float32'] = process.argv.slice(2);
if (folder === undefined || (dtype !== 'float32' && dtype !== 'float16')) {
  console.error('Usage: node dist/bench/full-size-checkpoint.js FOLDER [float32|float16]');
  process.exit(2);
}
for (const [name, shapes] of Object.entries(shapesOf(fullSize))) {
  const parameters = [...shapes.values()].reduce((sum, shape) => sum + elementCount(shape), 0);
  console.log(`${name}: ${shapes.size} tensors, ${(parameters / 1e6).toFixed(1)} M parameters`);
}
await writeCheckpoint(folder, fullSize, { dtype });
