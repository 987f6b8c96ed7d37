/** What became of a graph: which kernel computes what, which rules fired, which did not, and why. */
import type { Node } from "../graph/node.ts";
import { type NodeNote, noteNode } from "../graph/node_note.ts";
import { describeExplanation } from "./explain_text.ts";
import type { FusionRule } from "./fusion_rules.ts";
import type { RuleReport } from "./report.ts";
import { bytesOf } from "./schedule/access.ts";
import type { LoweredStep } from "./steps.ts";

/** A kernel of the program. */
export interface ExplainedKernel {
  readonly name: string;
  /** All that it computes, in order. */
  readonly nodes: readonly NodeNote[];
  /** How many times it runs in its step, each time on memory of its own. */
  readonly members: number;
  /** How many of its values are never written to memory. */
  readonly fusedValues: number;
  /** Bytes that those would have taken to write and to read once. */
  readonly bytesSaved: number;
}

/** A rule that fired, or one that looked and did not. */
export interface ExplainedRule {
  readonly rule: FusionRule;
  readonly outcome: "applied" | "refused";
  readonly node: NodeNote;
  /** What it did, or why not. */
  readonly detail: string;
  /** Bytes of memory traffic that it saves in a run. */
  readonly bytesSaved: number;
}

/** How a graph became a program. Its text is made to be read in a terminal. */
export class Explanation {
  /** In the order in which they run. */
  readonly kernels: readonly ExplainedKernel[];
  /** One for each place that a rule looked at. */
  readonly rules: readonly ExplainedRule[];
  /** Rules that were switched off. */
  readonly off: readonly FusionRule[];

  constructor(
    kernels: readonly ExplainedKernel[],
    rules: readonly ExplainedRule[],
    off: readonly FusionRule[] = [],
  ) {
    this.kernels = kernels;
    this.rules = rules;
    this.off = off;
  }

  /**
   * Bytes of memory traffic that the rules save in a run, each value that is never stored counted as
   * one write and one read.
   */
  get bytesSaved(): number {
    return this.rules.reduce((total, note) => total + note.bytesSaved, 0);
  }

  /** How often the rule fired. */
  count(rule: FusionRule): number {
    return this.rules.filter((note) => note.rule === rule && note.outcome === "applied").length;
  }

  /**
   * The kernels, then each rule with where it fired and where not, and why. What is the same in
   * several blocks is one line: `x12 ... in encoder/*`.
   */
  toString(): string {
    return describeExplanation(this);
  }
}

/** The explanation of ordered steps and of what the rules reported. */
export function explain(steps: readonly LoweredStep[], report: RuleReport): Explanation {
  const stored = new Set(
    steps.flatMap(({ members }) => members.flatMap(({ lowered }) => lowered.writes)),
  );
  return new Explanation(
    steps.map((step) => explainStep(step, stored)),
    report.notes.map((note) => ({ ...note, node: noteNode(note.node) })),
    [...report.off],
  );
}

function explainStep(
  { kernel, members }: LoweredStep,
  stored: ReadonlySet<Node>,
): ExplainedKernel {
  const nodes = members.flatMap(({ lowered }) => lowered.nodes);
  const fused = nodes.filter((node) => !stored.has(node));
  return {
    name: kernel.name,
    members: members.length,
    nodes: nodes.map(noteNode),
    fusedValues: fused.length,
    bytesSaved: fused.reduce((total, node) => total + 2 * bytesOf(node), 0),
  };
}
