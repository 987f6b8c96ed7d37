/** Explanations as text for a terminal. */
import type { NodeNote } from "../graph/node_note.ts";
import { formatSite } from "../graph/site.ts";
import type { ExplainedKernel, ExplainedRule, Explanation } from "./explain.ts";
import { FUSION_RULES } from "./fusion_rules.ts";

/** The text of an explanation: what is the same in several blocks of a model is one line. */
export function describeExplanation({ kernels, rules, off, bytesSaved }: Explanation): string {
  const lines = [
    `${kernels.length} kernels; fusion saves ${formatBytes(bytesSaved)} of memory traffic a run`,
    ...grouped(kernels, (kernel) => kernel.nodes.map(({ scope }) => scope), kernelLine),
  ];
  const idle: string[] = [];
  for (const [rule, doc] of Object.entries(FUSION_RULES)) {
    const own = rules.filter((note) => note.rule === rule);
    if (own.length === 0 && off.every((other) => other !== rule)) idle.push(rule);
    if (own.length === 0) continue;
    lines.push("", `${rule}: ${doc}`, `  ${totalsOf(own)}`);
    lines.push(...grouped(own, ({ node }) => [node.scope], ruleLine));
  }
  if (idle.length > 0) lines.push("", `found nothing to do: ${idle.join(", ")}`);
  if (off.length > 0) lines.push("", `switched off: ${off.join(", ")}`);
  return lines.join("\n");
}

/** A line without its count, and the bytes that it is about. */
interface Line {
  readonly text: string;
  readonly bytes: number;
}

/**
 * The lines of all items. Lines that differ by numbers in scopes alone become one, with how many they
 * are; there the numbers are stars.
 */
function grouped<Item>(
  items: readonly Item[],
  scopesOf: (item: Item) => readonly string[],
  lineOf: (item: Item, scopes: ScopeText) => Line,
): string[] {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const key = lineOf(item, starred).text;
    const known = groups.get(key);
    if (known === undefined) groups.set(key, [item]);
    else known.push(item);
  }
  return [...groups].map(([key, group]) => {
    const [first] = group;
    const bytes = group.reduce((total, item) => total + lineOf(item, starred).bytes, 0);
    const scopes = new Set(group.map((item) => scopesOf(item).join()));
    const text = first !== undefined && scopes.size === 1 ? lineOf(first, plain).text : key;
    const count = group.length === 1 ? "" : `x${group.length}`;
    const saved = bytes === 0 ? "" : `, ${formatBytes(bytes)} saved`;
    return `${count.padStart(6)} ${text}${saved}`;
  });
}

type ScopeText = (scope: string) => string;

const plain: ScopeText = (scope) => scope;
const starred: ScopeText = (text) => text.replace(/(?<=^|\/)\d+(?=\/|$)/g, "*");

function kernelLine(kernel: ExplainedKernel, text: ScopeText): Line {
  const { name, members, nodes, fusedValues, bytesSaved } = kernel;
  const times = members === 1 ? "" : ` for ${members} members`;
  const fused = fusedValues === 0 ? "" : `; ${fusedValues} values never stored`;
  return { text: `${name}${times}  <- ${placesOf(nodes, text)}${fused}`, bytes: bytesSaved };
}

/** The distinct scopes, with the ops in them and the user's lines. */
function placesOf(nodes: readonly NodeNote[], text: ScopeText): string {
  const places = new Map<string, NodeNote[]>();
  for (const node of nodes) {
    const scope = text(node.scope);
    places.set(scope, [...places.get(scope) ?? [], node]);
  }
  return [...places].map(([scope, inside]) => {
    const ops = new Set(inside.map(({ op }) => op));
    return `${scope || "/"}: ${[...ops].join(" ")} (${sitesOf(inside)})`;
  }).join("; ");
}

/** The distinct lines, by file: `blocks.ts:134,137`. */
function sitesOf(nodes: readonly NodeNote[]): string {
  const lines = new Map<string, Set<string>>();
  for (const { site } of nodes) {
    const [file = "", line] = formatSite(site).split(":");
    const known = lines.get(file) ?? new Set();
    if (line !== undefined) known.add(line);
    lines.set(file, known);
  }
  return [...lines].map(([file, numbers]) =>
    [file, ...numbers.size === 0 ? [] : [[...numbers].join()]].join(":")
  ).join(", ");
}

function ruleLine({ outcome, node, detail, bytesSaved }: ExplainedRule, text: ScopeText): Line {
  const scope = node.scope === "" ? "" : ` in ${text(node.scope)}`;
  const sign = outcome === "applied" ? "+" : "-";
  return {
    text: `${sign} ${node.op}${scope} (${formatSite(node.site)}): ${detail}`,
    bytes: bytesSaved,
  };
}

function totalsOf(notes: readonly ExplainedRule[]): string {
  const applied = notes.filter(({ outcome }) => outcome === "applied");
  const saved = applied.reduce((total, { bytesSaved }) => total + bytesSaved, 0);
  const refused = notes.length - applied.length;
  return [
    `applied ${applied.length} times`,
    ...(saved === 0 ? [] : [`${formatBytes(saved)} saved`]),
    ...(refused === 0 ? [] : [`refused ${refused} times`]),
  ].join(", ");
}

function formatBytes(bytes: number): string {
  if (bytes < 1e4) return `${bytes} B`;
  return bytes < 1e7 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
