/**
 * What TensorRT's ONNX parser reads, written down for test/weights/tensorrt.test.ts: per operator the
 * types of its tensors and those of its restrictions that a graph alone can show. Operators that are
 * not here are not supported, or not in a way that this table could express.
 */
export const parser = {
  name: 'onnx-tensorrt',
  /** What nightlies of ONNX Runtime 1.25 are built with (microsoft/onnxruntime#27944). */
  version: '10.15',
  released: '2026-02-02',
  /** The operator list of that release; where it is silent, the importers of 10.1 (96e7811). */
  source: 'github.com/onnx/onnx-tensorrt, docs/operators.md',
  read: '2026-11-22',
  /** TensorRT 11.5 reads up to 25. */
  opsets: { from: 9, to: 24 },
} as const;

/** Of any TensorRT network. */
export const limits = {
  /** Axes of a tensor. */
  rank: 8,
  /** Elements of a tensor that holds a shape. */
  shapeElements: 64,
  /** Elements of any tensor: TensorRT before 10 allows no more, and the newest not in convolutions. */
  elements: 2 ** 31 - 1,
} as const;

export type TensorType =
  | 'float32'
  | 'float16'
  | 'bfloat16'
  | 'float8'
  | 'float4'
  | 'int64'
  | 'int32'
  | 'int8'
  | 'int4'
  | 'uint8'
  | 'bool';

export type Rule =
  /** These inputs, where given, are initializers. */
  | { readonly constant: readonly number[] }
  | { readonly given: readonly number[] }
  | { readonly absent: readonly number[] }
  /** Axes of an input, from the first number to the second. */
  | { readonly rank: readonly [number, number]; readonly of: readonly number[] }
  /** An attribute has one of these values; it counts as the first one where it is missing. */
  | { readonly attribute: string; readonly values: readonly (string | number)[] }
  | { readonly without: readonly string[] }
  /** Every entry of this attribute is one. */
  | { readonly ones: string }
  | { readonly outputs: number }
  /** These inputs have the same type, because networks of TensorRT 11 are always strongly typed. */
  | { readonly alike: readonly number[] | 'all' }
  /** A restriction that this table cannot express: a graph with this operator needs a closer look. */
  | { readonly unclear: string };

export interface Operator {
  /** Of every input and output that `others` does not name. */
  readonly types: readonly TensorType[];
  /** Types of inputs that carry no data, by position. */
  readonly others?: Readonly<Record<number, readonly TensorType[]>>;
  /** Inputs that decide the shape of the output: they follow from shapes, never from values. */
  readonly shapes?: readonly number[];
  readonly rules?: readonly Rule[];
}

const floats = ['float32', 'float16', 'bfloat16'] as const;
const numbers = [...floats, 'int32', 'int64'] as const;
const any = [...numbers, 'bool'] as const;
const halfAndFull = ['float32', 'float16'] as const;
const index = ['int32', 'int64'] as const;
const int64 = ['int64'] as const;

/** Operators of one kind, restrictions aside. */
export const kinds: readonly (readonly [readonly TensorType[], string])[] = [
  [
    floats,
    `Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv ConvTranspose
    Cos Cosh CumSum Dropout Einsum Elu Erf Exp Floor Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
    GroupNormalization GRU HardSigmoid HardSwish Hardmax ImageScaler InstanceNormalization IsInf
    LayerNormalization LeakyRelu Log LogSoftmax LRN LSTM LpNormalization LpPool MatMul MaxPool
    MeanVarianceNormalization ParametricSoftplus PRelu QuantizeLinear RandomNormal RandomNormalLike
    RandomUniform RandomUniformLike Reciprocal Resize RMSNormalization RNN RotaryEmbedding Round
    ScaledTanh Scan Selu Sigmoid Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu
    Upsample`,
  ],
  [
    numbers,
    `Abs Add ArgMax ArgMin DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less LessOrEqual Max Min
    Mod Mul Neg Pad Pow Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Scatter ScatterElements ScatterND Shrink Sign
    SpaceToDepth Sub Sum TopK`,
  ],
  [
    any,
    `Concat Expand EyeLike Flatten Gather GatherElements GatherND Identity If Loop OneHot Reshape
    ReverseSequence Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze Where`,
  ],
  [[...any, 'uint8'], 'Cast CastLike'],
  [['bool'], 'And Not Or Xor'],
  [
    halfAndFull,
    'BlackmanWindow DeformConv GridSample HammingWindow HannWindow Mish NonMaxSuppression NonZero RoiAlign',
  ],
  [['float32'], 'STFT'],
  [[...any, 'float8', 'float4', 'int4'], 'Constant ConstantOfShape'],
  [['int8', 'float8', 'float4', 'int4'], 'DequantizeLinear'],
  [[...floats, 'int8', 'float8'], 'Attention'],
  [[...numbers, 'int8'], 'Gelu'],
  [[...numbers, 'float8'], 'Mean'],
  [[...floats, 'int32'], 'TensorScatter'],
];

const reduction: Omit<Operator, 'types'> = { others: { 1: int64 }, rules: [{ constant: [1] }] };
const strong: Omit<Operator, 'types'> = { rules: [{ alike: 'all' }] };
const pooling: readonly Rule[] = [{ rank: [4, 5], of: [0] }, { ones: 'dilations' }];
const unclear = (why: string): Omit<Operator, 'types'> => ({ rules: [{ unclear: why }] });
const branches = unclear('its branches or its body have restrictions of their own');
const recurrent = unclear('directions, activations and layouts are restricted');
const zeroPoint = unclear('the zero point must be zero');

export const restrictions: Readonly<Record<string, Omit<Operator, 'types'>>> = {
  Add: strong,
  Sub: strong,
  Mul: strong,
  Div: strong,
  Max: strong,
  Min: strong,
  Pow: strong,
  Mod: strong,
  Concat: strong,
  MatMul: strong,
  Gemm: strong,
  LayerNormalization: { rules: [{ alike: 'all' }, { outputs: 1 }] },
  // the ranks are those of TensorRT 8; later lists are silent
  InstanceNormalization: { rules: [{ alike: 'all' }, { rank: [3, 5], of: [0] }] },
  Where: { others: { 0: ['bool'] }, rules: [{ alike: [1, 2] }] },
  Conv: {
    rules: [
      { alike: 'all' },
      { rank: [3, 5], of: [0, 1] },
      { rank: [1, 1], of: [2] },
      // a convolution whose kernel or bias is computed is another, slower layer
      { constant: [1, 2] },
    ],
  },
  ConvTranspose: { rules: [{ alike: 'all' }, { rank: [3, 5], of: [0, 1] }, { constant: [1, 2] }] },
  AveragePool: { rules: pooling },
  MaxPool: { rules: [...pooling, { outputs: 1 }] },
  LpPool: { rules: [{ ones: 'dilations' }] },
  BatchNormalization: { rules: [{ attribute: 'training_mode', values: [0] }] },
  Dropout: { rules: [{ absent: [2] }] },
  Reshape: { others: { 1: int64 }, shapes: [1] },
  Expand: { others: { 1: int64 }, shapes: [1] },
  Tile: { others: { 1: int64 }, shapes: [1] },
  ConstantOfShape: { others: { 0: int64 }, shapes: [0] },
  Constant: { rules: [{ without: ['sparse_value', 'value_string', 'value_strings'] }] },
  // releases before 10.3 do not read axes that are computed
  Slice: {
    others: { 1: index, 2: index, 3: index, 4: index },
    shapes: [1, 2, 4],
    rules: [{ constant: [3] }],
  },
  Pad: {
    others: { 1: int64, 3: index },
    shapes: [1],
    rules: [
      { constant: [2, 3] },
      { attribute: 'mode', values: ['constant', 'edge', 'reflect', 'wrap'] },
    ],
  },
  Split: { others: { 1: int64 }, shapes: [1] },
  // releases before 11.5 want the axes
  Squeeze: { others: { 1: int64 }, rules: [{ given: [1] }, { constant: [1] }] },
  Unsqueeze: { others: { 1: int64 }, rules: [{ given: [1] }, { constant: [1] }] },
  Resize: {
    others: { 2: ['float32'], 3: int64 },
    shapes: [2, 3],
    rules: [
      { attribute: 'mode', values: ['nearest', 'linear'] },
      {
        attribute: 'coordinate_transformation_mode',
        values: [
          'half_pixel',
          'pytorch_half_pixel',
          'tf_half_pixel_for_nn',
          'asymmetric',
          'align_corners',
        ],
      },
      {
        attribute: 'nearest_mode',
        values: ['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'],
      },
      { attribute: 'keep_aspect_ratio_policy', values: ['stretch'] },
      { attribute: 'antialias', values: [0] },
      { without: ['axes'] },
    ],
  },
  Upsample: { rules: [{ attribute: 'mode', values: ['nearest', 'linear', 'bilinear'] }] },
  ReduceL1: reduction,
  ReduceL2: reduction,
  ReduceLogSum: reduction,
  ReduceLogSumExp: reduction,
  ReduceMax: reduction,
  ReduceMean: reduction,
  ReduceMin: reduction,
  ReduceProd: reduction,
  ReduceSum: reduction,
  ReduceSumSquare: reduction,
  CumSum: { others: { 1: index }, rules: [{ constant: [1] }] },
  Gather: { others: { 1: index } },
  GatherElements: { others: { 1: index } },
  GatherND: { others: { 1: int64 } },
  Scatter: { others: { 1: index } },
  ScatterElements: { others: { 1: index } },
  ScatterND: { others: { 1: int64 }, rules: [{ attribute: 'reduction', values: ['none'] }] },
  Trilu: { others: { 1: int64 } },
  OneHot: { others: { 0: numbers, 1: numbers }, rules: [{ constant: [1] }] },
  TopK: {
    others: { 1: int64 },
    rules: [{ attribute: 'sorted', values: [1] }, { unclear: 'K must be below 3840' }],
  },
  GridSample: { rules: [{ rank: [4, 4], of: [0] }] },
  STFT: { others: { 1: index, 3: index }, rules: [{ constant: [1, 2] }] },
  LpNormalization: { rules: [{ attribute: 'p', values: [2, 1] }] },
  Attention: {
    rules: [
      { rank: [4, 4], of: [0, 1, 2, 3] },
      { absent: [4, 5, 6] },
      { outputs: 1 },
      { without: ['softcap', 'qk_matmul_output_mode'] },
    ],
  },
  RotaryEmbedding: { others: { 3: int64 } },
  TensorScatter: {
    others: { 2: int64 },
    rules: [
      { rank: [4, 4], of: [0, 1] },
      { attribute: 'axis', values: [-2] },
    ],
  },
  DeformConv: unclear('pads must be the same on both sides of an axis'),
  EyeLike: unclear('its input must have a static shape'),
  Hardmax: unclear('the axis must have a static length'),
  DequantizeLinear: zeroPoint,
  QuantizeLinear: zeroPoint,
  If: branches,
  Loop: branches,
  Scan: branches,
  GRU: recurrent,
  LSTM: recurrent,
  RNN: recurrent,
};

export const operators: ReadonlyMap<string, Operator> = new Map(
  kinds.flatMap(([types, names]) =>
    names.split(/\s+/).map((name) => [name, { types, ...restrictions[name] }] as const),
  ),
);
