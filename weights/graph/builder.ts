import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType as Kind,
  AttributeProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProto_DataLocation,
  TensorProto_DataType as Type,
  TensorProtoSchema,
  ValueInfoProtoSchema,
  type AttributeProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from 'onnx-buf';
import { floatToHalf } from '../checkpoint/index.js';
import type { DataFile } from './data-file.js';
import type { Weight } from './weight.js';

export type Precision = 'fp32' | 'fp16';
export type ElementType = 'float32' | 'float16' | 'int64';
/** A dimension is a number or the name of one that changes from call to call. */
export type Dim = number | string;
export type Attribute = number | string | readonly number[] | { readonly float: number };

const types: Record<ElementType, Type> = {
  float32: Type.FLOAT,
  float16: Type.FLOAT16,
  int64: Type.INT64,
};

export const opset = 18;
const irVersion = 9;
/** ONNX Runtime's own operators, and ours (native/ops/ops.h). */
const contribDomain = 'com.microsoft';
const ownDomain = 'echomimic';

/**
 * One ONNX graph in the making. `node` appends an operator and returns the name of its (first)
 * output; names come from the scopes it stands in, e.g. `down_blocks.0.resnets.1/norm1/silu`, so
 * that the file reads well in a viewer. Weights go to the data file, which several graphs may share.
 */
export class Graph {
  readonly #nodes: NodeProto[] = [];
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];
  readonly #initializers = new Map<string, TensorProto>();
  readonly #names = new Set<string>();
  readonly #casts = new Map<string, string>();
  readonly #scopes: string[] = [];
  readonly #domains = new Set<string>();

  /**
   * @param precision how weights are stored
   * @param compute element type of what flows between layers; weights stored otherwise are cast
   */
  constructor(
    readonly name: string,
    readonly data: DataFile,
    readonly precision: Precision = 'fp32',
    readonly compute: 'float32' | 'float16' = precision === 'fp16' ? 'float16' : 'float32',
  ) {}

  /** Names of everything that `body` appends start with `name`. */
  scope<T>(name: string, body: () => T): T {
    this.#scopes.push(name);
    try {
      return body();
    } finally {
      this.#scopes.pop();
    }
  }

  unique(name: string): string {
    const full = [...this.#scopes, name].join('/');
    let candidate = full;
    for (let n = 2; this.#names.has(candidate); n++) candidate = `${full}.${n}`;
    this.#names.add(candidate);
    return candidate;
  }

  input(name: string, dims: readonly Dim[], type: ElementType = 'float32'): string {
    this.#names.add(name);
    this.#inputs.push(valueInfo(name, dims, type));
    return name;
  }

  /** Declares `value` as an output called `name`. */
  output(name: string, value: string, dims: readonly Dim[], type: ElementType = 'float32'): void {
    this.#names.add(name);
    this.#nodes.push(
      create(NodeProtoSchema, { opType: 'Identity', name, input: [value], output: [name] }),
    );
    this.#outputs.push(valueInfo(name, dims, type));
  }

  /** A tensor of the data file, stored in the precision of the model. */
  weight(name: string, weight: Weight): string {
    const stored = this.precision === 'fp16' ? 'float16' : 'float32';
    const value = this.#stored(name, weight, stored);
    if (stored === this.compute) return value;
    let cast = this.#casts.get(value);
    if (cast === undefined) {
      cast = `${value}:${this.compute}`;
      this.#names.add(cast);
      this.#casts.set(value, cast);
      this.#nodes.push(
        create(NodeProtoSchema, {
          opType: 'Cast',
          name: cast,
          input: [value],
          output: [cast],
          attribute: [attribute('to', types[this.compute])],
        }),
      );
    }
    return cast;
  }

  /** A tensor of the data file that is float32 in every precision. */
  weight32(name: string, weight: Weight): string {
    return this.#stored(this.precision === 'fp32' ? name : `${name}:float32`, weight, 'float32');
  }

  #stored(key: string, weight: Weight, type: 'float32' | 'float16'): string {
    if (!this.#initializers.has(key)) {
      const place = this.data.place(key, weight, type);
      this.#initializers.set(
        key,
        create(TensorProtoSchema, {
          name: key,
          dims: weight.dims.map(BigInt),
          dataType: types[type],
          dataLocation: TensorProto_DataLocation.EXTERNAL,
          externalData: [
            { key: 'location', value: this.data.path },
            { key: 'offset', value: String(place.offset) },
            { key: 'length', value: String(place.length) },
          ],
        }),
      );
      this.#names.add(key);
    }
    return key;
  }

  /** A small int64 tensor inside the graph file. */
  ints(values: readonly number[], dims: readonly number[] = [values.length]): string {
    const name = `i64[${dims.join(',')}](${values.join(',')})`;
    const raw = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    return this.#inline(name, dims, 'int64', raw);
  }

  /** A scalar inside the graph file, by default of the type that flows between layers. */
  scalar(value: number, type: 'float32' | 'float16' = this.compute): string {
    const raw =
      type === 'float32'
        ? new Uint8Array(Float32Array.of(value).buffer)
        : new Uint8Array(half(value).buffer);
    return this.#inline(`${type === 'float32' ? 'f32' : 'f16'}(${value})`, [], type, raw);
  }

  /** A small float32 tensor inside the graph file. */
  floats(values: readonly number[]): string {
    const raw = new Uint8Array(Float32Array.from(values).buffer);
    return this.#inline(
      `f32[${values.length}](${values.join(',')})`,
      [values.length],
      'float32',
      raw,
    );
  }

  node(
    opType: string,
    inputs: readonly string[],
    attributes: Record<string, Attribute> = {},
    name = opType.toLowerCase(),
  ): string {
    return this.nodes(opType, inputs, [name], attributes)[0]!;
  }

  /** Like `node`, for operators with several outputs; an empty name leaves that output out. */
  nodes(
    opType: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Record<string, Attribute> = {},
    domain = '',
  ): string[] {
    const names = outputs.map((name) => (name === '' ? '' : this.unique(name)));
    if (domain !== '') this.#domains.add(domain);
    this.#nodes.push(
      create(NodeProtoSchema, {
        opType,
        name: names.find((name) => name !== '') ?? '',
        domain,
        input: [...inputs],
        output: names,
        attribute: Object.entries(attributes).map(([key, value]) => attribute(key, value)),
      }),
    );
    return names;
  }

  /** An operator of ONNX Runtime's own, for graphs that only its CPU provider reads. */
  contrib(
    opType: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Record<string, Attribute> = {},
  ): string[] {
    return this.nodes(opType, inputs, outputs, attributes, contribDomain);
  }

  /** An operator of the engine's own, for graphs that only its CPU provider reads. */
  own(
    opType: string,
    inputs: readonly string[],
    attributes: Record<string, Attribute> = {},
    name = opType.toLowerCase(),
  ): string {
    return this.ownNodes(opType, inputs, [name], attributes)[0]!;
  }

  ownNodes(
    opType: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Record<string, Attribute> = {},
  ): string[] {
    return this.nodes(opType, inputs, outputs, attributes, ownDomain);
  }

  build(doc = ''): ModelProto {
    const init: MessageInitShape<typeof ModelProtoSchema> = {
      irVersion: BigInt(irVersion),
      producerName: 'echomimic-server',
      opsetImport: [
        { domain: '', version: BigInt(opset) },
        ...[...this.#domains].map((domain) => ({ domain, version: 1n })),
      ],
      graph: {
        name: this.name,
        docString: doc,
        node: this.#nodes,
        input: this.#inputs,
        output: this.#outputs,
        initializer: [...this.#initializers.values()],
      },
    };
    return create(ModelProtoSchema, init);
  }

  #inline(name: string, dims: readonly number[], type: ElementType, raw: Uint8Array): string {
    if (!this.#initializers.has(name)) {
      this.#names.add(name);
      this.#initializers.set(
        name,
        create(TensorProtoSchema, {
          name,
          dims: dims.map(BigInt),
          dataType: types[type],
          rawData: raw as Uint8Array<ArrayBuffer>,
        }),
      );
    }
    return name;
  }
}

function valueInfo(name: string, dims: readonly Dim[], type: ElementType): ValueInfoProto {
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: 'tensorType',
        value: {
          elemType: types[type],
          shape: {
            dim: dims.map((dim) => ({
              value:
                typeof dim === 'number'
                  ? { case: 'dimValue' as const, value: BigInt(dim) }
                  : { case: 'dimParam' as const, value: dim },
            })),
          },
        },
      },
    },
  });
}

function attribute(name: string, value: Attribute): AttributeProto {
  if (typeof value === 'string') {
    return create(AttributeProtoSchema, {
      name,
      type: Kind.STRING,
      s: new TextEncoder().encode(value),
    });
  }
  if (typeof value === 'number') {
    return create(AttributeProtoSchema, { name, type: Kind.INT, i: BigInt(value) });
  }
  if ('float' in value) {
    return create(AttributeProtoSchema, { name, type: Kind.FLOAT, f: value.float });
  }
  return create(AttributeProtoSchema, { name, type: Kind.INTS, ints: value.map(BigInt) });
}

function half(value: number): Uint16Array {
  const out = new Uint16Array(1);
  floatToHalf(Float32Array.of(value), out);
  return out;
}
