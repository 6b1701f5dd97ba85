/** Element types that a checkpoint may hold. `read` converts the float types, the rest only exist. */
export type DType =
  | 'float64'
  | 'float32'
  | 'float16'
  | 'bfloat16'
  | 'int64'
  | 'int32'
  | 'int16'
  | 'int8'
  | 'uint8'
  | 'bool';

export const bytesPerElement: Record<DType, number> = {
  float64: 8,
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  int16: 2,
  int8: 1,
  uint8: 1,
  bool: 1,
};

export interface TensorInfo {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** Whatever a checkpoint holds beside tensors, e.g. `dims` of a Whisper file. */
export type Plain = null | boolean | number | bigint | string | Plain[] | { [key: string]: Plain };

/** An open checkpoint file. Tensors stay on disk until they are read, one at a time. */
export interface Checkpoint {
  readonly path: string;
  readonly format: 'torch' | 'safetensors';
  /** Names of all tensors in the order of the file. */
  keys(): string[];
  has(key: string): boolean;
  info(key: string): TensorInfo;
  /** The tensor in row-major order; any float type becomes float32. */
  read(key: string): Promise<Float32Array>;
  readonly scalars: { readonly [key: string]: Plain };
  close(): Promise<void>;
}

/** Where one tensor lies: `strides` and `offset` count elements, `storageElements` bounds them. */
export interface TensorLayout extends TensorInfo {
  readonly strides: readonly number[];
  readonly offset: number;
  readonly storageElements: number;
}

export const elementCount = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Strides of a row-major tensor. */
export function rowMajor(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i]!;
  }
  return strides;
}
