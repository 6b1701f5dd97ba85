import { open } from 'node:fs/promises';
import type { Test } from 'tap';
import { PickleWriter } from '../../bench/synthetic/pickle.js';
import { entryOf, writeArchive, type TensorSpec } from '../../bench/synthetic/torch-archive.js';
import { CodedError, type ErrorCode } from '../../src/errors.js';

/** A spec of given float32 values. */
export const tensor = (key: string, shape: number[], values: number[]): TensorSpec => ({
  key,
  shape,
  dtype: 'float32',
  bytes: () => [new Uint8Array(Float32Array.from(values).buffer)],
});

/** A PyTorch archive around any pickle. */
export function writePickled(
  path: string,
  pickle: Uint8Array,
  storages: Record<string, Uint8Array> = {},
  byteorder = 'little',
): Promise<void> {
  return writeArchive(path, [
    entryOf('archive/data.pkl', pickle),
    entryOf('archive/byteorder', Buffer.from(byteorder)),
    ...Object.entries(storages).map(([key, bytes]) => entryOf(`archive/data/${key}`, bytes)),
    entryOf('archive/version', Buffer.from('3\n')),
  ]);
}

export interface View {
  readonly storage: string;
  readonly type: string;
  readonly elements: number;
  readonly offset: number;
  readonly shape: number[];
  readonly strides: number[];
}

/** The pickle of a dict of tensors that may share storages and have any strides. */
export function pickleViews(views: Record<string, View>): Uint8Array {
  const p = new PickleWriter().emptyDict().mark();
  for (const [key, { storage, type, elements, offset, shape, strides }] of Object.entries(views)) {
    p.text(key).global('torch._utils', '_rebuild_tensor_v2').mark().mark().text('storage');
    p.global('torch', type).text(storage).text('cpu').integer(elements).tuple().persistent();
    p.integer(offset).integers(shape).integers(strides).boolean(false);
    p.global('collections', 'OrderedDict').emptyTuple().reduce().tuple().reduce();
  }
  return p.setItems().end();
}

/** Expects a coded error whose message has all of `parts`. */
export async function refuses(
  t: Test,
  action: Promise<unknown>,
  code: ErrorCode,
  ...parts: (string | RegExp)[]
): Promise<void> {
  const error: unknown = await action.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof CodedError)) {
    t.fail(`expected ${code}, got ${String(error)}`);
    return;
  }
  t.equal(error.code, code, error.message);
  for (const part of parts) {
    if (typeof part === 'string')
      t.ok(error.message.includes(part), `${error.message} has ${part}`);
    else t.match(error.message, part);
  }
}

/** Overwrites bytes of a file in place. */
export async function patch(path: string, at: number, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'r+');
  await file.write(bytes, 0, bytes.length, at);
  await file.close();
}
