/** The graph in which a plan's values are computed again instead of kept. */
import { makeNode, type Node, withProvenance } from "../../graph/node.ts";
import { isRecompute } from "../../graph/ops/checkpoint.ts";
import type { OwnedOutputs } from "../outputs.ts";
import { Recomputation } from "../recomputation.ts";
import type { RematPlan } from "./planner.ts";
import type { Region } from "./region.ts";
import type { Gap, Timeline } from "./timeline.ts";

/**
 * Rebuilds the graph kernel by kernel: those that read a dropped value after its gap read a copy of
 * it, which is computed again once the operands that the first of them gets last are there.
 */
export function rebuildWith(
  plan: RematPlan,
  timeline: Timeline,
  graph: OwnedOutputs,
): OwnedOutputs {
  const rebuild = new Rebuild(plan, timeline);
  const { inputs } = graph.module;
  const outputs = new Map(
    [...graph.module.outputs].map(([path, node]) => [path, rebuild.result(node)]),
  );
  const overwrites = new Map(
    [...graph.overwrites].map(([output, input]) => [rebuild.result(output), input]),
  );
  return { module: { inputs, outputs }, overwrites };
}

class Rebuild {
  readonly #timeline: Timeline;
  /** What kernels write, as it is now. */
  readonly #stored = new Map<Node, Node>();
  /** Dropped values, each with its gap and its copy once that is made. */
  readonly #dropped = new Map<Node, { gap: Gap; copy: Node | undefined }>();

  constructor(plan: RematPlan, timeline: Timeline) {
    this.#timeline = timeline;
    const starting = new Map<number, Region[]>();
    for (const region of plan) {
      starting.set(region.start, [...starting.get(region.start) ?? [], region]);
      for (const [node, gap] of region.dropped) this.#dropped.set(node, { gap, copy: undefined });
    }
    timeline.kernels.forEach((_, step) => {
      for (const region of starting.get(step) ?? []) this.#recompute(region, step);
      this.#rebuildKernel(step);
    });
  }

  /** What takes the place of an output. */
  result(node: Node): Node {
    return this.#stored.get(node) ?? node;
  }

  #rebuildKernel(step: number): void {
    const { writes = [], bindings = [] } = this.#timeline.kernels[step] ?? {};
    const made = new Map<Node, Node>();
    const read = new Set(bindings.filter((node) => !writes.includes(node)));
    for (const node of writes) {
      const remake = (inner: Node): Node => this.#operand(inner, step, read, made);
      this.#stored.set(node, this.#remade(node, remake));
    }
  }

  /** What a kernel reads in place of a node. */
  #operand(node: Node, step: number, read: ReadonlySet<Node>, made: Map<Node, Node>): Node {
    const drop = this.#dropped.get(node);
    if (drop?.copy !== undefined && step >= drop.gap.end) return drop.copy;
    const stored = read.has(node) ? this.#stored.get(node) : undefined;
    if (stored !== undefined) return stored;
    const known = made.get(node);
    if (known !== undefined) return known;
    const remade = this.#remade(node, (inner) => this.#operand(inner, step, read, made));
    made.set(node, remade);
    return remade;
  }

  #remade(node: Node, operand: (node: Node) => Node): Node {
    if (node.inputs.length === 0) return node;
    const inputs = node.inputs.map((input, at) =>
      at === 1 && isRecompute(node) ? this.#original(input) : operand(input)
    );
    if (inputs.every((input, at) => input === node.inputs[at])) return node;
    return withProvenance(node, () => makeNode(node.op, inputs, node.attrs, node.label));
  }

  /** What is waited for, never a copy. */
  #original(node: Node): Node {
    return this.#stored.get(node) ?? this.#remade(node, (inner) => this.#original(inner));
  }

  #recompute(region: Region, step: number): void {
    const recomputation = new Recomputation(this.#awaited(region, step), region.name);
    for (const node of region.chain.nodes) {
      recomputation.add(node, (kept) => this.#stored.get(kept) ?? kept);
    }
    for (const node of region.dropped.keys()) {
      const drop = this.#dropped.get(node);
      if (drop !== undefined) drop.copy = recomputation.of(node);
    }
  }

  /**
   * The last value that the region's first reader gets from elsewhere, which is where its backward
   * pass begins; if it gets nothing from then on, what was written just before it.
   */
  #awaited(region: Region, step: number): Node {
    const timeline = this.#timeline;
    const idle = Math.max(...[...region.dropped.values()].map(({ start }) => start));
    const { bindings = [], writes = [] } = timeline.kernels[step] ?? {};
    let latest: Node | undefined;
    for (const node of [...timeline.kernels[step - 1]?.writes ?? [], ...bindings]) {
      if (writes.includes(node) || region.dropped.has(node) || !this.#stored.has(node)) continue;
      const isLate = timeline.written(node) > idle && bindings.includes(node);
      if (latest === undefined || isLate) latest = node;
    }
    if (latest === undefined) throw new TypeError(`Nothing comes before ${region.name} is read`);
    return this.#stored.get(latest) ?? latest;
  }
}
