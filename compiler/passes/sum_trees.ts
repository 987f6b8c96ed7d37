/** Sums of many terms: trees of f32 additions whose inner sums nothing else reads. */
import type { Node } from "../../graph/node.ts";
import { type GraphModule, moduleNodes, rewriteModule } from "../module.ts";

/** The new node of an old one, which must have been rebuilt before. */
export type NewOf = (node: Node) => Node;

/** Gives what takes a sum's place. */
export type SumBuilder = (newOf: NewOf) => Node;

/** The sums of a module. */
export class SumTrees {
  /** Additions that are no part of a larger sum. */
  readonly roots: readonly Node[];
  readonly #module: GraphModule;
  readonly #uses = new Map<Node, number>();
  readonly #inner = new Set<Node>();

  constructor(module: GraphModule) {
    this.#module = module;
    const nodes = moduleNodes(module);
    for (const node of [...nodes.flatMap(({ inputs }) => inputs), ...module.outputs.values()]) {
      this.#uses.set(node, this.usesOf(node) + 1);
    }
    const sums = nodes.filter(isSum);
    for (const { inputs } of sums) {
      for (const input of inputs) {
        if (isSum(input) && this.usesOf(input) === 1) this.#inner.add(input);
      }
    }
    this.roots = sums.filter((node) => !this.#inner.has(node));
  }

  /** How often the node is an operand or an output. */
  usesOf(node: Node): number {
    return this.#uses.get(node) ?? 0;
  }

  /** What a sum adds up, in order, seen through the sums inside of it. */
  leavesOf(root: Node): Node[] {
    const leaves: Node[] = [];
    const pending = [...root.inputs].reverse();
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      if (this.#inner.has(node)) pending.push(...[...node.inputs].reverse());
      else leaves.push(node);
    }
    return leaves;
  }

  /** The module with some of its sums built otherwise. */
  rebuild(builders: ReadonlyMap<Node, SumBuilder>): GraphModule {
    if (builders.size === 0) return this.#module;
    const made = new Map<Node, Node>();
    const newOf: NewOf = (node) => {
      const known = made.get(node);
      if (known === undefined) throw new TypeError(`${node} is used before it is rebuilt`);
      return known;
    };
    const original = moduleNodes(this.#module)[Symbol.iterator]();
    return rewriteModule(this.#module, (rebuilt) => {
      // Rewriting visits the nodes in this same order.
      const node = original.next().value;
      if (node === undefined) return rebuilt;
      const result = builders.get(node)?.(newOf) ?? rebuilt;
      made.set(node, result);
      return result;
    });
  }
}

function isSum(node: Node): boolean {
  return node.op.name === "add" && node.dtype === "f32";
}
