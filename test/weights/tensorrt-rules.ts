import {
  AttributeProto_AttributeType as Kind,
  TensorProto_DataLocation,
  TensorProto_DataType as Type,
  type GraphProto,
  type ModelProto,
  type NodeProto,
} from 'onnx-buf';
import { attributesOf, elements, given, inferNode, show } from './graph-shapes.js';
import type { Sizes, Tensor } from './graph-shapes.js';
import { limits, operators, parser, type Rule, type TensorType } from './tensorrt-operators.js';

const names: Readonly<Record<number, TensorType>> = {
  [Type.FLOAT]: 'float32',
  [Type.FLOAT16]: 'float16',
  [Type.BFLOAT16]: 'bfloat16',
  [Type.FLOAT8E4M3FN]: 'float8',
  [Type.FLOAT4E2M1]: 'float4',
  [Type.INT64]: 'int64',
  [Type.INT32]: 'int32',
  [Type.INT8]: 'int8',
  [Type.INT4]: 'int4',
  [Type.UINT8]: 'uint8',
  [Type.BOOL]: 'bool',
};
const typeName = (type: number): string => names[type] ?? Type[type]?.toLowerCase() ?? `${type}`;

const standard = (domain: string) => domain === '' || domain === 'ai.onnx';

export interface Findings {
  /** What the parser or the builder would refuse, one sentence each. */
  readonly problems: readonly string[];
  /** Bytes of the largest tensor. */
  readonly largest: number;
}

class Check {
  readonly problems = new Set<string>();
  largest = 0;
  readonly #graph: GraphProto;

  constructor(
    readonly network: string,
    readonly model: ModelProto,
  ) {
    if (!model.graph) throw new Error(`${network} has no graph`);
    this.#graph = model.graph;
  }

  say(what: string, node?: NodeProto): void {
    this.problems.add(
      node ? `${this.network}: ${node.name} (${node.opType}): ${what}` : `${this.network}: ${what}`,
    );
  }

  /** Everything that does not depend on sizes. */
  file(): void {
    const { opsetImport, functions, trainingInfo } = this.model;
    for (const { domain, version } of opsetImport) {
      const { from, to } = parser.opsets;
      if (!standard(domain)) this.say(`domain ${domain} is not the standard one`);
      else if (version < from || version > to)
        this.say(`opset ${version} is not from ${from} to ${to}`);
    }
    if (functions.length > 0 || trainingInfo.length > 0) this.say('functions or training graphs');
    if (this.#graph.sparseInitializer.length > 0) this.say('sparse initializers');
    this.#initializers();
    this.#dimensions();
    const defined = new Set([
      '',
      ...this.#graph.input.map(({ name }) => name),
      ...this.#graph.initializer.map(({ name }) => name),
    ]);
    for (const node of this.#graph.node) {
      for (const name of node.input) if (!defined.has(name)) this.say(`${name} comes later`, node);
      for (const name of node.output) {
        if (name !== '' && defined.has(name)) this.say(`${name} exists already`, node);
        defined.add(name);
      }
      this.#node(node);
    }
    for (const { name } of this.#graph.output) {
      if (!defined.has(name)) this.say(`output ${name} is never made`);
    }
  }

  #initializers(): void {
    for (const { name, dataType, dataLocation, externalData, dims } of this.#graph.initializer) {
      if (names[dataType] === undefined) {
        this.say(`initializer ${name} has the type ${typeName(dataType)}`);
      }
      if (dims.includes(0n)) this.say(`initializer ${name} is empty`);
      if (dataLocation !== TensorProto_DataLocation.EXTERNAL) continue;
      const file = externalData.find(({ key }) => key === 'location')?.value ?? '';
      if (!/^[\w.-]+$/.test(file)) this.say(`initializer ${name} lies in ${file}`);
    }
  }

  /** Every dimension that changes has a name, so that a profile can tell its range. */
  #dimensions(): void {
    for (const { name, type } of [...this.#graph.input, ...this.#graph.output]) {
      const tensor = type?.value.case === 'tensorType' ? type.value.value : undefined;
      if (!tensor?.shape) this.say(`${name} has no shape`);
      else if (names[tensor.elemType] === undefined) {
        this.say(`${name} has the type ${typeName(tensor.elemType)}`);
      }
      for (const { value } of tensor?.shape?.dim ?? []) {
        const told = value.case === 'dimParam' ? value.value !== '' : value.case === 'dimValue';
        if (!told) this.say(`a dimension of ${name} has no name`);
      }
    }
  }

  #node(node: NodeProto): void {
    if (!standard(node.domain)) {
      this.say(`domain ${node.domain} is not the standard one`, node);
    } else if (!operators.has(node.opType)) {
      this.say(`${parser.name} ${parser.version} does not read this operator`, node);
    }
    if (node.attribute.some(({ type }) => type === Kind.GRAPH || type === Kind.GRAPHS)) {
      this.say('has a graph of its own', node);
    }
  }

  /** What depends on sizes: types, ranks, origins and volumes of every tensor. */
  run(sizes: Sizes): ReadonlyMap<string, Tensor> {
    let tensors: Map<string, Tensor>;
    try {
      tensors = given(this.#graph, sizes);
    } catch (error) {
      this.say((error as Error).message);
      return new Map();
    }
    for (const [name, tensor] of tensors) this.#volume(name, tensor);
    for (const node of this.#graph.node) {
      const inputs = node.input.map((name) => (name === '' ? undefined : tensors.get(name)));
      let outputs: readonly Tensor[];
      try {
        outputs = inferNode(node, inputs);
      } catch (error) {
        this.#rules(node, inputs, []);
        if (operators.has(node.opType)) this.say((error as Error).message, node);
        return tensors;
      }
      outputs.forEach((tensor, i) => {
        const name = node.output[i] ?? '';
        tensors.set(name, tensor);
        this.#volume(name, tensor, node);
        const holdsShapes = tensor.origin === 'shape' && tensor.type === Type.INT64;
        if (holdsShapes && elements(tensor.dims) > limits.shapeElements) {
          this.say(`${name} holds shapes and has more than ${limits.shapeElements} elements`, node);
        }
      });
      this.#rules(node, inputs, outputs);
    }
    this.#outputs(tensors, sizes);
    return tensors;
  }

  #volume(name: string, { dims, type }: Tensor, node?: NodeProto): void {
    if (dims.length > limits.rank) this.say(`${name} has ${dims.length} axes`, node);
    if (dims.includes(0)) this.say(`${name} is empty: ${show(dims)}`, node);
    if (elements(dims) > limits.elements) {
      this.say(`${name} has more than ${limits.elements} elements: ${show(dims)}`, node);
    }
    this.largest = Math.max(this.largest, elements(dims) * (type === Type.FLOAT16 ? 2 : 4));
  }

  /** Declared shapes hold, and a name means one size. */
  #outputs(tensors: ReadonlyMap<string, Tensor>, sizes: Sizes): void {
    const known = new Map(sizes);
    for (const { name, type } of this.#graph.output) {
      const made = tensors.get(name);
      const declared = type?.value.case === 'tensorType' ? type.value.value : undefined;
      if (!made || !declared) continue;
      const dims = (declared.shape?.dim ?? []).map(({ value }, i) => {
        if (value.case === 'dimValue') return Number(value.value);
        const key = value.value ?? '';
        if (!known.has(key)) known.set(key, made.dims[i] ?? 0);
        return known.get(key)!;
      });
      if (show(dims) !== show(made.dims)) {
        this.say(`output ${name} is ${show(made.dims)}, declared as ${show(dims)}`);
      }
      if ((declared.elemType as Type) !== made.type) {
        const [is, should] = [typeName(made.type), typeName(declared.elemType)];
        this.say(`output ${name} is ${is}, declared as ${should}`);
      }
    }
  }

  #rules(
    node: NodeProto,
    inputs: readonly (Tensor | undefined)[],
    outputs: readonly Tensor[],
  ): void {
    const operator = operators.get(node.opType);
    if (!operator) return;
    inputs.forEach((tensor, i) => {
      const allowed = operator.others?.[i] ?? operator.types;
      const type = tensor && typeName(tensor.type);
      if (type !== undefined && !allowed.includes(type as TensorType)) {
        this.say(`input ${i} is ${type}, not one of ${allowed.join(', ')}`, node);
      }
      if (operator.shapes?.includes(i) && tensor?.origin === 'data') {
        this.say(`input ${i} decides the shape and follows from data`, node);
      }
    });
    for (const { type } of outputs) {
      const name = typeName(type);
      if (!operator.types.includes(name as TensorType)) this.say(`makes ${name}`, node);
    }
    for (const rule of operator.rules ?? []) {
      const broken = breaks(rule, node, inputs);
      if (broken !== undefined) this.say(broken, node);
    }
  }
}

/** How a node breaks a rule, if it does. */
function breaks(
  rule: Rule,
  node: NodeProto,
  inputs: readonly (Tensor | undefined)[],
): string | undefined {
  const attributes = attributesOf(node);
  if ('unclear' in rule) return `needs a closer look: ${rule.unclear}`;
  if ('constant' in rule) {
    const i = rule.constant.find((i) => inputs[i] && inputs[i].origin !== 'initializer');
    return i === undefined ? undefined : `input ${i} is not an initializer`;
  }
  if ('given' in rule) {
    const i = rule.given.find((i) => !inputs[i]);
    return i === undefined ? undefined : `input ${i} is missing`;
  }
  if ('absent' in rule) {
    const i = rule.absent.find((i) => inputs[i]);
    return i === undefined ? undefined : `input ${i} is not read`;
  }
  if ('rank' in rule) {
    const [from, to] = rule.rank;
    const i = rule.of.find((i) => {
      const rank = inputs[i]?.dims.length;
      return rank !== undefined && (rank < from || rank > to);
    });
    return i === undefined ? undefined : `input ${i} has not ${from} to ${to} axes`;
  }
  if ('attribute' in rule) {
    const value = attributes.get(rule.attribute) ?? rule.values[0];
    const good = rule.values.some((allowed) => allowed === value);
    return good ? undefined : `${rule.attribute} is ${String(value)}`;
  }
  if ('without' in rule) {
    const name = rule.without.find((name) => attributes.has(name));
    return name === undefined ? undefined : `${name} is not read`;
  }
  if ('ones' in rule) {
    const value = attributes.get(rule.ones);
    const good = !Array.isArray(value) || value.every((n) => n === 1);
    return good ? undefined : `${rule.ones} is not all ones`;
  }
  if ('outputs' in rule) {
    const count = node.output.filter((name) => name !== '').length;
    return count <= rule.outputs ? undefined : `has ${count} outputs`;
  }
  const some = rule.alike === 'all' ? inputs : rule.alike.map((i) => inputs[i]);
  const types = new Set(some.flatMap((tensor) => (tensor ? [typeName(tensor.type)] : [])));
  return types.size <= 1 ? undefined : `mixes ${[...types].join(' and ')}`;
}

/** Compares a graph with the parser's table, with its dimensions at each of `sizes`. */
export function compare(network: string, model: ModelProto, sizes: readonly Sizes[]): Findings {
  const check = new Check(network, model);
  check.file();
  for (const one of sizes) check.run(one);
  return { problems: [...check.problems], largest: check.largest };
}

/** The shapes of the outputs at these sizes. */
export function outputsOf(model: ModelProto, sizes: Sizes): Map<string, readonly number[]> {
  const tensors = new Check('', model).run(sizes);
  return new Map(model.graph!.output.map(({ name }) => [name, tensors.get(name)?.dims ?? []]));
}
