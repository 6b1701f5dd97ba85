import type { PositionedFile } from './file.js';

/** One file of an archive, stored without compression. */
export interface ZipEntry {
  readonly name: string;
  readonly size: number;
  readonly method: number;
  readonly encrypted: boolean;
  readonly headerAt: number;
}

const localHeader = 0x04034b50;
const centralHeader = 0x02014b50;
const directoryEnd = 0x06054b50;
const zip64Locator = 0x07064b50;
const zip64End = 0x06064b50;
const largestDirectory = 256 << 20;

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

interface Directory {
  entries: number;
  size: number;
  at: number;
}

async function findDirectory(file: PositionedFile): Promise<Directory> {
  const tailLength = Math.min(file.size, 22 + 65535);
  const tailAt = file.size - tailLength;
  const tail = view(await file.bytes(tailAt, tailLength, 'the archive directory'));
  let end = tailLength - 22;
  while (end >= 0 && tail.getUint32(end, true) !== directoryEnd) end--;
  if (end < 0) {
    throw file.fail('truncated: it begins as a zip archive, but the archive directory is missing');
  }
  const directory = {
    entries: tail.getUint16(end + 10, true),
    size: tail.getUint32(end + 12, true),
    at: tail.getUint32(end + 16, true),
  };
  const locatorAt = tailAt + end - 20;
  if (locatorAt < 0) return directory;
  const locator = view(await file.bytes(locatorAt, 20, 'the zip64 locator'));
  if (locator.getUint32(0, true) !== zip64Locator) return directory;
  const recordAt = Number(locator.getBigUint64(8, true));
  const record = view(await file.bytes(recordAt, 56, 'the zip64 directory record'));
  if (record.getUint32(0, true) !== zip64End) throw file.fail('broken zip64 directory record');
  return {
    entries: Number(record.getBigUint64(32, true)),
    size: Number(record.getBigUint64(40, true)),
    at: Number(record.getBigUint64(48, true)),
  };
}

/** Reads the 64-bit values that did not fit an entry's 32-bit fields, in the order of the format. */
function zip64Values(bytes: DataView, from: number, to: number, wanted: number): number[] {
  for (let at = from; at + 4 <= to; at += 4 + bytes.getUint16(at + 2, true)) {
    if (bytes.getUint16(at, true) !== 1) continue;
    const available = Math.min(wanted, bytes.getUint16(at + 2, true) >> 3);
    if (at + 4 + available * 8 > to) return [];
    return Array.from({ length: available }, (_, i) =>
      Number(bytes.getBigUint64(at + 4 + i * 8, true)),
    );
  }
  return [];
}

/** The directory of a zip or zip64 archive, by name. */
export async function readZipDirectory(file: PositionedFile): Promise<Map<string, ZipEntry>> {
  const directory = await findDirectory(file);
  if (directory.size > largestDirectory) throw file.fail('the archive directory is absurdly large');
  const bytes = await file.bytes(directory.at, directory.size, 'the archive directory');
  const data = view(bytes);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let n = 0; n < directory.entries; n++) {
    if (at + 46 > bytes.length || data.getUint32(at, true) !== centralHeader) {
      throw file.fail(`broken archive directory at entry ${n} of ${directory.entries}`);
    }
    const nameAt = at + 46;
    const extraAt = nameAt + data.getUint16(at + 28, true);
    const commentAt = extraAt + data.getUint16(at + 30, true);
    const next = commentAt + data.getUint16(at + 32, true);
    if (next > bytes.length) throw file.fail(`broken archive directory at entry ${n}`);
    const name = Buffer.from(bytes.buffer, bytes.byteOffset + nameAt, extraAt - nameAt).toString();
    let packed = data.getUint32(at + 20, true);
    let size = data.getUint32(at + 24, true);
    let headerAt = data.getUint32(at + 42, true);
    const wide = [size, packed, headerAt].filter((v) => v === 0xffffffff).length;
    if (wide > 0) {
      const values = zip64Values(data, extraAt, commentAt, wide);
      if (values.length < wide) throw file.fail(`broken zip64 sizes of archive entry ${name}`);
      if (size === 0xffffffff) size = values.shift()!;
      if (packed === 0xffffffff) packed = values.shift()!;
      if (headerAt === 0xffffffff) headerAt = values.shift()!;
    }
    const method = data.getUint16(at + 10, true);
    const encrypted = (data.getUint16(at + 8, true) & 1) !== 0;
    if (headerAt + packed > file.size) {
      throw file.fail(`truncated: archive entry ${name} reaches past the end of the file`);
    }
    entries.set(name, { name, size, method, encrypted, headerAt });
    at = next;
  }
  return entries;
}

/** Byte position of a stored entry's data; refuses what is not stored as it is. */
export async function entryDataAt(file: PositionedFile, entry: ZipEntry): Promise<number> {
  if (entry.method !== 0 || entry.encrypted) {
    const how = entry.encrypted ? 'encrypted' : `compressed (method ${entry.method})`;
    throw file.fail(
      `archive entry ${entry.name} is ${how}; torch.save stores entries uncompressed, so this file was repacked`,
    );
  }
  const header = view(await file.bytes(entry.headerAt, 30, `the header of ${entry.name}`));
  if (header.getUint32(0, true) !== localHeader) {
    throw file.fail(`broken archive: no header where entry ${entry.name} should be`);
  }
  const at = entry.headerAt + 30 + header.getUint16(26, true) + header.getUint16(28, true);
  if (at + entry.size > file.size) {
    throw file.fail(`truncated: it ends inside archive entry ${entry.name}`);
  }
  return at;
}
