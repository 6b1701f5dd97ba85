import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { Engine, type Tensor } from '../../native/index.js';
import { openModel } from '../../native/model.js';
import { testModel } from './clip.js';

const program = join(dirname(fileURLToPath(import.meta.url)), 'fixtures', 'memory.js');

async function measure(seconds: number): Promise<{ frames: number; kilobytes: number }> {
  const args = [program, testModel, String(seconds)];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout) as { frames: number; kilobytes: number };
}

t.test('memory does not grow with the clip', async (t) => {
  const short = await measure(10);
  const long = await measure(60);
  t.comment(JSON.stringify({ short, long }));
  t.equal(long.frames, 1442);
  t.ok(long.kilobytes <= 1.3 * short.kilobytes, `${long.kilobytes} after ${short.kilobytes}`);
});

t.test('the second run of a network needs no more memory than the first', async (t) => {
  const { config } = await openModel(testModel);
  const { states, width, windowBefore, windowAfter } = config.audio;
  const engine = await Engine.load({ model: testModel, threads: 1 });
  t.teardown(() => engine.dispose());
  const tensor = (...shape: number[]): Tensor => ({
    shape,
    data: new Float32Array(shape.reduce((size, side) => size * side, 1)).fill(0.5),
  });
  const inputs = {
    ...(await engine.run('reference', { latents: tensor(1, 4, 32, 32) })),
    sample: tensor(1, 8, 4, 32, 32),
    timestep: tensor(1),
    audio: tensor(1, 8, (windowBefore + 1 + windowAfter) * states, width),
    face: tensor(config.unetChannels[0]!, 32, 32),
  };
  const after: number[] = [];
  for (let i = 0; i < 2; i++) {
    await engine.run('denoiser', inputs);
    after.push(process.memoryUsage.rss() / 1e6);
  }
  t.ok(after[1]! - after[0]! < 16, `MB after each run: ${after.join()}`);
});
