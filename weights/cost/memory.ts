import type { GraphModel } from './graph.js';
import { bytesOf, isView, walk } from './walk.js';

type Dims = Readonly<Record<string, number>>;

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

interface Lives {
  readonly inputs: number;
  readonly largest: number;
  /** Bytes that are alive while each node runs. */
  readonly live: readonly number[];
}

/**
 * Memory of a runtime that runs the nodes in the order of the graph, each with an output of its
 * own, and frees a tensor after its last use. One that fuses or works in place needs less, one whose
 * allocator wastes, or whose convolutions want scratch, more.
 */
function livesOf(graph: GraphModel, dims: Dims): Lives {
  // a view lives in what it is a view of
  const owners = new Map<string, string>();
  const owner = (name: string) => owners.get(name) ?? name;
  for (const { op, inputs, outputs } of graph.nodes) {
    if (isView(op) && op !== 'Shape') owners.set(outputs[0]!, owner(inputs[0]!));
  }
  const lastUses = new Map<string, number>();
  graph.nodes.forEach(({ inputs }, i) => inputs.forEach((name) => lastUses.set(owner(name), i)));
  for (const name of graph.outputs) lastUses.set(owner(name), Infinity);

  const held = new Map<string, number>();
  const live: number[] = [];
  let [now, largest] = [0, 0];
  const values = walk(graph, dims, ({ node, outputs, constant }) => {
    const i = live.length;
    node.outputs.forEach((name, k) => {
      if (name === '' || constant || owners.has(name)) return;
      const bytes = bytesOf(outputs[k]!);
      held.set(name, bytes);
      now += bytes;
      largest = Math.max(largest, bytes);
    });
    live.push(now);
    for (const name of [...node.inputs, ...node.outputs]) {
      const holder = owner(name);
      if ((lastUses.get(holder) ?? i) > i) continue;
      now -= held.get(holder) ?? 0;
      held.delete(holder);
    }
  });
  const inputs = [...graph.inputs.keys()].reduce((sum, name) => sum + bytesOf(values.get(name)!), 0);
  return { inputs, largest, live };
}

export function memoryOf(graph: GraphModel, dims: Dims): CallMemory {
  const { inputs, largest, live } = livesOf(graph, dims);
  const peak = live.reduce((most, bytes) => Math.max(most, bytes), 0);
  return { inputs, peak, largest, node: graph.nodes[live.indexOf(peak)]?.name ?? '' };
}

/** Bytes `base + linear * n + quadratic * n * n` for n latent pixels. */
export interface LiveSum {
  readonly base: number;
  readonly linear: number;
  readonly quadratic: number;
}

/**
 * What is alive at once, for pictures of any size: the largest of these sums. `dimsOf` gives the
 * dimensions of a call with latents of `side` x `side`; `side` is one that every level of the network
 * halves evenly.
 */
export function liveSums(
  graph: GraphModel,
  side: number,
  dimsOf: (side: number) => Dims,
): LiveSum[] {
  const [one, two, four] = [1, 2, 4].map((factor) => livesOf(graph, dimsOf(factor * side)).live);
  const n = side * side;
  const sums = one!.map((first, i): LiveSum => {
    // Three sizes decide three numbers; with n pixels, 4n and 16n.
    const [rise, next] = [two![i]! - first, four![i]! - two![i]!];
    const quadratic = (next - 4 * rise) / 180 / (n * n);
    const linear = (rise - 15 * quadratic * n * n) / 3 / n;
    return { base: first - linear * n - quadratic * n * n, linear, quadratic };
  });
  const most = sums.sort(
    (a, b) => b.quadratic - a.quadratic || b.linear - a.linear || b.base - a.base,
  );
  // Only sums that no other one exceeds in everything can be the largest.
  return most.filter(
    (sum, i) => !most.slice(0, i).some(({ base, linear }) => linear >= sum.linear && base >= sum.base),
  );
}

/** Bytes of a graph's weights. */
export function weightBytesOf(graph: GraphModel): number {
  return [...graph.weights.values()].reduce((sum, weight) => sum + bytesOf(weight), 0);
}
