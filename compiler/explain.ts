/** What became of a graph: which kernel computes what, which rules fired, which did not, and why. */
import { bytesPerElement } from "../graph/dtype.ts";
import type { Node } from "../graph/node.ts";
import { formatSite, type Site } from "../graph/site.ts";
import type { FusionRule } from "./fusion_rules.ts";
import type { LoweredKernel } from "./lower/kernel_builder.ts";
import type { RuleReport } from "./report.ts";
import { sizeOf } from "./schedule/access.ts";

/** A graph node, as explanations name it. */
export interface ExplainedNode {
  readonly op: string;
  readonly label: string | undefined;
  /** Where in the model: `encoder/3/attention`. */
  readonly scope: string;
  /** The user's line that made it. */
  readonly site: Site | undefined;
}

/** A kernel of the program. */
export interface ExplainedKernel {
  readonly name: string;
  /** All that it computes, in order. */
  readonly nodes: readonly ExplainedNode[];
  /** How many of those are never written to memory. */
  readonly fusedValues: number;
  /** Bytes that those would have taken to write and to read once. */
  readonly bytesSaved: number;
}

/** A rule that fired, or one that looked and did not. */
export interface ExplainedRule {
  readonly rule: FusionRule;
  readonly outcome: "applied" | "refused";
  readonly node: ExplainedNode;
  /** What it did, or why not. */
  readonly detail: string;
}

/** How a graph became a program. Its text is made to be read in a terminal. */
export class Explanation {
  /** In the order in which they run. */
  readonly kernels: readonly ExplainedKernel[];
  readonly rules: readonly ExplainedRule[];

  constructor(kernels: readonly ExplainedKernel[], rules: readonly ExplainedRule[]) {
    this.kernels = kernels;
    this.rules = rules;
  }

  /** Bytes of memory traffic that fusion saves in a run, counted as one write and one read a value. */
  get bytesSaved(): number {
    return this.kernels.reduce((total, kernel) => total + kernel.bytesSaved, 0);
  }

  /** How often the rule fired. */
  count(rule: FusionRule): number {
    return this.rules.filter((note) => note.rule === rule && note.outcome === "applied").length;
  }

  /** One line a kernel, then one a rule and place. */
  toString(): string {
    const kernels = this.kernels.map(({ name, nodes, fusedValues, bytesSaved }, at) =>
      `${String(at).padStart(4)}  ${name}  <- ${placesOf(nodes)}` +
      (fusedValues === 0 ? "" : `  (${fusedValues} values fused, ${formatBytes(bytesSaved)} saved)`)
    );
    const rules = this.rules.map(({ rule, outcome, node, detail }) =>
      `${outcome === "applied" ? "  + " : "  - "}${rule} at ${placeOf(node)}: ${detail}`
    );
    return [
      `${this.kernels.length} kernels, ${
        formatBytes(this.bytesSaved)
      } of memory traffic saved a run`,
      ...kernels,
      ...(rules.length === 0 ? [] : ["rules (+ applied, - refused)", ...rules]),
    ].join("\n");
  }
}

/** The explanation of ordered kernels and of what the rules reported. */
export function explain(kernels: readonly LoweredKernel[], report: RuleReport): Explanation {
  const stored = new Set(kernels.flatMap((kernel) => kernel.writes));
  return new Explanation(
    kernels.map((kernel) => explainKernel(kernel, stored)),
    report.notes.map(({ rule, outcome, node, detail }) => ({
      rule,
      outcome,
      node: explainNode(node),
      detail,
    })),
  );
}

function explainKernel({ kernel, nodes }: LoweredKernel, stored: ReadonlySet<Node>) {
  const fused = nodes.filter((node) => !stored.has(node));
  return {
    name: kernel.name,
    nodes: nodes.map(explainNode),
    fusedValues: fused.length,
    bytesSaved: fused.reduce(
      (total, node) => total + 2 * sizeOf(node) * bytesPerElement(node.dtype),
      0,
    ),
  };
}

function explainNode({ op, label, scope, site }: Node): ExplainedNode {
  return { op: op.name, label, scope, site };
}

function placeOf(node: ExplainedNode): string {
  const scope = node.scope === "" ? "" : ` in ${node.scope}`;
  return `${node.op}${scope} (${formatSite(node.site)})`;
}

/** The distinct scopes, with the user's lines. */
function placesOf(nodes: readonly ExplainedNode[]): string {
  const lines = new Map<string, Set<string>>();
  for (const { scope, site } of nodes) {
    const known = lines.get(scope) ?? new Set();
    lines.set(scope, known.add(formatSite(site)));
  }
  return [...lines].map(([scope, sites]) => `${scope || "/"} ${[...sites].join(",")}`).join("; ");
}

function formatBytes(bytes: number): string {
  if (bytes < 1e4) return `${bytes} B`;
  return bytes < 1e7 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
