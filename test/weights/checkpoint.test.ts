import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { PickleWriter } from '../../bench/synthetic/pickle.js';
import { writeSafetensors, writeTorchArchive } from '../../bench/synthetic/torch-archive.js';
import { CodedError } from '../../src/errors.js';
import { openCheckpoint } from '../../weights/checkpoint/index.js';
import { patch, pickleViews, refuses, tensor, writePickled } from './helpers.js';

const bytesOf = (values: Float32Array | Float64Array | Uint16Array | BigInt64Array) =>
  new Uint8Array(values.buffer);

const two = [tensor('a.weight', [2, 3], [1, 2, 3, 4, 5, -6.5]), tensor('b', [], [0.25])];

async function contents(path: string): Promise<Record<string, number[]>> {
  const checkpoint = await openCheckpoint(path);
  const found: Record<string, number[]> = {};
  try {
    for (const key of checkpoint.keys()) found[key] = [...(await checkpoint.read(key))];
  } finally {
    await checkpoint.close();
  }
  return found;
}

const expected = { 'a.weight': [1, 2, 3, 4, 5, -6.5], b: [0.25] };

void t.test('PyTorch archives with 32-bit and 64-bit directories', async (t) => {
  const folder = t.testdir();
  for (const zip64 of [false, true]) {
    const path = join(folder, `zip64-${zip64}.pth`);
    await writeTorchArchive(path, two, { zip64 });
    t.same(await contents(path), expected);
    const checkpoint = await openCheckpoint(path);
    t.equal(checkpoint.format, 'torch');
    t.same(checkpoint.info('a.weight'), { dtype: 'float32', shape: [2, 3] });
    t.same(checkpoint.info('b').shape, []);
    t.notOk(checkpoint.has('c'));
    await refuses(
      t,
      Promise.resolve().then(() => checkpoint.read('c')),
      'CHECKPOINT_KEY_MISSING',
      path,
      'key c',
    );
    await checkpoint.close();
  }
});

void t.test('a wrapped state dict is found and its neighbours are plain values', async (t) => {
  const path = join(t.testdir(), 'whisper.pt');
  const dims = { n_mels: 80, n_audio_ctx: 1500, big: 2 ** 40, __proto__x: 1 };
  await writeTorchArchive(path, two, { wrapper: 'model_state_dict', scalars: { dims } });
  t.same(await contents(path), expected);
  const checkpoint = await openCheckpoint(path);
  t.same({ ...(checkpoint.scalars['dims'] as object) }, dims);
  await checkpoint.close();
});

void t.test('tensors may share a storage, start inside it and have any strides', async (t) => {
  const path = join(t.testdir(), 'views.pth');
  const base = Float32Array.from({ length: 24 }, (_, i) => i);
  const view = { storage: '7', type: 'FloatStorage', elements: 24 };
  const pickle = pickleViews({
    whole: { ...view, offset: 0, shape: [2, 3, 4], strides: [12, 4, 1] },
    transposed: { ...view, offset: 0, shape: [4, 6], strides: [1, 4] },
    slice: { ...view, offset: 5, shape: [2, 2], strides: [12, 2] },
    expanded: { ...view, offset: 3, shape: [2, 2], strides: [0, 1] },
    single: { ...view, offset: 23, shape: [1, 1], strides: [999, 5] },
    empty: { ...view, offset: 0, shape: [0, 4], strides: [4, 1] },
  });
  await writePickled(path, pickle, { 7: bytesOf(base) });
  const found = await contents(path);
  t.same(found['whole'], [...base]);
  t.same(
    found['transposed'],
    Array.from({ length: 24 }, (_, i) => Math.floor(i / 6) + 4 * (i % 6)),
  );
  t.same(found['slice'], [5, 7, 17, 19]);
  t.same(found['expanded'], [3, 4, 3, 4]);
  t.same(found['single'], [23]);
  t.same(found['empty'], []);
});

void t.test('every float type becomes float32, in either byte order', async (t) => {
  const folder = t.testdir();
  const one = { elements: 2, offset: 0, shape: [2], strides: [1] };
  const views = {
    half: { ...one, storage: '0', type: 'HalfStorage' },
    brain: { ...one, storage: '1', type: 'BFloat16Storage' },
    double: { ...one, storage: '2', type: 'DoubleStorage' },
    single: { ...one, storage: '3', type: 'FloatStorage' },
  };
  const storages = {
    0: bytesOf(Uint16Array.of(0x3e00, 0x8001)),
    1: bytesOf(Uint16Array.of(0x3fc0, 0xc000)),
    2: bytesOf(Float64Array.of(0.1, -2)),
    3: bytesOf(Float32Array.of(0.1, -2)),
  };
  const values = {
    half: [1.5, -(2 ** -24)],
    brain: [1.5, -2],
    double: [Math.fround(0.1), -2],
    single: [Math.fround(0.1), -2],
  };
  const path = join(folder, 'types.pth');
  await writePickled(path, pickleViews(views), storages);
  t.same(await contents(path), values);
  const swapped = Object.fromEntries(
    Object.entries(storages).map(([key, bytes]) => {
      const copy = Buffer.from(bytes);
      if (key === '2') copy.swap64();
      else if (key === '3') copy.swap32();
      else copy.swap16();
      return [key, copy];
    }),
  );
  const big = join(folder, 'big.pth');
  await writePickled(big, pickleViews(views), swapped, 'big');
  t.same(await contents(big), values);
  const longs = join(folder, 'longs.pth');
  const long = { ...one, storage: '0', type: 'LongStorage' };
  await writePickled(longs, pickleViews({ long }), { 0: bytesOf(BigInt64Array.of(1n, 2n)) });
  await refuses(t, contents(longs), 'CHECKPOINT_FORMAT_INVALID', longs, 'key long is int64');
});

void t.test('a pickle that names anything else is refused by that name', async (t) => {
  const folder = t.testdir();
  const call = (module: string, name: string) =>
    new PickleWriter().global(module, name).mark().text('touch pwned').tuple().reduce().end();
  const ascii = (text: string) => Buffer.from(text, 'latin1');
  const stackGlobal = Buffer.concat([
    Buffer.from([0x80, 4, 0x8c, 5]),
    ascii('posix'),
    Buffer.from([0x8c, 6]),
    ascii('system'),
    Buffer.from([0x93, 0x2e]),
  ]);
  const evil: [string, Uint8Array][] = [
    ['os.system', call('os', 'system')],
    ['builtins.eval', call('builtins', 'eval')],
    ['torch.load', call('torch', 'load')],
    ['torch.nn.modules.linear.Linear', call('torch.nn.modules.linear', 'Linear')],
    ['numpy.core.multiarray.scalar', call('numpy.core.multiarray', 'scalar')],
    ['posix.system', stackGlobal],
    ['subprocess.Popen', ascii('(isubprocess\nPopen\n.')],
    ['collections.OrderedDict.__init__', call('collections', 'OrderedDict.__init__')],
  ];
  for (const [name, pickle] of evil) {
    const path = join(folder, 'evil.pth');
    await writePickled(path, pickle);
    await refuses(t, openCheckpoint(path), 'CHECKPOINT_UNSAFE_PICKLE', path, `names ${name},`);
  }
  const built = join(folder, 'built.pth');
  const storageCall = new PickleWriter().global('torch', 'FloatStorage').emptyTuple().reduce();
  await writePickled(built, storageCall.end());
  await refuses(t, openCheckpoint(built), 'CHECKPOINT_UNSAFE_PICKLE', 'torch.FloatStorage');
});

void t.test('pickles that are broken or bombs are refused quickly', async (t) => {
  const folder = t.testdir();
  const path = join(folder, 'bomb.pth');
  // each list holds the one before twice: 2^40 values when walked
  const bomb = [0x80, 2, 0x7d, 0x58, 1, 0, 0, 0, 0x61, 0x5d, 0x71, 0, 0x30];
  for (let i = 1; i <= 40; i++) {
    bomb.push(0x5d, 0x71, i, 0x28, 0x68, i - 1, 0x68, i - 1, 0x65, 0x30);
  }
  await writePickled(path, Uint8Array.from([...bomb, 0x68, 40, 0x73, 0x2e]));
  await refuses(t, openCheckpoint(path), 'CHECKPOINT_FORMAT_INVALID', path, 'nests');
  const cases: [string, number[]][] = [
    ['its stack is empty', [0x80, 2, 0x2e]],
    ['it is truncated', [0x80, 2, 0x58, 255, 255, 255, 255, 0x61]],
    ['a mark is missing', [0x80, 2, 0x7d, 0x75, 0x2e]],
    ['memo entry 9 is missing', [0x80, 2, 0x68, 9, 0x2e]],
    ['the operation 0x81', [0x80, 2, 0x7d, 0x29, 0x81, 0x2e]],
    ['newer than 5', [0x80, 6, 0x2e]],
  ];
  for (const [what, pickle] of cases) {
    await writePickled(path, Uint8Array.from(pickle));
    await refuses(t, openCheckpoint(path), 'CHECKPOINT_FORMAT_INVALID', path, what);
  }
  await writePickled(path, Uint8Array.from([0x80, 2, 0x4b, 1, 0x2e]));
  await refuses(t, openCheckpoint(path), 'CHECKPOINT_FORMAT_INVALID', path, 'no dict of tensors');
  const view = { storage: '0', type: 'FloatStorage', elements: 9, strides: [1] };
  await writePickled(path, pickleViews({ a: { ...view, offset: 1, shape: [2] } }), {
    0: new Uint8Array(8),
  });
  await refuses(t, openCheckpoint(path), 'CHECKPOINT_FORMAT_INVALID', 'reaches element 2');
  await writePickled(path, pickleViews({ a: { ...view, offset: 0, shape: [2] } }));
  await refuses(t, openCheckpoint(path), 'CHECKPOINT_FORMAT_INVALID', 'archive/data/0 is missing');
});

void t.test('files that are something else say what they are', async (t) => {
  const folder = t.testdir();
  const path = join(folder, 'x.pth');
  const cases: [string, string | Uint8Array][] = [
    ['the file is empty', ''],
    ['Git LFS pointer', 'version https://git-lfs.github.com/spec/v1\noid sha256:0\n'],
    ['a web page', '<!DOCTYPE html><html></html>'],
    ['wrong magic 47494638', 'GIF89a and so on'],
    ['legacy PyTorch pickle', Buffer.from('80028a0a6cfc9c46f9206aa85019', 'hex')],
  ];
  for (const [what, bytes] of cases) {
    await writeFile(path, bytes);
    await refuses(t, openCheckpoint(path), 'CHECKPOINT_FORMAT_INVALID', path, what);
  }
  await refuses(t, openCheckpoint(join(folder, 'none.pth')), 'CHECKPOINT_FILE_MISSING', 'none.pth');
  await refuses(t, openCheckpoint(folder), 'CHECKPOINT_FILE_MISSING', folder);
});

void t.test('a compressed entry is refused, because it cannot be read at positions', async (t) => {
  const path = join(t.testdir(), 'packed.pth');
  await writeTorchArchive(path, two);
  const bytes = await readFile(path);
  const name = bytes.lastIndexOf('archive/data/0');
  await patch(path, name - 46 + 10, Uint8Array.of(8, 0));
  await refuses(t, contents(path), 'CHECKPOINT_FORMAT_INVALID', path, 'data/0 is compressed');
  await patch(path, name - 46 + 8, Uint8Array.of(1, 0, 0, 0));
  await refuses(t, contents(path), 'CHECKPOINT_FORMAT_INVALID', path, 'data/0 is encrypted');
});

void t.test('safetensors', async (t) => {
  const folder = t.testdir();
  const path = join(folder, 'x.safetensors');
  await writeSafetensors(path, two);
  t.same(await contents(path), expected);
  const checkpoint = await openCheckpoint(path);
  t.equal(checkpoint.format, 'safetensors');
  t.same({ ...checkpoint.scalars }, { format: 'pt' });
  await refuses(
    t,
    Promise.resolve().then(() => checkpoint.read('c')),
    'CHECKPOINT_KEY_MISSING',
    'key c',
  );
  await checkpoint.close();
  const raw = (header: string, data = 24) =>
    Buffer.concat([
      bytesOf(new BigInt64Array([BigInt(Buffer.byteLength(header))])),
      Buffer.from(header),
      Buffer.alloc(data),
    ]);
  const entry = (fields: object) => JSON.stringify({ k: fields });
  const cases: [string, Buffer][] = [
    ['not JSON', raw('{"k":')],
    ['unsupported type F8', raw(entry({ dtype: 'F8', shape: [1], data_offsets: [0, 1] }))],
    ['header entry of key k', raw(entry({ dtype: 'F32', shape: [-1], data_offsets: [0, 4] }))],
    ['8 bytes for the shape', raw(entry({ dtype: 'F32', shape: [3], data_offsets: [0, 8] }))],
    ['inside key k', raw(entry({ dtype: 'F32', shape: [9], data_offsets: [0, 36] }))],
    ['more than any', raw(entry({ dtype: 'F32', shape: [2 ** 40], data_offsets: [0, 2 ** 42] }))],
  ];
  for (const [what, bytes] of cases) {
    await writeFile(path, bytes);
    await refuses(t, contents(path), 'CHECKPOINT_FORMAT_INVALID', path, what);
  }
});

/** Reads everything; a failure must be one of ours. */
async function survives(path: string): Promise<boolean> {
  try {
    await contents(path);
    return true;
  } catch (error) {
    if (error instanceof CodedError) return false;
    throw error;
  }
}

void t.test('no damage gets past the readers as anything but a coded error', async (t) => {
  const folder = t.testdir();
  const files = [join(folder, 'x.pth'), join(folder, 'x.safetensors')];
  await writeTorchArchive(files[0]!, two, { zip64: true });
  await writeSafetensors(files[1]!, two);
  for (const path of files) {
    const whole = await readFile(path);
    const damaged = `${path}.damaged`;
    let refused = 0;
    for (let length = 0; length < whole.length; length += 7) {
      await writeFile(damaged, whole);
      await truncate(damaged, length);
      if (!(await survives(damaged))) refused++;
    }
    t.equal(refused, Math.ceil(whole.length / 7), 'every truncated file is refused');
    let state = 12345;
    const random = (below: number) =>
      (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % below;
    for (let round = 0; round < 300; round++) {
      const copy = Buffer.from(whole);
      for (let n = 0; n <= round % 4; n++) copy[random(copy.length)] = random(256);
      await writeFile(damaged, copy);
      await survives(damaged);
    }
  }
  t.pass('and no random change crashes or hangs them');
});
