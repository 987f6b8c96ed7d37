/**
 * A sum of contractions becomes one contraction over the joined axes: attention-out and MLP-out of a
 * parallel block, or the gradients that queries, keys and values send back to their common input.
 * What lies between them in the sum (biases, a residual) is added afterwards.
 */
import type { Node } from "../../graph/node.ts";
import { parseSpec } from "../../graph/ops/contract.ts";
import { contractSum } from "../../graph/ops/contract_sum.ts";
import { add } from "../../graph/ops/mod.ts";
import type { GraphModule } from "../module.ts";
import type { RuleReport } from "../report.ts";
import { bytesOf } from "../schedule/access.ts";
import { type NewOf, type SumBuilder, SumTrees } from "./sum_trees.ts";

const RULE = "merge_sum_of_contractions";

/** The module with sums of contractions merged. */
export function mergeSums(module: GraphModule, report: RuleReport): GraphModule {
  if (!report.isOn(RULE)) return module;
  const trees = new SumTrees(module);
  const builders = new Map<Node, SumBuilder>();
  for (const root of trees.roots) {
    const leaves = trees.leavesOf(root);
    const groups = mergeable(leaves, trees, report);
    if (groups.length === 0) continue;
    builders.set(root, (newOf) => mergedSum(leaves, groups, newOf));
    for (const group of groups) {
      const spared = 2 * (group.length - 1) * bytesOf(root);
      report.applied(RULE, root, `${group.length} products`, spared);
    }
  }
  return trees.rebuild(builders);
}

/** Groups of at least two products that can be one. */
function mergeable(leaves: readonly Node[], trees: SumTrees, report: RuleReport): Node[][] {
  const groups = new Map<string, Node[]>();
  const products = leaves.filter((leaf) => leaf.op.name === "contract");
  if (products.length < 2) return [];
  for (const leaf of products) {
    if (trees.usesOf(leaf) !== 1) {
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

function mergedSum(
  leaves: readonly Node[],
  groups: readonly (readonly Node[])[],
  newOf: NewOf,
): Node {
  const joined = new Map<Node, Node>();
  for (const group of groups) {
    const [first] = group;
    if (first !== undefined) joined.set(first, contractSum(group.map(newOf)));
  }
  const inGroups = new Set(groups.flat());
  const parts = leaves.flatMap((leaf) => {
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
