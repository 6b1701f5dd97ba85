import type { PositionedFile } from './file.js';
import { layoutProblem, readTensor } from './tensor.js';
import { TensorFile } from './tensor-file.js';
import { bytesPerElement, elementCount, rowMajor } from './types.js';
import type { Checkpoint, DType, Plain, TensorLayout } from './types.js';

const largestHeader = 100_000_000; // the format's own limit

const dtypes = new Map<string, DType>([
  ['F64', 'float64'],
  ['F32', 'float32'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['I64', 'int64'],
  ['I32', 'int32'],
  ['I16', 'int16'],
  ['I8', 'int8'],
  ['U8', 'uint8'],
  ['BOOL', 'bool'],
]);

interface Stored {
  readonly layout: TensorLayout;
  readonly at: number;
}

function storedTensor(file: PositionedFile, key: string, entry: unknown, dataAt: number): Stored {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  const type = typeof dtype === 'string' ? dtypes.get(dtype) : undefined;
  if (!type) throw file.fail(`key ${key} has the unsupported type ${String(dtype)}`);
  const numbers = (list: unknown): list is number[] =>
    Array.isArray(list) && list.every((n) => Number.isSafeInteger(n) && (n as number) >= 0);
  if (!numbers(shape) || !numbers(offsets) || offsets.length !== 2) {
    throw file.fail(`the header entry of key ${key} is broken`);
  }
  const [begin, end] = offsets as [number, number];
  const elements = elementCount(shape);
  const layout: TensorLayout = {
    dtype: type,
    shape,
    strides: rowMajor(shape),
    offset: 0,
    storageElements: elements,
  };
  const problem = layoutProblem(layout);
  if (problem) throw file.fail(`key ${key} ${problem}`);
  if (end - begin !== elements * bytesPerElement[type]) {
    throw file.fail(`key ${key} has ${end - begin} bytes for the shape [${shape.join(', ')}]`);
  }
  if (dataAt + end > file.size) throw file.fail(`truncated: it ends inside key ${key}`);
  return { layout, at: dataAt + begin };
}

/** Opens a safetensors file: a JSON header, then the tensors side by side. */
export async function openSafetensors(file: PositionedFile): Promise<Checkpoint> {
  const length = Number(
    new DataView((await file.bytes(0, 8, 'the header')).buffer).getBigUint64(0, true),
  );
  if (length > largestHeader) throw file.fail('the safetensors header is absurdly large');
  const text = Buffer.from(await file.bytes(8, length, 'the safetensors header')).toString('utf8');
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    throw file.fail('the safetensors header is not JSON');
  }
  if (header === null || typeof header !== 'object' || Array.isArray(header)) {
    throw file.fail('the safetensors header is not an object');
  }
  const tensors = new Map<string, Stored>();
  let scalars: { [key: string]: Plain } = {};
  for (const [key, entry] of Object.entries(header)) {
    if (key === '__metadata__') scalars = (entry ?? {}) as { [key: string]: Plain };
    else tensors.set(key, storedTensor(file, key, entry, 8 + length));
  }
  return new TensorFile('safetensors', file, tensors, scalars, ({ layout, at }, what) =>
    readTensor(file, layout, at, false, what),
  );
}
