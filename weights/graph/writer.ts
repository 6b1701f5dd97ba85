import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, type ModelProto } from 'onnx-buf';
import type { DataFile, WriteOptions, WrittenFile } from './data-file.js';

export interface GraphFile {
  /** Relative to the model folder. */
  readonly path: string;
  readonly model: ModelProto;
}

async function writeGraph(folder: string, graph: GraphFile): Promise<WrittenFile> {
  const bytes = toBinary(ModelProtoSchema, graph.model);
  await writeFile(join(folder, graph.path), bytes, { flag: 'wx' });
  return {
    path: graph.path,
    bytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  };
}

/** Writes graphs and their data files into `folder`; no file of these names may exist there. */
export async function writeModel(
  folder: string,
  graphs: readonly GraphFile[],
  data: readonly DataFile[],
  options: WriteOptions = {},
): Promise<WrittenFile[]> {
  const written: WrittenFile[] = [];
  for (const graph of graphs) written.push(await writeGraph(folder, graph));
  for (const file of data) {
    if (file.bytes > 0) written.push(await file.write(folder, options));
  }
  return written;
}
