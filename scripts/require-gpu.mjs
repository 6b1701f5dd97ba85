// Ends at once, before anything is built, on a machine where `npm run test:gpu` has nothing to test.
import { existsSync } from 'node:fs';

// made by NVIDIA's driver on Linux; the second by Windows for its Linux
const signs = ['/dev/nvidiactl', '/dev/dxg'];

if (!signs.some((path) => existsSync(path))) {
  console.error(
    `test:gpu: THERE IS NO NVIDIA GPU HERE, so nothing was tested and nothing passed.\n` +
      `None of ${signs.join(', ')} exists: the driver is not loaded, or this container was not ` +
      'given the GPU (docker run --gpus all).\nWithout a GPU "npm test" checks all that can be ' +
      'checked; docs/gpu-acceptance.md says what is left.',
  );
  process.exit(1);
}
