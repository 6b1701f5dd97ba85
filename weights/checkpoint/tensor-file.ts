import type { PositionedFile } from './file.js';
import type { Checkpoint, Plain, TensorInfo, TensorLayout } from './types.js';

/** A checkpoint whose directory of tensors has been read; the formats differ in how one is found. */
export class TensorFile<Stored extends { readonly layout: TensorLayout }> implements Checkpoint {
  constructor(
    readonly format: Checkpoint['format'],
    private readonly file: PositionedFile,
    private readonly tensors: ReadonlyMap<string, Stored>,
    readonly scalars: { readonly [key: string]: Plain },
    private readonly readStored: (tensor: Stored, what: string) => Promise<Float32Array>,
  ) {}

  get path(): string {
    return this.file.path;
  }

  keys(): string[] {
    return [...this.tensors.keys()];
  }

  has(key: string): boolean {
    return this.tensors.has(key);
  }

  private tensor(key: string): Stored {
    const tensor = this.tensors.get(key);
    if (!tensor) throw this.file.fail(`key ${key} is missing`, 'CHECKPOINT_KEY_MISSING');
    return tensor;
  }

  info(key: string): TensorInfo {
    const { dtype, shape } = this.tensor(key).layout;
    return { dtype, shape };
  }

  async read(key: string): Promise<Float32Array> {
    return this.readStored(this.tensor(key), `key ${key}`);
  }

  close(): Promise<void> {
    return this.file.close();
  }
}
