/**
 * Cuts the graph into kernels. Each op joins a cluster: a set of ops that one kernel computes.
 *
 * - `rows`: a space of rows and columns; holds elementwise ops, reductions over the columns, and
 *   what follows from them (norms, softmax, losses are one cluster each).
 * - `columns`: reductions over any other axes, several at once over the same input space.
 * - `matmul`, `attention`, `attentionGrad`: a template, with elementwise ops as matmul's epilogue.
 * - `scatter`: a scatter-add.
 *
 * An op joins a cluster only where no path leads from the cluster to the op through another one, so
 * the clusters are always a directed acyclic graph.
 */
import type { Node } from "../../graph/node.ts";
import { attentionOperands, vectorsOf } from "../../graph/ops/normed_attention.ts";
import { staticShape } from "../../graph/shape.ts";
import { operandOf } from "../lower/attributes.ts";
import type { FusionRule } from "../fusion_rules.ts";
import type { RuleReport } from "../report.ts";
import { type Access, accessOf, awaitedBy, bytesOf, isView, liveOrder, sizeOf } from "./access.ts";
import { absorbingRule, isDrawn, joiningRule, reductionMisfit } from "./joining.ts";
import { levelIn, type Placement } from "./levels.ts";
import {
  isAttentionForward,
  isAttentionGradient,
  isComputed,
  isReduction,
  reducedAxes,
  reducesTrailingAxes,
} from "./ops.ts";

/** What kind of kernel a cluster becomes. */
export type ClusterKind =
  | "rows"
  | "columns"
  | "matmul"
  | "attention"
  | "attentionGrad"
  | "scatter";

/** Where in a `rows` cluster's space a member lives: one value an element, or one a row. */
export type Level = "full" | "row";

/** A set of ops that one kernel computes. */
export interface Cluster {
  readonly id: number;
  readonly kind: ClusterKind;
  /** Members in topological order, each with its level (`full` outside of `rows`). */
  readonly members: Map<Node, Level>;
  /** Elements of a full member. */
  readonly total: number;
  /** Columns in a row, once a reduction has fixed them. */
  columns: number | undefined;
  /** Clusters that may join only if this key is the same (columns, attention). */
  readonly key: string;
  /** Bit i set: cluster i computes something that this one needs. */
  ancestors: bigint;
}

/** The clusters, and which one each op is in. */
export interface Clustering {
  readonly clusters: readonly Cluster[];
  readonly of: ReadonlyMap<Node, Cluster>;
  /** Every node, inputs before users. */
  readonly order: readonly Node[];
  /** Ops that did not join the cluster of something they read. */
  readonly refusals: readonly Refusal[];
}

/** An op that did not join the cluster of something that it reads. */
export interface Refusal {
  readonly rule: FusionRule;
  readonly node: Node;
  /** What it reads. */
  readonly producer: Node;
  readonly reason: string;
}

/** An elementwise op that is to join a cluster. */
interface Reader {
  readonly node: Node;
  readonly accesses: readonly Access[];
  readonly level: Level;
}

/** Ops in a cluster at most, so that kernels and their expressions stay small. */
const MAX_MEMBERS = 128;
/** Passes over a row at most: each computes again what the ones before it did. */
const MAX_PASSES = 8;

const COMPUTED_MOVEMENT = new Set(["concat", "pad", "gather"]);

/**
 * Clusters everything that `roots` need. `copies` are views and sources that a kernel has to write
 * out all the same: outputs, and template operands that strides cannot express.
 */
export function clusterGraph(
  roots: readonly Node[],
  copies: ReadonlySet<Node>,
  rules: RuleReport,
): Clustering {
  return new Clusterer(liveOrder(roots), copies, rules).run();
}

class Clusterer {
  readonly #order: readonly Node[];
  readonly #position: ReadonlyMap<Node, number>;
  readonly #copies: ReadonlySet<Node>;
  readonly #rules: RuleReport;
  readonly #clusters: Cluster[] = [];
  readonly #refusals: Refusal[] = [];
  readonly #of = new Map<Node, Cluster>();
  /** The pass over its cluster's row after which a node's value is there; 0 before the first. */
  readonly #passes = new Map<Node, number>();
  /** Clusters that read something, or something made in a cluster. */
  readonly #readers = new Map<Node | Cluster, Set<Cluster>>();
  /** Clusters that another one needs. */
  readonly #needed = new Set<Cluster>();
  /** How many operands of ops each node is, seen through views. */
  readonly #uses = new Map<Node, number>();

  constructor(order: readonly Node[], copies: ReadonlySet<Node>, rules: RuleReport) {
    this.#rules = rules;
    this.#order = order;
    this.#position = new Map(order.map((node, at) => [node, at]));
    this.#copies = copies;
    for (const node of order) {
      if (isView(node)) continue;
      for (const input of node.inputs) {
        const { producer } = accessOf(input);
        this.#uses.set(producer, (this.#uses.get(producer) ?? 0) + 1);
      }
    }
  }

  run(): Clustering {
    for (const node of this.#order) {
      if (this.#copies.has(node)) this.#open("rows", node, sizeOf(node));
      else if (isComputed(node)) this.#place(node);
    }
    const refusals = this.#refusals;
    return { clusters: this.#clusters, of: this.#of, order: this.#order, refusals };
  }

  #place(node: Node): void {
    const { name } = node.op;
    if (node.op.kind === "contract") return this.#open("matmul", node, sizeOf(node));
    if (isAttentionForward(node)) {
      return this.#joinSiblings("attention", attentionKey(node), node);
    }
    if (isAttentionGradient(node)) {
      return this.#joinSiblings("attentionGrad", attentionKey(node), node);
    }
    if (name === "scatterAdd") return this.#open("scatter", node, sizeOf(node));
    if (isReduction(node)) return this.#placeReduction(node);
    if (node.op.kind === "elementwise" || COMPUTED_MOVEMENT.has(name)) {
      return this.#placeElementwise(node);
    }
    throw new TypeError(`${node} cannot be scheduled: it should have been decomposed before`);
  }

  #open(kind: ClusterKind, node: Node, total: number, columns?: number, key = ""): void {
    const cluster: Cluster = {
      id: this.#clusters.length,
      kind,
      members: new Map(),
      total,
      columns,
      key,
      ancestors: 0n,
    };
    this.#clusters.push(cluster);
    this.#join(cluster, node, kind === "rows" && isReduction(node) ? "row" : "full");
  }

  #join(cluster: Cluster, node: Node, level: Level): void {
    this.#passes.set(node, this.#passIn(cluster, node));
    for (const source of this.#sourcesOf(node)) {
      const readers = this.#readers.get(source) ?? new Set();
      this.#readers.set(source, readers.add(cluster));
    }
    cluster.members.set(node, level);
    this.#of.set(node, cluster);
    let added = 0n;
    for (const source of this.#sourceClusters(node)) {
      if (source === cluster) continue;
      added |= source.ancestors | (1n << BigInt(source.id));
      this.#needed.add(source);
    }
    const grown = cluster.ancestors | added;
    if (grown === cluster.ancestors) return;
    cluster.ancestors = grown;
    if (!this.#needed.has(cluster)) return;
    const bit = 1n << BigInt(cluster.id);
    for (const other of this.#clusters) {
      if ((other.ancestors & bit) !== 0n) other.ancestors |= grown;
    }
  }

  /** The pass over the cluster's row that the node would be had after, as a member. */
  #passIn(cluster: Cluster, node: Node): number {
    let pass = 0;
    for (const input of node.inputs) {
      const { producer } = accessOf(input);
      if (this.#of.get(producer) === cluster) {
        pass = Math.max(pass, this.#passes.get(producer) ?? 0);
      }
    }
    return isReduction(node) ? pass + 1 : pass;
  }

  /** Clusters of everything the node reads, through views, and of what its reads wait for. */
  #sourceClusters(node: Node): Set<Cluster> {
    const found = new Set<Cluster>();
    for (const input of node.inputs) {
      const awaited = awaitedBy(input, (other) => this.#of.has(other));
      for (const source of awaited.add(accessOf(input).producer)) {
        const cluster = this.#of.get(source);
        if (cluster !== undefined) found.add(cluster);
      }
    }
    return found;
  }

  /** Why the node may not join: it would make a cycle, or the cluster too large. */
  #obstacle(cluster: Cluster, node: Node): string | undefined {
    const rule = joiningRule(cluster, node);
    if (rule !== undefined && !this.#rules.isOn(rule)) return `${rule} is off`;
    if (cluster.members.size >= MAX_MEMBERS) return `the kernel has ${MAX_MEMBERS} ops already`;
    if (this.#passIn(cluster, node) > MAX_PASSES) {
      return `it would take more than ${MAX_PASSES} passes over a row`;
    }
    const bit = 1n << BigInt(cluster.id);
    for (const source of this.#sourceClusters(node)) {
      if (source === cluster || (source.ancestors & bit) === 0n) continue;
      const [other] = source.members.keys();
      return `what it reads beside that, of ${other?.op.name}'s kernel, itself needs that kernel`;
    }
    return undefined;
  }

  #mayJoin(cluster: Cluster, node: Node): boolean {
    return this.#obstacle(cluster, node) === undefined;
  }

  /** Where in the cluster an elementwise node would be computed, if it may join. */
  #placementIn(cluster: Cluster, node: Node, accesses: readonly Access[]): Placement {
    const placement = levelIn(cluster, node, accesses);
    const misfit = placement.misfit ?? this.#obstacle(cluster, node);
    return misfit === undefined ? placement : { misfit };
  }

  /** Notes that the node does not join the cluster of what it reads, unless the rule is off. */
  #refuse(rule: FusionRule | undefined, node: Node, cluster: Cluster, reason: string): void {
    if (rule === undefined || !this.#rules.isOn(rule)) return;
    const producer = node.inputs.map((input) => accessOf(input).producer)
      .find((read) => cluster.members.has(read));
    if (producer !== undefined) this.#refusals.push({ rule, node, producer, reason });
  }

  #joinSiblings(kind: ClusterKind, key: string, node: Node): void {
    for (const cluster of this.#sharing(node)) {
      if (cluster.kind !== kind || cluster.key !== key) continue;
      if (kind !== "columns" && hasOp(cluster, node)) continue;
      if (this.#sourceClusters(node).has(cluster) || !this.#mayJoin(cluster, node)) continue;
      return this.#join(cluster, node, "full");
    }
    this.#open(kind, node, sizeOf(node), undefined, key);
  }

  #placeReduction(node: Node): void {
    const input = operandOf(node, 0);
    const access = accessOf(input);
    const total = sizeOf(input);
    if (!reducesTrailingAxes(node)) {
      const cluster = this.#of.get(access.producer);
      if (cluster !== undefined) {
        const reason = "it sums over what that kernel computes side by side";
        this.#refuse("fuse_columns", node, cluster, reason);
      }
      const key = `${staticShape(input.shape).join()}/${reducedAxes(node).join()}`;
      return this.#joinSiblings("columns", key, node);
    }
    const rows = sizeOf(node);
    const columns = rows === 0 ? 1 : Math.max(total / rows, 0);
    const cluster = this.#of.get(access.producer);
    if (cluster !== undefined) {
      const reason = reductionMisfit(cluster, access, total, columns) ??
        this.#obstacle(cluster, node);
      if (reason === undefined) {
        cluster.columns = columns;
        return this.#join(cluster, node, "row");
      }
      this.#refuse("fuse_rows", node, cluster, reason);
    }
    const sibling = this.#siblingRows(total, columns, node);
    if (sibling !== undefined) return this.#join(sibling, node, "row");
    this.#open("rows", node, total, columns);
  }

  /** A rows cluster of the same space that reads the same thing: two sums over one input. */
  #siblingRows(total: number, columns: number, node: Node): Cluster | undefined {
    const sources = this.#sourceClusters(node);
    return this.#sharing(node).reverse().find((cluster) =>
      cluster.kind === "rows" && cluster.total === total && cluster.columns === columns &&
      !sources.has(cluster) && this.#mayJoin(cluster, node)
    );
  }

  /**
   * The clusters that read something that the node reads, or something made in the same kernel, in
   * order. Others are not brought together: what they read would have to be kept for each other.
   */
  #sharing(node: Node): Cluster[] {
    const found = new Set<Cluster>();
    for (const source of this.#sourcesOf(node)) {
      for (const reader of this.#readers.get(source) ?? []) found.add(reader);
    }
    return [...found].sort((a, b) => a.id - b.id);
  }

  /**
   * What the node reads, or the clusters that make it; seen through one elementwise op that has no
   * other reader. One that has is a value of its own: sums over gradients that grow from layer to
   * layer are not brought together, which would keep the gradients of all layers.
   */
  #sourcesOf(node: Node): Set<Node | Cluster> {
    const sources = new Set<Node | Cluster>();
    for (const input of node.inputs) {
      const { producer } = accessOf(input);
      sources.add(this.#of.get(producer) ?? producer);
      if (producer.op.kind !== "elementwise" || this.#uses.get(producer) !== 1) continue;
      for (const inner of producer.inputs) {
        const behind = accessOf(inner).producer;
        if (behind.op.kind !== "source" || behind.op.name === "input") {
          sources.add(this.#of.get(behind) ?? behind);
        }
      }
    }
    return sources;
  }

  #placeElementwise(node: Node): void {
    const accesses = node.op.kind === "elementwise" ? node.inputs.map(accessOf) : [];
    const candidates = new Set<Cluster>();
    for (const access of accesses) {
      const cluster = this.#of.get(access.producer);
      if (cluster !== undefined) candidates.add(cluster);
    }
    const latestFirst = [...candidates].sort((a, b) =>
      Number(isDrawn(a)) - Number(isDrawn(b)) || b.id - a.id
    );
    for (const cluster of latestFirst) {
      const { level, misfit } = this.#placementIn(cluster, node, accesses);
      if (level === undefined) {
        this.#refuse(joiningRule(cluster, node), node, cluster, misfit);
        continue;
      }
      for (const other of latestFirst) this.#absorb(cluster, other, { node, accesses, level });
      return this.#join(cluster, node, level);
    }
    this.#open("rows", node, sizeOf(node));
  }

  /**
   * Takes in all of another cluster that the same op reads as it does this one's values: an
   * optimizer's two moments where the parameter needs both, or the sums of two inputs' rows. Neither
   * may need the other, nor may anything else that the op reads need what is taken in.
   */
  #absorb(cluster: Cluster, other: Cluster, reader: Reader): void {
    const { node, accesses } = reader;
    const rule = absorbingRule(cluster, other);
    if (rule === undefined || !this.#rules.isOn(rule)) return;
    const reason = this.#whyApart(cluster, other, reader);
    if (reason !== undefined) return this.#refuse(rule, node, other, reason);
    if (rule === "join_updates") this.#reportJoined(node, other, accesses);
    cluster.columns ??= other.columns;
    this.#take(cluster, other);
  }

  /** Why the clusters, which the node reads, cannot be one. */
  #whyApart(
    cluster: Cluster,
    other: Cluster,
    { node, accesses, level }: Reader,
  ): string | undefined {
    if (cluster.members.size + other.members.size > MAX_MEMBERS) {
      return `together they have over ${MAX_MEMBERS} ops`;
    }
    const there = levelIn(other, node, accesses);
    if (there.level !== level) return there.misfit ?? "it reads values of two sizes";
    const bit = 1n << BigInt(cluster.id);
    const otherBit = 1n << BigInt(other.id);
    const isApart = (cluster.ancestors & otherBit) === 0n && (other.ancestors & bit) === 0n;
    const needsOther = [...this.#sourceClusters(node)].some(({ ancestors }) =>
      (ancestors & otherBit) !== 0n
    );
    return isApart && !needsOther ? undefined : "one of them needs the other";
  }

  #reportJoined(node: Node, other: Cluster, accesses: readonly Access[]): void {
    const read = new Set(
      accesses.map(({ producer }) => producer).filter((at) => other.members.has(at)),
    );
    const bytes = [...read].reduce((total, producer) => total + bytesOf(producer), 0);
    this.#rules.applied("join_updates", node, `${other.members.size} ops join`, bytes);
  }

  /** Moves all of another cluster, of which none of this one's members needs anything, into it. */
  #take(cluster: Cluster, other: Cluster): void {
    this.#rename(other, cluster);
    const members = [...cluster.members, ...other.members];
    const place = (node: Node) => node.op.kind === "contract" ? -1 : this.#position.get(node) ?? 0;
    members.sort(([a], [b]) => place(a) - place(b));
    cluster.members.clear();
    other.members.clear();
    for (const [member, level] of members) {
      cluster.members.set(member, level);
      this.#of.set(member, cluster);
    }
    cluster.ancestors |= other.ancestors;
    const [bit, otherBit] = [1n << BigInt(cluster.id), 1n << BigInt(other.id)];
    for (const user of this.#clusters) {
      if ((user.ancestors & (bit | otherBit)) === 0n) continue;
      user.ancestors = (user.ancestors & ~otherBit) | bit | cluster.ancestors;
    }
  }

  /** Puts one cluster in another's place in what is known of who reads what. */
  #rename(gone: Cluster, cluster: Cluster): void {
    if (this.#needed.delete(gone)) this.#needed.add(cluster);
    for (const member of gone.members.keys()) {
      for (const source of this.#sourcesOf(member)) {
        const readers = this.#readers.get(source);
        readers?.delete(gone);
        readers?.add(cluster);
      }
    }
    const own = this.#readers.get(cluster) ?? new Set();
    for (const reader of this.#readers.get(gone) ?? []) own.add(reader);
    this.#readers.delete(gone);
    this.#readers.set(cluster, own);
  }
}

/** Equal for the results of one attention, or of its gradient. */
function attentionKey(node: Node): string {
  const { plain, norms } = attentionOperands(node);
  const shared = isAttentionForward(node) ? plain.slice(0, 2) : plain;
  const ids = [...shared, ...vectorsOf(norms.query), ...vectorsOf(norms.key)].map(({ id }) => id);
  return JSON.stringify([ids, node.attrs]);
}

/** Whether a member is the same op: a template has one result of each kind. */
function hasOp(cluster: Cluster, node: Node): boolean {
  return [...cluster.members.keys()].some((member) => member.op === node.op);
}
