/**
 * How an op reads what another computes, seen through the movement ops between them: element for
 * element, one value a row, or otherwise.
 */
import { bytesPerElement, isHalf } from "../../graph/dtype.ts";
import { type Node, topologicalOrder } from "../../graph/node.ts";
import { isRecompute } from "../../graph/ops/checkpoint.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";

/** Movement ops that are index arithmetic and nothing else, so that no kernel ever computes them. */
const VIEWS = new Set([
  "reshape",
  "transpose",
  "broadcast",
  "slice",
  "reverse",
  "stopGradient",
  "recompute",
]);

/** Whether the node only renames elements of its input. */
export function isView(node: Node): boolean {
  return VIEWS.has(node.op.name);
}

/** Whether the node is its input's half floats as f32: each has the same value in both. */
export function isWidening(node: Node): boolean {
  if (node.op.name !== "cast" || node.dtype !== "f32") return false;
  return node.inputs.some(({ dtype }) => isHalf(dtype));
}

/** The operands whose values the node is made of: all but what a recomputation waits for. */
export function valueOperands(node: Node): readonly Node[] {
  return isRecompute(node) ? node.inputs.slice(0, 1) : node.inputs;
}

/** All nodes whose values the roots need, each after its inputs and after what it waits for. */
export function liveOrder(roots: readonly Node[]): Node[] {
  const live = new Set(roots);
  // The loop goes on over what it adds.
  for (const node of live) for (const operand of valueOperands(node)) live.add(operand);
  return topologicalOrder(roots).filter((node) => live.has(node));
}

/**
 * What must be there before the operand is read, beside what is behind its views: that for which
 * recomputations among the views wait, or, where `isKnown` does not hold for it, what it is made of.
 */
export function awaitedBy(operand: Node, isKnown: (node: Node) => boolean): Set<Node> {
  const found = new Set<Node>();
  const seen = new Set<Node>();
  const stack: Node[] = [];
  const passViews = (from: Node): Node => {
    let node = from;
    while (isView(node)) {
      const [input, after] = node.inputs;
      if (after !== undefined) stack.push(after);
      if (input === undefined) break;
      node = input;
    }
    return node;
  };
  passViews(operand);
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const node = passViews(top);
    if (seen.has(node)) continue;
    seen.add(node);
    if (isKnown(node)) found.add(node);
    else stack.push(...node.inputs);
  }
  return found;
}

/** How many elements the node has; its shape must be bound. */
export function sizeOf(node: Node): number {
  return staticSize(staticShape(node.shape));
}

/** How many bytes the node's value takes; its shape must be bound. */
export function bytesOf(node: Node): number {
  return sizeOf(node) * bytesPerElement(node.dtype);
}

/** A read of `producer`. */
export interface Access {
  readonly producer: Node;
  /**
   * `same`: element i reads element i (row-major, whatever the shapes). `row`: element i reads
   * element floor(i / columns). `other`: anything else.
   */
  readonly pattern: "same" | "row" | "other";
  /** For `row`: how many consecutive elements read one. 1 for `same`. */
  readonly columns: number;
}

/** The node behind a chain of views, and how its elements are read. */
export function accessOf(operand: Node): Access {
  let node = operand;
  let columns = 1;
  let plain = true;
  for (;;) {
    if (!isView(node)) break;
    const input = node.inputs[0];
    if (input === undefined) break;
    const factor = rowFactor(node, input);
    if (factor === undefined) plain = false;
    else columns *= factor;
    node = input;
  }
  if (!plain) return { producer: node, pattern: "other", columns: 1 };
  return { producer: node, pattern: columns === 1 ? "same" : "row", columns };
}

/** How many consecutive elements of the view read one of its input; undefined if not so regular. */
function rowFactor(view: Node, input: Node): number | undefined {
  switch (view.op.name) {
    case "reshape":
    case "stopGradient":
    case "recompute":
      return 1;
    case "broadcast":
      return broadcastRowFactor(view, input);
    case "transpose":
      return movesOnlyUnitAxes(view, input) ? 1 : undefined;
    default:
      return sizeOf(view) === sizeOf(input) && view.op.name === "slice" ? 1 : undefined;
  }
}

function movesOnlyUnitAxes(view: Node, input: Node): boolean {
  const permutation = view.attrs["permutation"];
  if (!Array.isArray(permutation)) return false;
  const kept = permutation.filter((axis) => input.shape[Number(axis)] !== 1).map(Number);
  return kept.every((axis, at) => at === 0 || axis > (kept[at - 1] ?? -1));
}

function broadcastRowFactor(view: Node, input: Node): number | undefined {
  const axes = view.attrs["axes"];
  if (!Array.isArray(axes)) return undefined;
  const out = staticShape(view.shape);
  const source = staticShape(input.shape);
  const carried = new Map<number, number>();
  axes.forEach((axis, from) => carried.set(Number(axis), source[from] ?? 1));
  let factor = 1;
  for (let axis = out.length - 1; axis >= 0; axis--) {
    const extent = out[axis] ?? 1;
    const from = carried.get(axis) ?? 1;
    if (from === extent) continue;
    // A stretched axis is regular only while no carried axis lies inside of it.
    const inside = out.slice(axis + 1).some((size, at) =>
      size !== 1 && (carried.get(axis + 1 + at) ?? 1) === size
    );
    if (inside) return undefined;
    factor *= extent;
  }
  return factor;
}
