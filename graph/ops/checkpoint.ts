/**
 * The ends of what is recomputed in the backward pass. `checkpoint` marks the results of a region in
 * the graph as it is traced, with the region's borders as further operands; `recompute` is where a
 * copy of a region starts.
 */
import { ShapeError } from "../errors.ts";
import { makeNode, type Node } from "../node.ts";
import { defineOp, type ReferenceTensor } from "../op.ts";

const checkpointRecord = defineOp<{ readonly index: number; readonly results: number }>({
  name: "checkpoint",
  kind: "composite",
  doc:
    "The operand at `index`. The first `results` operands are what a region computes, the others " +
    "what it is computed from; what lies between is not kept for the gradient but recomputed.",
  infer: (inputs, { index, results }) => {
    const result = inputs[index];
    if (result === undefined || index >= results) {
      throw new ShapeError("checkpoint", `there is no result ${index} of ${results}`, []);
    }
    return { dtype: result.dtype, shape: result.shape };
  },
  vjp: (node, cotangent) =>
    node.inputs.map((_, at) => at === node.attrs["index"] ? cotangent : undefined),
  flops: () => 0,
  reference: (inputs, _output, { index }) => copyOf(inputs[index]),
  decompose: (node) => operand(node, Number(node.attrs["index"])),
});

const recomputeRecord = defineOp<{ readonly region: string }>({
  name: "recompute",
  kind: "movement",
  doc: "The first operand, for the copy of a region that is computed a second time. The second " +
    "operand's numbers do not matter: nothing that reads the result may start before it is there.",
  infer: ([x, after]) => {
    if (x === undefined || after === undefined) {
      throw new ShapeError("recompute", "wanted a value and what to wait for", []);
    }
    return { dtype: x.dtype, shape: x.shape };
  },
  vjp: (_node, cotangent) => [cotangent, undefined],
  flops: () => 0,
  reference: ([x]) => copyOf(x),
});

function operand(node: Node, at: number): Node {
  const input = node.inputs[at];
  if (input === undefined) throw new TypeError(`${node} has no operand ${at}`);
  return input;
}

function copyOf(tensor: ReferenceTensor | undefined): Float64Array {
  return Float64Array.from(tensor?.data ?? []);
}

/** A region as its results' nodes say it. */
export interface CheckpointRegion {
  readonly results: readonly Node[];
  /** What the region reads from outside. */
  readonly borders: readonly Node[];
}

/** The `index`-th result of a region, marked as one. */
export function checkpointResult({ results, borders }: CheckpointRegion, index: number): Node {
  return makeNode(checkpointRecord, [...results, ...borders], { index, results: results.length });
}

/** The region that a node is a marked result of, if it is. */
export function checkpointRegionOf(node: Node): CheckpointRegion | undefined {
  if (node.op.name !== checkpointRecord.name) return undefined;
  const count = Number(node.attrs["results"]);
  return { results: node.inputs.slice(0, count), borders: node.inputs.slice(count) };
}

/** `x`, to be read only once `after` has been computed. `region` is a name for reports. */
export function recompute(x: Node, after: Node, region: string): Node {
  return makeNode(recomputeRecord, [x, after], { region });
}

/** Whether the node starts a recomputation: {@linkcode recompute}. */
export function isRecompute(node: Node): boolean {
  return node.op.name === recomputeRecord.name;
}
