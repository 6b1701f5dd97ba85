import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import type { RenderOptions } from '../../native/index.js';
import { CodedError } from '../../src/errors.js';

/** A tensor of a golden file; integers are exact in it as long as they fit a double. */
export interface GoldenTensor {
  shape: number[];
  data: Float32Array | Float64Array | Uint8Array;
}

const MetaSchema = Type.Object({
  steps: Type.Integer({ minimum: 1 }),
  cfg: Type.Number(),
  context_frames: Type.Integer({ minimum: 1 }),
  context_overlap: Type.Integer({ minimum: 0 }),
  fps: Type.Number({ exclusiveMinimum: 0 }),
  video_frames: Type.Optional(Type.Integer({ minimum: 1 })),
  video_limit: Type.Optional(Type.Integer({ minimum: 1 })),
});

export interface GoldenCase {
  name: string;
  meta: Static<typeof MetaSchema>;
  tensors: Map<string, GoldenTensor>;
  audio: Float32Array;
}

function bad(path: string, what: string): CodedError {
  return new CodedError('BAD_REQUEST', `${path}: ${what}`);
}

/** Element types that golden data uses, and how to copy them out of the file. */
const readers: Record<string, (bytes: Buffer) => GoldenTensor['data']> = {
  F32: (bytes) =>
    Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i)),
  U8: (bytes) => new Uint8Array(bytes),
  I64: (bytes) =>
    Float64Array.from({ length: bytes.length / 8 }, (_, i) => Number(bytes.readBigInt64LE(8 * i))),
};

async function readTensors(path: string): Promise<Map<string, GoldenTensor>> {
  const file = await readFile(path);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, start)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, GoldenTensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const read = readers[entry.dtype];
    if (read === undefined) throw bad(path, `${name} has the unknown type ${entry.dtype}`);
    const [from, to] = entry.data_offsets;
    tensors.set(name, { shape: entry.shape, data: read(file.subarray(start + from, start + to)) });
  }
  return tensors;
}

/** Samples of a WAV file with 16-bit mono sound at 16 kHz. */
async function readWav(path: string): Promise<Float32Array> {
  const file = await readFile(path);
  if (file.toString('latin1', 0, 4) !== 'RIFF') throw bad(path, 'is not a WAV file');
  let format: number[] | undefined;
  for (let at = 12; at + 8 <= file.length;) {
    const id = file.toString('latin1', at, at + 4);
    const size = file.readUInt32LE(at + 4);
    const body = file.subarray(at + 8, at + 8 + size);
    if (id === 'fmt ') {
      format = [
        body.readUInt16LE(0),
        body.readUInt16LE(2),
        body.readUInt32LE(4),
        body.readUInt16LE(14),
      ];
    } else if (id === 'data') {
      if (format?.join() !== '1,1,16000,16') throw bad(path, 'is not 16-bit mono at 16 kHz');
      return Float32Array.from(
        { length: body.length >> 1 },
        (_, i) => body.readInt16LE(2 * i) / 32768,
      );
    }
    at += 8 + size + (size & 1);
  }
  throw bad(path, 'has no sound');
}

async function readCase(folder: string, name: string): Promise<GoldenCase> {
  const metaPath = join(folder, 'meta.json');
  const meta: unknown = JSON.parse(await readFile(metaPath, 'utf8'));
  if (!Value.Check(MetaSchema, meta)) {
    const [first] = Value.Errors(MetaSchema, meta);
    throw bad(metaPath, `${first?.instancePath ?? ''} ${first?.message ?? 'is not valid'}`);
  }
  return {
    name,
    meta,
    tensors: await readTensors(join(folder, 'io.safetensors')),
    audio: await readWav(join(folder, 'audio.wav')),
  };
}

/** The cases of a golden folder, in order of their names. */
export async function readCases(folder: string): Promise<GoldenCase[]> {
  const root = join(folder, 'cases');
  if (!(await stat(root).catch(() => undefined))?.isDirectory()) throw bad(root, 'no such folder');
  const names = (await readdir(root, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
  if (names.length === 0) throw bad(root, 'holds no case');
  return Promise.all(names.map((name) => readCase(join(root, name), name)));
}

/** How to render a case whole; undefined when it lacks the picture, the mask or the noise. */
export function renderOptions({ tensors, meta, audio }: GoldenCase): RenderOptions | undefined {
  const image = tensors.get('image');
  const mask = tensors.get('face_mask');
  const noise = tensors.get('noise');
  if (image === undefined || mask === undefined || noise === undefined) return undefined;
  const [height, width] = image.shape as [number, number];
  return {
    image: { width, height, data: Uint8Array.from(image.data) },
    faceMask: { width, height, data: Uint8Array.from(mask.data, (x) => Math.round(x * 255)) },
    audio,
    noise: Float32Array.from(noise.data),
    fps: meta.fps,
    steps: meta.steps,
    cfg: meta.cfg,
    contextFrames: meta.context_frames,
    contextOverlap: meta.context_overlap,
    ...(meta.video_limit === undefined ? {} : { frames: meta.video_limit }),
  };
}
