/** Copies of nodes that are computed a second time, later. */
import { makeNode, type Node, withProvenance } from "../graph/node.ts";
import { isRecompute, recompute } from "../graph/ops/checkpoint.ts";
import { isView } from "./schedule/access.ts";

/**
 * Makes copies of nodes, none of which may be computed before `after` is. A copy differs from its
 * original in that it reads, somewhere behind it, a `recompute` of what is kept.
 *
 * Inputs and constants are in memory all the time. They are read as they are wherever the copy
 * differs by another operand, so that what is made of parameters alone (a packed or transposed
 * kernel) is shared with the first computation.
 */
export class Recomputation {
  readonly #after: Node;
  readonly #region: string;
  readonly #copies = new Map<Node, Node>();

  /**
   * @param after What the recomputation waits for.
   * @param region A name for reports.
   */
  constructor(after: Node, region: string) {
    this.#after = after;
    this.#region = region;
  }

  /** The copy of a node that {@linkcode add} has made. */
  of(node: Node): Node | undefined {
    return this.#copies.get(node);
  }

  /** Every copy by its original. */
  get copies(): ReadonlyMap<Node, Node> {
    return this.#copies;
  }

  /**
   * Copies a node whose operands within the region have been copied before.
   *
   * @param kept What is read in place of an operand from outside of the region.
   */
  add(node: Node, kept: (operand: Node) => Node = (operand) => operand): void {
    this.#copies.set(node, withProvenance(node, () => this.#copy(node, kept)));
  }

  #copy(node: Node, kept: (operand: Node) => Node): Node {
    if (node.inputs.length === 0) return node;
    const [source, after] = node.inputs;
    // The copy of what is recomputed already waits for this recomputation, which comes later.
    if (isRecompute(node) && after !== undefined && !this.#copies.has(after)) {
      const copy = source && this.#copies.get(source);
      return copy ?? recompute(kept(source ?? node), this.#after, this.#region);
    }
    let differs = false;
    const operands = node.inputs.map((input) => {
      const copy = this.#copies.get(input);
      const operand = copy ?? (isAtHand(input) ? input : kept(input));
      if (copy !== undefined && copy !== input) differs = true;
      else if (!isAtHand(operand)) {
        differs = true;
        return recompute(operand, this.#after, this.#region);
      }
      return operand;
    });
    // A view of what is at hand takes no memory and no time.
    if (!differs && !isView(node)) {
      for (const [at, operand] of operands.entries()) {
        if (rootOf(operand).op.name === "constant") continue;
        operands[at] = recompute(operand, this.#after, this.#region);
      }
    }
    return makeNode(node.op, operands, node.attrs, node.label);
  }
}

/** Whether the node is in memory all the time, or is no more than a view of something that is. */
function isAtHand(node: Node): boolean {
  return rootOf(node).op.kind === "source";
}

function rootOf(node: Node): Node {
  let root = node;
  while (isView(root)) {
    const input = root.inputs[0];
    if (input === undefined) break;
    root = input;
  }
  return root;
}
