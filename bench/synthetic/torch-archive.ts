import { open, type FileHandle } from 'node:fs/promises';
import * as zlib from 'node:zlib';
import { elementCount } from '../../weights/checkpoint/index.js';
import { PickleWriter } from './pickle.js';

export interface TensorSpec {
  readonly key: string;
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'float16';
  /** The tensor's little-endian bytes, in pieces. */
  bytes(): Iterable<Uint8Array>;
}

export interface ArchiveOptions {
  /** Name of the dict that holds the tensors beside `scalars`; without it they are the root. */
  readonly wrapper?: string;
  readonly scalars?: Record<string, Record<string, number>>;
  /** Write 64-bit sizes and a 64-bit directory even where 32 bits would do. */
  readonly zip64?: boolean;
}

const alignment = 64;
const limit32 = 0xffffffff;
// Node before 20.15 cannot compute it; PyTorch does not check it either.
const crc32 = zlib.crc32 as typeof zlib.crc32 | undefined;

interface Written {
  readonly name: string;
  readonly size: number;
  readonly crc: number;
  readonly at: number;
}

class ZipWriter {
  private at = 0;
  private readonly entries: Written[] = [];

  constructor(
    private readonly file: FileHandle,
    private readonly zip64: boolean,
  ) {}

  private async put(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await this.file.write(bytes, done, bytes.length - done, this.at);
      done += bytesWritten;
      this.at += bytesWritten;
    }
  }

  /** A stored entry whose data starts at a multiple of 64, as PyTorch aligns it. */
  async add(name: string, size: number, pieces: Iterable<Uint8Array>): Promise<void> {
    const path = Buffer.from(name, 'utf8');
    const wide = this.zip64 || size >= limit32 ? 20 : 0;
    const fixed = 30 + path.length + wide;
    const padding = (alignment - ((this.at + fixed + 4) % alignment)) % alignment;
    const header = Buffer.alloc(fixed + 4 + padding);
    header.writeUInt32LE(0x04034b50, 0);
    header.writeUInt16LE(wide ? 45 : 20, 4);
    header.writeUInt32LE(wide ? limit32 : size, 18);
    header.writeUInt32LE(wide ? limit32 : size, 22);
    header.writeUInt16LE(path.length, 26);
    header.writeUInt16LE(wide + 4 + padding, 28);
    path.copy(header, 30);
    const extra = 30 + path.length;
    if (wide) {
      header.writeUInt16LE(1, extra);
      header.writeUInt16LE(16, extra + 2);
      header.writeBigUInt64LE(BigInt(size), extra + 4);
      header.writeBigUInt64LE(BigInt(size), extra + 12);
    }
    header.write('FB', extra + wide, 'latin1');
    header.writeUInt16LE(padding, extra + wide + 2);
    const at = this.at;
    await this.put(header);
    let crc = 0;
    for (const piece of pieces) {
      if (crc32) crc = crc32(piece, crc);
      await this.put(piece);
    }
    if (this.at - at - header.length !== size) throw new Error(`${name} is not ${size} bytes long`);
    const patch = Buffer.alloc(4);
    patch.writeUInt32LE(crc, 0);
    await this.file.write(patch, 0, 4, at + 14);
    this.entries.push({ name, size, crc, at });
  }

  private directoryEntry({ name, size, crc, at }: Written): Buffer {
    const path = Buffer.from(name, 'utf8');
    const wide = this.zip64 || size >= limit32 || at >= limit32;
    const entry = Buffer.alloc(46 + path.length + (wide ? 28 : 0));
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(wide ? 45 : 20, 4);
    entry.writeUInt16LE(wide ? 45 : 20, 6);
    entry.writeUInt32LE(crc, 16);
    entry.writeUInt32LE(wide ? limit32 : size, 20);
    entry.writeUInt32LE(wide ? limit32 : size, 24);
    entry.writeUInt16LE(path.length, 28);
    entry.writeUInt16LE(wide ? 28 : 0, 30);
    entry.writeUInt32LE(wide ? limit32 : at, 42);
    path.copy(entry, 46);
    if (wide) {
      const extra = 46 + path.length;
      entry.writeUInt16LE(1, extra);
      entry.writeUInt16LE(24, extra + 2);
      [size, size, at].forEach((n, i) => entry.writeBigUInt64LE(BigInt(n), extra + 4 + i * 8));
    }
    return entry;
  }

  async end(): Promise<void> {
    const at = this.at;
    await this.put(Buffer.concat(this.entries.map((entry) => this.directoryEntry(entry))));
    const size = this.at - at;
    const count = this.entries.length;
    const wide = this.zip64 || at >= limit32 || count >= 0xffff;
    if (wide) {
      const record = Buffer.alloc(76);
      record.writeUInt32LE(0x06064b50, 0);
      record.writeBigUInt64LE(44n, 4);
      record.writeUInt16LE(45, 12);
      record.writeUInt16LE(45, 14);
      [count, count, size, at].forEach((n, i) => record.writeBigUInt64LE(BigInt(n), 24 + i * 8));
      record.writeUInt32LE(0x07064b50, 56);
      record.writeBigUInt64LE(BigInt(this.at), 64);
      record.writeUInt32LE(1, 72);
      await this.put(record);
    }
    const end = Buffer.alloc(22);
    end.writeUInt32LE(0x06054b50, 0);
    end.writeUInt16LE(wide ? 0xffff : count, 8);
    end.writeUInt16LE(wide ? 0xffff : count, 10);
    end.writeUInt32LE(wide ? limit32 : size, 12);
    end.writeUInt32LE(wide ? limit32 : at, 16);
    await this.put(end);
  }
}

function statePickle(tensors: readonly TensorSpec[], options: ArchiveOptions): Buffer {
  const p = new PickleWriter().emptyDict().mark();
  for (const [name, values] of Object.entries(options.scalars ?? {})) {
    p.text(name).emptyDict().mark();
    for (const [key, value] of Object.entries(values)) p.text(key).integer(value);
    p.setItems();
  }
  if (options.wrapper !== undefined) {
    p.text(options.wrapper).global('collections', 'OrderedDict').emptyTuple().reduce().mark();
  }
  tensors.forEach(({ key, shape, dtype }, i) => {
    const strides = shape.map((_, axis) => elementCount(shape.slice(axis + 1)));
    p.text(key).global('torch._utils', '_rebuild_tensor_v2').mark().mark().text('storage');
    p.global('torch', dtype === 'float16' ? 'HalfStorage' : 'FloatStorage').text(String(i));
    p.text('cpu').integer(elementCount(shape)).tuple().persistent();
    p.integer(0).integers(shape).integers(strides).boolean(false);
    p.global('collections', 'OrderedDict').emptyTuple().reduce().tuple().reduce();
  });
  if (options.wrapper !== undefined) p.setItems();
  return p.setItems().end();
}

export interface EntrySpec {
  readonly name: string;
  readonly size: number;
  pieces(): Iterable<Uint8Array>;
}

export const entryOf = (name: string, bytes: Uint8Array): EntrySpec => ({
  name,
  size: bytes.length,
  pieces: () => [bytes],
});

/** Writes a zip archive of stored entries. */
export async function writeArchive(
  path: string,
  entries: readonly EntrySpec[],
  zip64 = false,
): Promise<void> {
  const file = await open(path, 'w');
  try {
    const zip = new ZipWriter(file, zip64);
    for (const entry of entries) await zip.add(entry.name, entry.size, entry.pieces());
    await zip.end();
  } finally {
    await file.close();
  }
}

/** Writes what `torch.save` would, one tensor at a time. */
export function writeTorchArchive(
  path: string,
  tensors: readonly TensorSpec[],
  options: ArchiveOptions = {},
): Promise<void> {
  const text = (name: string, bytes: Uint8Array) => entryOf(`archive/${name}`, bytes);
  const entries = [
    text('data.pkl', statePickle(tensors, options)),
    text('byteorder', Buffer.from('little')),
    ...tensors.map((tensor, i) => ({
      name: `archive/data/${i}`,
      size: elementCount(tensor.shape) * (tensor.dtype === 'float16' ? 2 : 4),
      pieces: () => tensor.bytes(),
    })),
    text('version', Buffer.from('3\n')),
  ];
  return writeArchive(path, entries, options.zip64);
}

/** Writes a safetensors file, one tensor at a time. */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorSpec[],
): Promise<void> {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let at = 0;
  for (const { key, shape, dtype } of tensors) {
    const end = at + elementCount(shape) * (dtype === 'float16' ? 2 : 4);
    header[key] = { dtype: dtype === 'float16' ? 'F16' : 'F32', shape, data_offsets: [at, end] };
    at = end;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = await open(path, 'w');
  try {
    await file.writeFile(Buffer.concat([length, text]));
    for (const tensor of tensors) for (const piece of tensor.bytes()) await file.writeFile(piece);
  } finally {
    await file.close();
  }
}
