/**
 * A sum of contractions becomes one contraction over the joined axes: attention-out and MLP-out of a
 * parallel block, or the gradients that queries, keys and values send back to their common input.
 * What lies between them in the sum (biases, a residual) is added afterwards.
 */
import type { Node } from "../../graph/node.ts";
import { parseSpec } from "../../graph/ops/contract.ts";
import { contractSum } from "../../graph/ops/contract_sum.ts";
import { add } from "../../graph/ops/mod.ts";
import { type GraphModule, moduleNodes, rewriteModule } from "../module.ts";
import type { RuleReport } from "../report.ts";
import { bytesOf } from "../schedule/access.ts";

const RULE = "merge_sum_of_contractions";

/** The module with sums of contractions merged. */
export function mergeSums(module: GraphModule, report: RuleReport): GraphModule {
  if (!report.isOn(RULE)) return module;
  const uses = countUses(module);
  const isInner = (node: Node) => node.op.name === "add" && uses.get(node)?.count === 1;
  const isInTree = new Set<Node>();
  for (const node of moduleNodes(module)) {
    if (!isSum(node)) continue;
    for (const input of node.inputs) if (isSum(input) && isInner(input)) isInTree.add(input);
  }
  const plans = new Map<Node, readonly (readonly Node[])[]>();
  for (const node of moduleNodes(module)) {
    if (!isSum(node) || isInTree.has(node)) continue;
    const leaves = leavesOf(node, isInTree);
    const groups = mergeable(leaves, uses, report);
    if (groups.length === 0) continue;
    plans.set(node, groups);
    for (const group of groups) {
      const spared = 2 * (group.length - 1) * bytesOf(node);
      report.applied(RULE, node, `${group.length} products`, spared);
    }
  }
  if (plans.size === 0) return module;
  return rebuild(module, plans, isInTree);
}

function isSum(node: Node): boolean {
  return node.op.name === "add" && node.dtype === "f32";
}

interface Uses {
  count: number;
}

function countUses(module: GraphModule): Map<Node, Uses> {
  const uses = new Map<Node, Uses>();
  const use = (node: Node) => {
    const known = uses.get(node);
    if (known === undefined) uses.set(node, { count: 1 });
    else known.count++;
  };
  for (const node of moduleNodes(module)) node.inputs.forEach(use);
  for (const node of module.outputs.values()) use(node);
  return uses;
}

/** What the sum adds up, in order, seen through the sums inside of it. */
function leavesOf(root: Node, isInTree: ReadonlySet<Node>): Node[] {
  const leaves: Node[] = [];
  const pending = [...root.inputs].reverse();
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (isInTree.has(node)) pending.push(...[...node.inputs].reverse());
    else leaves.push(node);
  }
  return leaves;
}

/** Groups of at least two products that can be one. */
function mergeable(
  leaves: readonly Node[],
  uses: ReadonlyMap<Node, Uses>,
  report: RuleReport,
): Node[][] {
  const groups = new Map<string, Node[]>();
  const products = leaves.filter((leaf) => leaf.op.name === "contract");
  if (products.length < 2) return [];
  for (const leaf of products) {
    if (uses.get(leaf)?.count !== 1) {
      report.refused(RULE, leaf, "its value is used elsewhere as well");
      continue;
    }
    const key = rolesOf(leaf);
    groups.set(key, [...groups.get(key) ?? [], leaf]);
  }
  for (const group of groups.values()) {
    const [only] = group;
    if (group.length > 1 || only === undefined) continue;
    report.refused(RULE, only, "no other product in the sum has its rows and columns");
  }
  return [...groups.values()].filter((group) => group.length > 1);
}

/** For each axis of the result, whether the first operand has it, the second, or both. */
function rolesOf(contraction: Node): string {
  const { left, right, output } = parseSpec(String(contraction.attrs["spec"]));
  const roles = output.map((letter) =>
    left.includes(letter) ? (right.includes(letter) ? "b" : "l") : "r"
  );
  return roles.join("");
}

function rebuild(
  module: GraphModule,
  plans: ReadonlyMap<Node, readonly (readonly Node[])[]>,
  isInTree: ReadonlySet<Node>,
): GraphModule {
  const made = new Map<Node, Node>();
  const original = moduleNodes(module)[Symbol.iterator]();
  return rewriteModule(module, (rebuilt) => {
    // Rewriting visits the nodes in this same order.
    const node = original.next().value;
    if (node === undefined) return rebuilt;
    const groups = plans.get(node);
    const result = groups === undefined ? rebuilt : mergedSum(node, groups, isInTree, made);
    made.set(node, result);
    return result;
  });
}

function mergedSum(
  root: Node,
  groups: readonly (readonly Node[])[],
  isInTree: ReadonlySet<Node>,
  made: ReadonlyMap<Node, Node>,
): Node {
  const newOf = (node: Node): Node => {
    const known = made.get(node);
    if (known === undefined) throw new TypeError(`${node} is used before it is rebuilt`);
    return known;
  };
  const joined = new Map<Node, Node>();
  for (const group of groups) {
    const [first] = group;
    if (first !== undefined) joined.set(first, contractSum(group.map(newOf)));
  }
  const inGroups = new Set(groups.flat());
  const parts = leavesOf(root, isInTree).flatMap((leaf) => {
    const sum = joined.get(leaf);
    if (sum !== undefined) return [sum];
    return inGroups.has(leaf) ? [] : [newOf(leaf)];
  });
  // Products first, so that everything else is added to them as an epilogue.
  const sums = new Set(joined.values());
  const ordered = [
    ...parts.filter((part) => sums.has(part)),
    ...parts.filter((part) => !sums.has(part)),
  ];
  return ordered.reduce((total, part) => add(total, part));
}
