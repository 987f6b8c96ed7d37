/**
 * Whole sums that are added up, such as the squares of all gradients in a global norm, become partial
 * sums of one form, whatever the shapes, and one sum of all of those. How many parts there are depends
 * on the shapes alone, never on the thread count.
 */
import type { Node } from "../../graph/node.ts";
import { add, concat, reshape, sum } from "../../graph/ops/mod.ts";
import { operandOf } from "../lower/attributes.ts";
import type { GraphModule } from "../module.ts";
import type { RuleReport } from "../report.ts";
import { sizeOf } from "../schedule/access.ts";
import { type SumBuilder, SumTrees } from "./sum_trees.ts";

const RULE = "gather_added_sums";

/** Fewer sums are as well off alone. */
const FEWEST = 4;
/** Values that are not worth a kernel of their own before the last sum. */
const SHORT = 64;
/** Elements that a part should have, and how many parts there are at least and at most. */
const PART = 1024;
const FEW_PARTS = 8;
const MOST_PARTS = 64;

/** The module with sums of whole sums gathered. */
export function gatherSums(module: GraphModule, report: RuleReport): GraphModule {
  if (!report.isOn(RULE)) return module;
  const trees = new SumTrees(module);
  const builders = new Map<Node, SumBuilder>();
  for (const root of trees.roots) {
    const leaves = trees.leavesOf(root);
    const whole = leaves.filter(isWholeSum);
    if (whole.length < FEWEST) continue;
    const sums = new Set(whole.filter((leaf) => isOwn(leaf, trees, report)));
    if (sums.size === 0) continue;
    report.applied(RULE, root, `${sums.size} sums end in one kernel`);
    builders.set(root, (newOf) => {
      const parts = [...sums].map((leaf) => partsOf(operandOf(newOf(leaf), 0)));
      const rest = leaves.filter((leaf) => !sums.has(leaf)).map(newOf);
      return rest.reduce((total, term) => add(term, total), sum(concat(parts, 0)));
    });
  }
  return trees.rebuild(builders);
}

function isWholeSum(node: Node): boolean {
  return node.op.name === "sum" && node.shape.length === 0 && sizeOf(operandOf(node, 0)) > 1;
}

function isOwn(leaf: Node, trees: SumTrees, report: RuleReport): boolean {
  const isAlone = trees.usesOf(leaf) === 1;
  if (!isAlone) report.refused(RULE, leaf, "its value is used elsewhere as well");
  return isAlone;
}

/** A vector with the operand's sum: of its own elements where these are few, of partial sums else. */
function partsOf(operand: Node): Node {
  const length = sizeOf(operand);
  if (length <= SHORT) return reshape(operand, [length]);
  const wanted = Math.min(Math.max(Math.ceil(length / PART), FEW_PARTS), MOST_PARTS);
  let parts = wanted;
  while (length % parts !== 0) parts--;
  return sum(reshape(operand, [parts, length / parts]), 1);
}
