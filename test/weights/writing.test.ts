import { createHash } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { halfToFloat, recycle, uninitialised } from '../../weights/checkpoint/index.js';
import { Sink } from '../../weights/graph/sink.js';

const ramp = (length: number) => Float32Array.from({ length }, (_, i) => (i % 2048) / 4);

void t.test('tensors land where they belong across pieces, with their hash', async (t) => {
  const path = join(t.testdir(), 'x.data');
  const file = await open(path, 'w');
  let reported = 0;
  const sink = new Sink(file, (bytes) => (reported += bytes));
  const large = ramp(5_000_000);
  const small = ramp(3);
  await sink.append(large, 'float32');
  await sink.padTo(20_000_064);
  await sink.append(large, 'float16');
  await sink.padTo(39_000_000);
  await sink.append(small, 'float32');
  t.equal(sink.at, 39_000_012);
  const hash = await sink.end();
  await file.close();
  t.equal(reported, 39_000_012);
  const bytes = await readFile(path);
  t.equal(bytes.length, 39_000_012);
  t.equal(hash, createHash('sha256').update(bytes).digest('hex'));
  const slice = (from: number, to: number) =>
    bytes.buffer.slice(bytes.byteOffset + from, bytes.byteOffset + to);
  t.ok(new Float32Array(slice(0, 20_000_000)).every((value, i) => value === large[i]));
  const halves = new Float32Array(large.length);
  halfToFloat(new Uint16Array(slice(20_000_064, 30_000_064)), halves);
  t.ok(halves.every((value, i) => value === large[i]));
  t.ok(bytes.subarray(30_000_064, 39_000_000).every((byte) => byte === 0));
  t.same([...new Float32Array(slice(39_000_000, 39_000_012))], [...small]);
});

void t.test('a failed write fails the writer, and nothing else', async (t) => {
  const file = await open(join(t.testdir({ x: '' }), 'x'), 'r');
  const sink = new Sink(file, () => undefined);
  const unhandled = t.capture(process, 'emitWarning');
  await t.rejects(
    (async () => {
      for (let n = 0; n < 4; n++) await sink.append(ramp(3_000_000), 'float32');
      await sink.end();
    })(),
    { code: 'EBADF' },
  );
  await sink.settle();
  await file.close();
  t.same(unhandled(), []);
});

void t.test('an array is lent to one at a time', async (t) => {
  const first = uninitialised(100_000);
  recycle(first);
  recycle(first);
  const second = uninitialised(100_000);
  const third = uninitialised(100_000);
  t.equal(second.buffer, first.buffer, 'a returned array is used again');
  t.not(third.buffer, second.buffer, 'but not twice');
  t.equal(uninitialised(30_000).length, 30_000);
  const foreign = new Float32Array(100_000);
  recycle(foreign);
  t.not(uninitialised(100_000).buffer, foreign.buffer, 'nor is an array from elsewhere');
});
