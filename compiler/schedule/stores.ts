/**
 * Decides which values are written to memory. Everything else is computed where it is read: a cheap
 * elementwise value is recomputed in each kernel that needs it rather than stored and loaded.
 */
import type { Node } from "../../graph/node.ts";
import { operandOf } from "../lower/attributes.ts";
import type { RuleReport } from "../report.ts";
import { accessOf, isView, sizeOf, valueOperands } from "./access.ts";
import { isLanding } from "./copy.ts";
import type { Cluster, Clustering } from "./cluster.ts";
import { isBufferedSource, isReduction, isTemplate } from "./ops.ts";

/** A kernel to be: a cluster, and those of its members that it writes to memory. */
export interface KernelPlan {
  readonly cluster: Cluster;
  readonly stores: readonly Node[];
  /**
   * All that it computes: members first, without those that others compute in its stead, then what it
   * computes in others' stead.
   */
  readonly nodes: readonly Node[];
}

/** The kernels, and everything that is in memory. */
export interface StorePlan {
  readonly kernels: readonly KernelPlan[];
  /** Whether a buffer holds the node's value. */
  readonly isHeld: (node: Node) => boolean;
  /** Values that could be computed where they are read but are stored, and why. */
  readonly refusals: ReadonlyMap<Node, string>;
}

/** Operations to recompute a value at most, where it would be recomputed several times. */
const CHEAP = 8;
/** Loads that recomputing a value may take. */
const FEW_LOADS = 3;
/**
 * Operations and loads that one kernel takes over at most from values that it alone reads, and how
 * many of such operations where it reads them in passes.
 */
const LONGEST = 256;
const MOST_LOADS = 128;
const LONGEST_IN_PASSES = 32;
/** How often an expression may go on reading at other places, each of which is index arithmetic. */
const MOST_MOVES = 8;

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

/** Plans what is stored. `roots` are stored in any case, and so is what a template reads. */
export function planStores(
  clustering: Clustering,
  roots: readonly Node[],
  templateOperands: readonly Node[],
  rules: RuleReport,
): StorePlan {
  return new StorePlanner(clustering, rules).run([...roots, ...templateOperands]);
}

/** One op reading another's value, perhaps through views. */
interface Use {
  readonly user: Node;
  /** Where it reads the value: equal text, equal elements. Empty if element i reads element i. */
  readonly place: string;
  /** How many elements it asks for. */
  readonly size: number;
}

class StorePlanner {
  readonly #clustering: Clustering;
  readonly #rules: RuleReport;
  readonly #stored = new Set<Node>();
  readonly #refusals = new Map<Node, string>();
  readonly #pending: Node[] = [];
  readonly #users = new Map<Node, Use[]>();
  /** What kernels have taken over as only readers. */
  readonly #taken = new Map<Cluster, { weight: number; loads: number }>();

  constructor(clustering: Clustering, rules: RuleReport) {
    this.#clustering = clustering;
    this.#rules = rules;
  }

  run(required: readonly Node[]): StorePlan {
    this.#collectUsers();
    for (const node of required) if (this.#clustering.of.has(node)) this.#store(node);
    for (const node of this.#clustering.order) this.#decide(node);
    this.#close();
    const kernels: KernelPlan[] = [];
    for (const cluster of this.#clustering.clusters) {
      const stores = [...cluster.members.keys()].filter((node) => this.#stored.has(node));
      if (stores.length > 0) {
        kernels.push({ cluster, stores, nodes: this.#computedFor(stores, cluster) });
      }
    }
    return { kernels, isHeld: (node) => this.#isHeld(node), refusals: this.#refusals };
  }

  #computedFor(stores: readonly Node[], { members }: Cluster): Node[] {
    const found = new Set(stores);
    // The loop goes on over what it adds.
    for (const node of found) {
      if (isTemplate(node)) continue;
      for (const operand of valueOperands(node)) {
        const { producer } = accessOf(operand);
        if (this.#clustering.of.has(producer) && !this.#isHeld(producer)) found.add(producer);
      }
    }
    const own = [...members.keys()].filter((node) => found.delete(node));
    return [...own, ...[...found].sort((a, b) => a.id - b.id)];
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
      user.inputs.forEach((operand, position) => {
        const { producer } = accessOf(operand);
        const uses = this.#users.get(producer) ?? [];
        uses.push({ user, place: placeOf(user, position), size: sizeAskedFor(user, position) });
        this.#users.set(producer, uses);
      });
    }
  }

  #decide(node: Node): void {
    const home = this.#clustering.of.get(node);
    if (home === undefined || this.#stored.has(node)) return;
    const users = this.#users.get(node) ?? [];
    const outside = users.filter(({ user }) => this.#clustering.of.get(user) !== home);
    if (outside.length === 0) return;
    const mayInline = this.#rules.isOn("recompute_cheap_values") && canInline(node) &&
      !isLanding(node);
    const reason = mayInline ? this.#whyNotInline(node, users, outside) : undefined;
    if (reason !== undefined && home.kind === "rows") this.#refusals.set(node, reason);
    if (!mayInline || reason !== undefined) this.#store(node);
  }

  /** Why the value is better stored than computed where it is read; undefined where it is not. */
  #whyNotInline(node: Node, users: readonly Use[], outside: readonly Use[]): string | undefined {
    const { weight, loads } = this.#inlineCost(node);
    const cost = `it takes ${weight} operations and ${loads} loads`;
    if (weight === Infinity) return `it takes more than ${LONGEST} operations`;
    const most = Math.max(...outside.map(({ size }) => size));
    if (most > sizeOf(node)) {
      const often = Math.ceil(most / sizeOf(node));
      return weight <= 2 && loads <= 1 ? undefined : `${cost}, ${often} times an element`;
    }
    if (weight <= CHEAP && loads <= FEW_LOADS) return undefined;
    const [reader] = outside;
    const cluster = reader && this.#clustering.of.get(reader.user);
    const once = outside.every(({ user, place }) =>
      this.#clustering.of.get(user) === cluster && place === reader?.place
    );
    if (cluster === undefined || users.length > outside.length || !once) {
      return `${cost}, and is read in several places`;
    }
    const passes = cluster.kind === "rows" && cluster.columns !== undefined;
    const longest = passes ? LONGEST_IN_PASSES : LONGEST;
    if (weight > longest) return `${cost}, where its reader takes over at most ${longest}`;
    const taken = this.#taken.get(cluster) ?? { weight: 0, loads: 0 };
    const grown = { weight: taken.weight + weight, loads: taken.loads + loads };
    if (grown.weight > LONGEST || grown.loads > MOST_LOADS) {
      return `${cost}, and its reader has taken over ${taken.weight} and ${taken.loads} already`;
    }
    this.#taken.set(cluster, grown);
    return undefined;
  }

  /**
   * Operations to recompute the node from what is (or must be) in memory, and what it loads. What it
   * reads at several places counts for each of them; infinite beyond what is ever worth it.
   */
  #inlineCost(root: Node): { weight: number; loads: number } {
    const seen = new Set<string>();
    const stack = [{ node: root, place: "", moves: 0 }];
    let weight = 0;
    let loads = 0;
    for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
      const { node, place, moves } = top;
      const key = `${node.id}${place}`;
      if (seen.has(key)) continue;
      seen.add(key);
      if (isReduction(node) || (node !== root && this.#isHeld(node))) {
        loads++;
        continue;
      }
      if (!this.#clustering.of.has(node)) continue;
      weight += operationWeight(node);
      if (!canInline(node) || weight > LONGEST || moves > MOST_MOVES) {
        return { weight: Infinity, loads };
      }
      node.inputs.forEach((input, position) => {
        const next = placeOf(node, position);
        const { producer } = accessOf(input);
        stack.push({
          node: producer,
          place: place + next,
          moves: next === "" ? moves : moves + 1,
        });
      });
    }
    return { weight, loads };
  }

  /** Stores whatever a kernel needs and cannot compute in place, until nothing is missing. */
  #close(): void {
    for (let node = this.#pending.pop(); node !== undefined; node = this.#pending.pop()) {
      const home = this.#clustering.of.get(node);
      if (home === undefined || home.kind === "attention" || home.kind === "attentionGrad") {
        continue;
      }
      this.#require(node, home);
    }
  }

  #require(root: Node, home: Cluster): void {
    const seen = new Set<Node>();
    const stack = [root];
    for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
      const node = accessOf(top).producer;
      if (seen.has(node)) continue;
      seen.add(node);
      const cluster = this.#clustering.of.get(node);
      if (cluster === undefined) continue;
      if (cluster === home) {
        if (TEMPLATES.has(home.kind) && !canInline(node)) continue;
      } else {
        if (this.#stored.has(node)) continue;
        if (!canInline(node)) {
          this.#store(node);
          continue;
        }
      }
      stack.push(...node.inputs);
    }
  }
}

/** Where an op reads what is behind an operand: see {@linkcode Use}. */
function placeOf(user: Node, position: number): string {
  const operand = operandOf(user, position);
  if (user.op.kind !== "elementwise" && !isView(user)) return `/${user.id}.${position}`;
  return accessOf(operand).pattern === "same" ? "" : `/${operand.id}`;
}

/** How many elements of its operand an op asks for. */
function sizeAskedFor(user: Node, position: number): number {
  const operand = operandOf(user, position);
  if (user.op.name === "gather") return sizeOf(user);
  // Each block of columns asks for all positions again.
  if (user.op.name === "scatterAdd" && position === 1) return sizeOf(operandOf(user, 0));
  return sizeOf(operand);
}

/** Whether the node is one expression of its operands' elements. */
function canInline(node: Node): boolean {
  return node.op.kind === "elementwise" || node.op.name === "concat" ||
    node.op.name === "pad" || node.op.name === "gather" || isView(node);
}
