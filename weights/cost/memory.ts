import type { GraphModel } from './graph.js';
import { bytesOf, isView, walk } from './walk.js';

/** What one call of a network needs in memory besides its weights, in bytes. */
export interface CallMemory {
  /** Inputs, which the caller keeps. */
  readonly inputs: number;
  /** The most that is alive at once of what the nodes make, outputs included. */
  readonly peak: number;
  /** The largest of these tensors. */
  readonly largest: number;
  /** Where the peak is. */
  readonly node: string;
}

/**
 * Memory of a runtime that runs the nodes in the order of the graph, each with an output of its
 * own, and frees a tensor after its last use. One that fuses or works in place needs less, one whose
 * allocator wastes, or whose convolutions want scratch, more.
 */
export function memoryOf(
  graph: GraphModel,
  dims: Readonly<Record<string, number>>,
): CallMemory {
  // a view lives in what it is a view of
  const owners = new Map<string, string>();
  const owner = (name: string) => owners.get(name) ?? name;
  for (const { op, inputs, outputs } of graph.nodes) {
    if (isView(op) && op !== 'Shape') owners.set(outputs[0]!, owner(inputs[0]!));
  }
  const lastUses = new Map<string, number>();
  graph.nodes.forEach(({ inputs }, i) => inputs.forEach((name) => lastUses.set(owner(name), i)));
  for (const name of graph.outputs) lastUses.set(owner(name), Infinity);

  const live = new Map<string, number>();
  let [now, index] = [0, 0];
  let most = { peak: 0, largest: 0, node: '' };
  const values = walk(graph, dims, ({ node, outputs, constant }) => {
    const i = index++;
    node.outputs.forEach((name, k) => {
      if (name === '' || constant || owners.has(name)) return;
      const bytes = bytesOf(outputs[k]!);
      live.set(name, bytes);
      now += bytes;
      most = { ...most, largest: Math.max(most.largest, bytes) };
    });
    if (now > most.peak) most = { ...most, peak: now, node: node.name };
    for (const name of [...node.inputs, ...node.outputs]) {
      const held = owner(name);
      if ((lastUses.get(held) ?? i) > i) continue;
      now -= live.get(held) ?? 0;
      live.delete(held);
    }
  });
  const inputs = [...graph.inputs.keys()].reduce((sum, name) => sum + bytesOf(values.get(name)!), 0);
  return { inputs, ...most };
}
