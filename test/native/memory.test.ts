import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
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
