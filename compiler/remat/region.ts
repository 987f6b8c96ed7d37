/** A part of the graph that may be computed again: what of it is not kept, and what that takes. */
import type { Node } from "../../graph/node.ts";
import { flopsOf } from "../recomputed.ts";
import { isView, sizeOf, valueOperands } from "../schedule/access.ts";
import type { Gap, Timeline } from "./timeline.ts";

/** What it takes to have a region's values again. */
export interface Chain {
  /** All that is computed again, inputs before users. */
  readonly nodes: readonly Node[];
  /** Values that are read from memory for it. */
  readonly borders: ReadonlySet<Node>;
  readonly flops: number;
  /** FLOPs and elements written: what it takes where there is nothing to compute. */
  readonly cost: number;
}

/** Values of one scope, and those of them that are recomputed rather than kept. */
export class Region {
  readonly name: string;
  /** Its values that wait. */
  readonly gaps: readonly Gap[];
  /** Those that are not kept. */
  readonly dropped: ReadonlyMap<Node, Gap>;
  readonly chain: Chain;
  /** The first step that reads what is recomputed. */
  readonly start: number;
  readonly #timeline: Timeline;
  readonly #isInside: (node: Node) => boolean;

  constructor(
    name: string,
    gaps: readonly Gap[],
    timeline: Timeline,
    isInside: (node: Node) => boolean,
    dropped: ReadonlyMap<Node, Gap> = new Map(),
  ) {
    this.name = name;
    this.gaps = gaps;
    this.dropped = dropped;
    this.#timeline = timeline;
    this.#isInside = isInside;
    this.start = Math.min(...[...dropped.values()].map(({ end }) => end));
    this.chain = this.#chain();
  }

  /** The region with one more value that is not kept. */
  without(gap: Gap): Region {
    const dropped = new Map(this.dropped).set(gap.node, gap);
    return new Region(this.name, this.gaps, this.#timeline, this.#isInside, dropped);
  }

  #chain(): Chain {
    const nodes = new Set<Node>();
    const borders = new Set<Node>();
    let [flops, cost] = [0, 0];
    const visit = (node: Node): void => {
      if (nodes.has(node) || node.op.kind === "source") return;
      if (this.#isKept(node)) {
        borders.add(node);
        return;
      }
      for (const operand of valueOperands(node)) visit(operand);
      nodes.add(node);
      if (isView(node) && !this.dropped.has(node)) return;
      flops += flopsOf(node);
      cost += flopsOf(node) + sizeOf(node);
    };
    for (const node of this.dropped.keys()) visit(node);
    return { nodes: [...nodes], borders, flops, cost };
  }

  /** Values in memory when the recomputation starts are read, and all that comes from elsewhere. */
  #isKept(node: Node): boolean {
    if (!this.#timeline.isStored(node) || this.dropped.has(node)) return false;
    return !this.#isInside(node) || this.#timeline.last(node) >= this.start;
  }
}
