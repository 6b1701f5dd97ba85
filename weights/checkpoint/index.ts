export { openCheckpoint } from './open.js';
export { bfloatToFloat, floatToHalf, halfToFloat } from './half.js';
export { MergedSource, type WeightSource } from './source.js';
export { recycle, uninitialised } from './scratch.js';
export { elementCount } from './types.js';
export type { Checkpoint, DType, Plain, TensorInfo } from './types.js';
