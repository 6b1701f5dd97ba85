import { readFile } from 'node:fs/promises';
import { fromBinary } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType as Kind,
  ModelProtoSchema,
  TensorProto_DataType as Type,
  type AttributeProto,
  type ModelProto,
  type TensorProto,
} from 'onnx-buf';
import { CodedError } from '../../src/errors.js';

export type ElementType = 'float32' | 'float16' | 'int64';

export const bytesPerElement: Record<ElementType, number> = { float32: 4, float16: 2, int64: 8 };

/** What is known of a tensor before the graph runs. */
export interface TensorInfo {
  readonly dims: readonly number[];
  readonly type: ElementType;
  /** Follows from weights alone: a runtime computes it once, when it loads the graph. */
  readonly constant: boolean;
  /** Contents, where they are small or follow from shapes. */
  readonly values?: readonly number[] | undefined;
}

export type AttributeValue = number | string | readonly number[];

export interface GraphNode {
  /** With its domain where it is not ONNX's own, e.g. `echomimic:GroupNorm`. */
  readonly op: string;
  readonly name: string;
  /** An empty name is an input that was left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, AttributeValue>;
}

export interface GraphModel {
  /** A dimension is a number or a name that the caller binds. */
  readonly inputs: ReadonlyMap<
    string,
    { readonly dims: readonly (number | string)[]; readonly type: ElementType }
  >;
  readonly outputs: readonly string[];
  readonly nodes: readonly GraphNode[];
  readonly weights: ReadonlyMap<string, TensorInfo>;
}

const types = new Map<number, ElementType>([
  [Type.FLOAT, 'float32'],
  [Type.FLOAT16, 'float16'],
  [Type.INT64, 'int64'],
]);

/** Refuses what the counting does not know: a wrong count would be worse than none. */
export function unknown(where: string, what: string): CodedError {
  return new CodedError('MODEL_INVALID', `${where}: ${what}, which cannot be counted`);
}

export function typeOf(code: number, where: string): ElementType {
  const type = types.get(code);
  if (type === undefined) throw unknown(where, `element type ${Type[code] ?? code}`);
  return type;
}

function attributeOf(attribute: AttributeProto, where: string): AttributeValue {
  switch (attribute.type) {
    case Kind.INT:
      return Number(attribute.i);
    case Kind.FLOAT:
      return attribute.f;
    case Kind.STRING:
      return new TextDecoder().decode(attribute.s);
    case Kind.INTS:
      return attribute.ints.map(Number);
    default:
      throw unknown(where, `attribute ${attribute.name} of kind ${attribute.type}`);
  }
}

function valuesOf(tensor: TensorProto, type: ElementType): readonly number[] | undefined {
  const { rawData: raw } = tensor;
  if (tensor.externalData.length > 0 || raw.length === 0 || raw.length > 1024) return undefined;
  const bytes = new Uint8Array(raw).buffer;
  if (type === 'int64') return Array.from(new BigInt64Array(bytes), Number);
  return type === 'float32' ? Array.from(new Float32Array(bytes)) : undefined;
}

/** The parts of an ONNX model that decide what it costs. Weights' values are not needed. */
export function graphOf(model: ModelProto): GraphModel {
  const { graph } = model;
  if (graph === undefined) throw unknown('model', 'no graph');
  const weights = new Map<string, TensorInfo>();
  for (const tensor of graph.initializer) {
    const type = typeOf(tensor.dataType, tensor.name);
    weights.set(tensor.name, {
      dims: tensor.dims.map(Number),
      type,
      constant: true,
      values: valuesOf(tensor, type),
    });
  }
  const inputs: [string, { dims: (number | string)[]; type: ElementType }][] = graph.input.map(
    ({ name, type }) => {
      if (type?.value.case !== 'tensorType') throw unknown(name, 'an input that is no tensor');
      const { elemType, shape } = type.value.value;
      const dims = (shape?.dim ?? []).map(({ value }) =>
        value.case === 'dimParam' ? value.value : Number(value.value ?? 0),
      );
      return [name, { dims, type: typeOf(elemType, name) }];
    },
  );
  return {
    inputs: new Map(inputs),
    outputs: graph.output.map(({ name }) => name),
    weights,
    nodes: graph.node.map((node) => ({
      op: node.domain === '' ? node.opType : `${node.domain}:${node.opType}`,
      name: node.name,
      inputs: node.input,
      outputs: node.output,
      attributes: new Map(node.attribute.map((one) => [one.name, attributeOf(one, node.name)])),
    })),
  };
}

/** The graph of an ONNX file; its data file is not touched. */
export async function readGraph(path: string): Promise<GraphModel> {
  return graphOf(fromBinary(ModelProtoSchema, await readFile(path)));
}
