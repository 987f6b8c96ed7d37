/**
 * Decides which values are written to memory. Everything else is computed where it is read: a cheap
 * elementwise value is recomputed in each kernel that needs it rather than stored and loaded.
 */
import type { Node } from "../../graph/node.ts";
import { operandOf, uniformConstant } from "../lower/values.ts";
import { accessOf, isView, sizeOf } from "./access.ts";
import { type Cluster, type Clustering, isComputed, isReduction } from "./cluster.ts";

/** A kernel to be: a cluster, and those of its members that it writes to memory. */
export interface KernelPlan {
  readonly cluster: Cluster;
  readonly stores: readonly Node[];
}

/** The kernels, and everything that is in memory. */
export interface StorePlan {
  readonly kernels: readonly KernelPlan[];
  /** Whether a buffer holds the node's value. */
  readonly isHeld: (node: Node) => boolean;
}

/** Operations to recompute a value at most, where it would be recomputed in several kernels. */
const CHEAP = 8;
/** Loads that recomputing a value may take. */
const FEW_LOADS = 3;

const WEIGHTS: Readonly<Record<string, number>> = {
  div: 2,
  sqrt: 2,
  rsqrt: 2,
  reciprocal: 2,
  exp: 10,
  log: 10,
  log1p: 12,
  tanh: 12,
  erf: 12,
  sigmoid: 12,
  sin: 12,
  cos: 12,
  pow: 24,
  threefry: 70,
  concat: 10,
  pad: 10,
  gather: 10,
};

/** Rough number of simple operations one element of the op takes. */
export function operationWeight(node: Node): number {
  return WEIGHTS[node.op.name] ?? 1;
}

const TEMPLATES = new Set(["matmul", "attention", "attentionGrad"]);

/** A source that has a buffer: an input, or a constant with more than one value. */
export function isBufferedSource(node: Node): boolean {
  if (node.op.name === "input") return true;
  return node.op.name === "constant" && uniformConstant(node) === undefined && sizeOf(node) > 0;
}

/** Plans what is stored. `roots` are stored in any case, and so is what a template reads. */
export function planStores(
  clustering: Clustering,
  roots: readonly Node[],
  templateOperands: readonly Node[],
): StorePlan {
  return new StorePlanner(clustering).run([...roots, ...templateOperands]);
}

class StorePlanner {
  readonly #clustering: Clustering;
  readonly #stored = new Set<Node>();
  readonly #pending: Node[] = [];
  readonly #users = new Map<Node, { user: Node; size: number }[]>();

  constructor(clustering: Clustering) {
    this.#clustering = clustering;
  }

  run(required: readonly Node[]): StorePlan {
    this.#collectUsers();
    for (const node of required) if (this.#clustering.of.has(node)) this.#store(node);
    for (const node of this.#clustering.order) this.#decide(node);
    this.#close();
    const kernels: KernelPlan[] = [];
    for (const cluster of this.#clustering.clusters) {
      const stores = [...cluster.members.keys()].filter((node) => this.#stored.has(node));
      if (stores.length > 0) kernels.push({ cluster, stores });
    }
    return { kernels, isHeld: (node) => this.#isHeld(node) };
  }

  /**
   * Copies of views do not count: whoever else needs the value reads what is behind the view, since
   * the copy may be made later.
   */
  #isHeld(node: Node): boolean {
    return (this.#stored.has(node) && !isView(node)) || isBufferedSource(node);
  }

  #store(node: Node): void {
    if (this.#stored.has(node)) return;
    this.#stored.add(node);
    this.#pending.push(node);
  }

  #collectUsers(): void {
    for (const user of this.#clustering.order) {
      if (!this.#clustering.of.has(user)) continue;
      for (const input of user.inputs) {
        const { producer } = accessOf(input);
        const uses = this.#users.get(producer) ?? [];
        uses.push({ user, size: sizeOf(input) });
        this.#users.set(producer, uses);
      }
    }
  }

  #decide(node: Node): void {
    const home = this.#clustering.of.get(node);
    if (home === undefined || this.#stored.has(node)) return;
    const users = this.#users.get(node) ?? [];
    const outside = users.filter(({ user }) => this.#clustering.of.get(user) !== home);
    if (outside.length === 0) return;
    if (!canInline(node) || !this.#inlinesWell(node, users, outside)) this.#store(node);
  }

  #inlinesWell(
    node: Node,
    users: readonly { user: Node; size: number }[],
    outside: readonly { user: Node; size: number }[],
  ): boolean {
    const { weight, leaves } = this.#inlineCost(node);
    if (weight === Infinity) return false;
    const own = sizeOf(node);
    const stretched = outside.some(({ size }) => size > own);
    if (stretched) return weight <= 2 && leaves.size <= 1;
    if (weight <= CHEAP && leaves.size <= FEW_LOADS) return true;
    const kernels = new Set(outside.map(({ user }) => this.#clustering.of.get(user)));
    return kernels.size === 1 && users.length === outside.length;
  }

  /** Operations to recompute the node from what is (or must be) in memory, and what it loads. */
  #inlineCost(node: Node): { weight: number; leaves: ReadonlySet<Node> } {
    const leaves = new Set<Node>();
    const seen = new Set<Node>();
    let weight = 0;
    const visit = (at: Node, isRoot: boolean): void => {
      if (seen.has(at)) return;
      seen.add(at);
      if (isView(at)) return visit(operandOf(at, 0), false);
      if (!isRoot && this.#isHeld(at)) {
        leaves.add(at);
        return;
      }
      if (!isComputed(at) && !this.#clustering.of.has(at)) return;
      if (!canInline(at)) {
        if (isReduction(at)) leaves.add(at);
        else weight = Infinity;
        return;
      }
      weight += operationWeight(at);
      for (const input of at.inputs) visit(input, false);
    };
    visit(node, true);
    return { weight, leaves };
  }

  /** Stores whatever a kernel needs and cannot compute in place, until nothing is missing. */
  #close(): void {
    for (let node = this.#pending.pop(); node !== undefined; node = this.#pending.pop()) {
      const home = this.#clustering.of.get(node);
      if (home === undefined || home.kind === "attention" || home.kind === "attentionGrad") {
        continue;
      }
      this.#require(node, home, new Set());
    }
  }

  #require(node: Node, home: Cluster, seen: Set<Node>): void {
    if (seen.has(node)) return;
    seen.add(node);
    if (isView(node)) return this.#require(operandOf(node, 0), home, seen);
    const cluster = this.#clustering.of.get(node);
    if (cluster === undefined) return;
    if (cluster !== home) {
      if (this.#stored.has(node)) return;
      if (!canInline(node)) return this.#store(node);
    } else if (TEMPLATES.has(home.kind) && !canInline(node)) {
      return;
    }
    for (const input of node.inputs) this.#require(input, home, seen);
  }
}

/** Whether the node is one expression of its operands' elements. */
function canInline(node: Node): boolean {
  return node.op.kind === "elementwise" || node.op.name === "concat" ||
    node.op.name === "pad" || node.op.name === "gather" || isView(node);
}
