import { type GraphModel, type GraphNode, type TensorInfo, bytesPerElement, unknown } from './graph.js';
import { product, shapeRules } from './shapes.js';

export const bytesOf = (tensor: TensorInfo) => product(tensor.dims) * bytesPerElement[tensor.type];

/** Operators that give their input another shape or name, without touching it. */
const views = new Set(['Identity', 'Reshape', 'Shape', 'Squeeze', 'Unsqueeze']);
export const isView = (op: string) => views.has(op);

export interface Visit {
  readonly node: GraphNode;
  readonly inputs: readonly (TensorInfo | undefined)[];
  readonly outputs: readonly TensorInfo[];
  /** Computed once, when a runtime loads the graph. */
  readonly constant: boolean;
}

function boundInputs(graph: GraphModel, dims: Readonly<Record<string, number>>) {
  const values = new Map<string, TensorInfo>(graph.weights);
  for (const [name, { dims: wanted, type }] of graph.inputs) {
    const bound = wanted.map((dim) => (typeof dim === 'number' ? dim : dims[dim]));
    if (bound.some((n) => n === undefined)) {
      throw unknown(name, `no size for ${wanted.filter((dim) => !(dim in dims)).join(', ')}`);
    }
    values.set(name, { dims: bound as number[], type, constant: false });
  }
  return values;
}

/**
 * Goes through one call of a network in the order of its graph, with the sizes `dims` of its named
 * dimensions. Returns every tensor.
 */
export function walk(
  graph: GraphModel,
  dims: Readonly<Record<string, number>>,
  visit: (step: Visit) => void,
): ReadonlyMap<string, TensorInfo> {
  const values = boundInputs(graph, dims);
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((name) => values.get(name));
    const missing = node.inputs.find((name, i) => name !== '' && inputs[i] === undefined);
    if (missing !== undefined) throw unknown(node.name, `${node.op} of unknown ${missing}`);
    const shape = shapeRules[node.op];
    if (shape === undefined) throw unknown(node.name, `operator ${node.op}`);
    const constant = inputs.every((input) => input === undefined || input.constant);
    const outputs = shape(node, inputs).map((one) => ({ ...one, constant }));
    node.outputs.forEach((name, i) => {
      if (name !== '') values.set(name, outputs[i]!);
    });
    visit({ node, inputs, outputs, constant });
  }
  return values;
}
