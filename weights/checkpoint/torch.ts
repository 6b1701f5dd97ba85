import { CodedError } from '../../src/errors.js';
import type { PositionedFile } from './file.js';
import { PickleGlobal, PickleMap, readPickle, Tuple, type PickleValue } from './pickle.js';
import { layoutProblem, readTensor } from './tensor.js';
import { TensorFile } from './tensor-file.js';
import { bytesPerElement, type Checkpoint, type DType, type Plain } from './types.js';
import type { TensorLayout } from './types.js';
import { entryDataAt, readZipDirectory, type ZipEntry } from './zip.js';

const largestPickle = 128 << 20;

const storageTypes = new Map<string, DType>([
  ['torch.DoubleStorage', 'float64'],
  ['torch.FloatStorage', 'float32'],
  ['torch.HalfStorage', 'float16'],
  ['torch.BFloat16Storage', 'bfloat16'],
  ['torch.LongStorage', 'int64'],
  ['torch.IntStorage', 'int32'],
  ['torch.ShortStorage', 'int16'],
  ['torch.CharStorage', 'int8'],
  ['torch.ByteStorage', 'uint8'],
  ['torch.BoolStorage', 'bool'],
]);

class Storage {
  constructor(
    readonly dtype: DType,
    readonly entry: ZipEntry,
    readonly elements: number,
  ) {}
}

class TorchTensor {
  constructor(
    readonly storage: Storage,
    readonly layout: TensorLayout,
  ) {}
}

const integers = (value: PickleValue | undefined): number[] | undefined =>
  value instanceof Tuple && value.items.every((n) => typeof n === 'number')
    ? value.items
    : undefined;

function tensorFrom(args: PickleValue[], fail: (what: string) => CodedError): TorchTensor {
  const [storage, offset, size, stride] = args;
  const shape = integers(size);
  const strides = integers(stride);
  if (!(storage instanceof Storage) || typeof offset !== 'number' || !shape || !strides) {
    throw fail('it builds a tensor from something else than a storage, an offset and sizes');
  }
  const layout: TensorLayout = {
    dtype: storage.dtype,
    shape,
    strides,
    offset,
    storageElements: storage.elements,
  };
  const problem = layoutProblem(layout);
  if (problem) throw fail(`a tensor of storage ${storage.entry.name} ${problem}`);
  return new TorchTensor(storage, layout);
}

function torchCalls(fail: (what: string) => CodedError) {
  const tensor = (args: PickleValue[]) => tensorFrom(args, fail);
  const wrapped = (args: PickleValue[]) => args[0] ?? null;
  return new Map<string, (args: PickleValue[]) => PickleValue>([
    ['torch._utils._rebuild_tensor_v2', tensor],
    ['torch._utils._rebuild_tensor', tensor],
    ['torch._utils._rebuild_parameter', wrapped],
    ['torch.Size', (args) => (args[0] instanceof Tuple ? args[0] : new Tuple([]))],
    ['collections.OrderedDict', (args) => orderedDict(args, fail)],
  ]);
}

function orderedDict(args: PickleValue[], fail: (what: string) => CodedError): PickleMap {
  const map = new PickleMap();
  const pairs = args[0] ?? [];
  if (!Array.isArray(pairs)) throw fail('it builds an OrderedDict from something else than a list');
  for (const pair of pairs) {
    const items: PickleValue[] =
      pair instanceof Tuple ? pair.items : Array.isArray(pair) ? (pair as PickleValue[]) : [];
    const [key, value] = items;
    if (items.length !== 2 || key === undefined || value === undefined) {
      throw fail('it builds an OrderedDict from something else than pairs');
    }
    map.set(key, value);
  }
  return map;
}

function storageFrom(
  id: PickleValue,
  root: string,
  entries: Map<string, ZipEntry>,
  fail: (what: string) => CodedError,
): Storage {
  const [kind, type, key] = id instanceof Tuple ? id.items : [];
  const dtype = type instanceof PickleGlobal ? storageTypes.get(type.name) : undefined;
  if (kind !== 'storage' || !dtype || typeof key !== 'string') {
    throw fail('it refers to an outside object that is not a storage');
  }
  const entry = entries.get(`${root}data/${key}`);
  if (!entry) throw fail(`storage ${root}data/${key} is missing from the archive`);
  return new Storage(dtype, entry, Math.floor(entry.size / bytesPerElement[dtype]));
}

const deepest = 32;
const mostValues = 1_000_000;

/**
 * Sorts a pickle's value into tensors, by dotted name, and plain values. Containers may be shared or
 * hold themselves, so depth and number of visits are bounded.
 */
class Flattener {
  readonly tensors = new Map<string, TorchTensor>();
  private visits = 0;

  constructor(private readonly fail: (what: string) => CodedError) {}

  flatten(value: PickleValue, name: string, depth = 0): Plain | undefined {
    if (value instanceof TorchTensor) {
      this.tensors.set(name, value);
      return undefined;
    }
    if (++this.visits > mostValues || depth > deepest) {
      throw this.fail('it nests more values than any checkpoint needs');
    }
    if (value === null || typeof value !== 'object') return value;
    const at = (key: string) => (name === '' ? key : `${name}.${key}`);
    if (value instanceof PickleMap) {
      const plain: { [key: string]: Plain } = Object.create(null) as { [key: string]: Plain };
      for (const [key, child] of value) {
        const text = typeof key === 'object' ? '' : String(key);
        const inner = this.flatten(child, at(text), depth + 1);
        if (inner !== undefined) plain[text] = inner;
      }
      return plain;
    }
    const items = value instanceof Tuple ? value.items : Array.isArray(value) ? value : undefined;
    if (!items) return undefined;
    return (items as PickleValue[])
      .map((child, i) => this.flatten(child, at(String(i)), depth + 1))
      .filter((inner) => inner !== undefined);
  }

  fields(map: PickleMap): { readonly [key: string]: Plain } {
    return this.flatten(map, '') as { [key: string]: Plain };
  }
}

/** Trainers wrap state dicts; a wrapper is a dict entry that holds tensors beside no others. */
function unwrap(root: PickleMap): [PickleMap, PickleMap | undefined] {
  const values = [...root.values()];
  if (values.some((value) => value instanceof TorchTensor)) return [root, undefined];
  const holders = values.filter(
    (value): value is PickleMap =>
      value instanceof PickleMap && [...value.values()].some((v) => v instanceof TorchTensor),
  );
  return holders.length === 1 ? [holders[0]!, root] : [root, undefined];
}

/** Opens what `torch.save` writes: a zip archive with `data.pkl` and one entry per storage. */
export async function openTorch(file: PositionedFile): Promise<Checkpoint> {
  const entries = await readZipDirectory(file);
  const pickleName = [...entries.keys()].find((name) => /^([^/]*\/)?data\.pkl$/.test(name));
  if (pickleName === undefined) {
    throw file.fail('a zip archive without data.pkl, so not a PyTorch checkpoint');
  }
  const pickle = entries.get(pickleName)!;
  if (pickle.size > largestPickle) throw file.fail(`${pickleName} is absurdly large`);
  const root = pickleName.slice(0, -'data.pkl'.length);
  const text = async (name: string) => {
    const entry = entries.get(root + name);
    if (!entry || entry.size > 64) return undefined;
    const bytes = await file.bytes(await entryDataAt(file, entry), entry.size, entry.name);
    return Buffer.from(bytes).toString('latin1').trim();
  };
  const bigEndian = (await text('byteorder')) === 'big';
  const fail = (what: string) => file.fail(`${pickleName} cannot be read: ${what}`);
  const bytes = await file.bytes(await entryDataAt(file, pickle), pickle.size, pickleName);
  const value = readPickle(bytes, {
    calls: torchCalls(fail),
    names: (name) => storageTypes.has(name),
    persistent: (id) => storageFrom(id, root, entries, fail),
    fail,
    refuse: (name) =>
      file.fail(
        `refused: its pickle names ${name}, and a checkpoint may hold only tensors and plain containers`,
        'CHECKPOINT_UNSAFE_PICKLE',
      ),
  });
  if (!(value instanceof PickleMap)) throw file.fail('it holds no dict of tensors');
  const flattener = new Flattener(fail);
  const [state, wrapper] = unwrap(value);
  let scalars = flattener.fields(state);
  if (wrapper) {
    scalars = flattener.fields(new PickleMap([...wrapper].filter(([, child]) => child !== state)));
  }
  return new TensorFile('torch', file, flattener.tensors, scalars, async (tensor, what) => {
    const at = await entryDataAt(file, tensor.storage.entry);
    return readTensor(file, tensor.layout, at, bigEndian, what);
  });
}
