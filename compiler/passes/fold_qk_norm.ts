/**
 * Norms of queries and keys go into the attention that reads them (Dehghani et al. 2023, section 2),
 * whose kernel normalises rows as it loads them; on the way back, the gradients of attention and norm
 * become those of the two together. Found by what reads what, through rearrangements of whole rows.
 */
import { makeNode, type Node } from "../../graph/node.ts";
import { checkpointRegionOf } from "../../graph/ops/checkpoint.ts";
import {
  type AttentionNorms,
  attentionOperands,
  type AttentionResult,
  attentionResult,
  attentionWithNorms,
  type OperandNorm,
  otherGradient,
} from "../../graph/ops/normed_attention.ts";
import { sameShape, staticShape } from "../../graph/shape.ts";
import { numberAttr, numbersAttr, operandOf } from "../lower/attributes.ts";
import { ownStrides, stridedView } from "../lower/views.ts";
import { type GraphModule, moduleNodes, rewriteModule } from "../module.ts";
import type { RuleReport } from "../report.ts";
import { bytesOf, isView } from "../schedule/access.ts";

const RULE = "fold_qk_norm";

type Side = keyof AttentionNorms;

/** Operands that norms may belong to, by their place. */
const SIDES: readonly Side[] = ["query", "key"];

/** What becomes of a gradient of a folded norm. */
interface FoldedGradient {
  /** The place of the cotangent of the norm's result among its operands. */
  readonly cotangent: number;
  readonly result: AttentionResult;
}

/** What the rule will do to the module. */
interface Plan {
  /** Norms that go into the attention that reads them. */
  readonly norms: Set<Node>;
  /** The gradients of those norms. */
  readonly gradients: Map<Node, FoldedGradient>;
}

/** The module with norms of queries and keys in the attention ops that read them. */
export function foldQkNorm(module: GraphModule, rules: RuleReport): GraphModule {
  const needed = [RULE, "attention_kernel", "attention_gradient_kernel"] as const;
  if (!needed.every((rule) => rules.isOn(rule))) return module;
  const plan = new Planner(module, rules).plan();
  return plan.norms.size === 0 ? module : rewritten(module, plan);
}

/** A read of a value. */
interface Use {
  readonly user: Node;
  readonly place: number;
}

class Planner {
  readonly #nodes: readonly Node[];
  readonly #outputs: ReadonlySet<Node>;
  readonly #uses = new Map<Node, Use[]>();
  readonly #rules: RuleReport;

  constructor(module: GraphModule, rules: RuleReport) {
    this.#nodes = moduleNodes(module);
    this.#outputs = new Set(module.outputs.values());
    this.#rules = rules;
    for (const user of this.#nodes) {
      // Of a checkpoint's operands, only the result that it marks is read.
      const read = checkpointRegionOf(user) === undefined ? undefined : Number(user.attrs["index"]);
      user.inputs.forEach((input, place) => {
        if (read !== undefined && place !== read) return;
        this.#uses.set(input, [...this.#uses.get(input) ?? [], { user, place }]);
      });
    }
  }

  plan(): Plan {
    const plan: Plan = { norms: new Set(), gradients: new Map() };
    for (const norm of this.#candidates()) {
      const gradients = new Map<Node, FoldedGradient>();
      const problem = this.#problem(norm, gradients);
      if (problem !== undefined) {
        this.#rules.refused(RULE, norm, problem);
        continue;
      }
      plan.norms.add(norm);
      for (const [node, folded] of gradients) plan.gradients.set(node, folded);
      // Neither the normalised rows nor what flows back to them are written and read.
      const values = gradients.size === 0 ? 1 : 2;
      const where = gradients.size === 0 ? "attention" : "attention and its gradient";
      this.#rules.applied(RULE, norm, `inside of ${where}`, 2 * values * bytesOf(norm));
    }
    return plan;
  }

  /** Norms that an attention op reads its queries or keys from. */
  #candidates(): Set<Node> {
    const found = new Set<Node>();
    for (const node of this.#nodes) {
      if (attentionResult(node) === undefined) continue;
      for (const place of SIDES.keys()) {
        const norm = behindViews(operandOf(node, place));
        if (isNorm(norm)) found.add(norm);
      }
    }
    return found;
  }

  /** Why the norm stays where it is; undefined where it need not, and then `gradients` is filled. */
  #problem(norm: Node, gradients: Map<Node, FoldedGradient>): string | undefined {
    const readers = this.#readers(norm);
    if (typeof readers === "string") return `its result ${readers}`;
    for (const { user, place } of readers) {
      const side = SIDES[place];
      if (side === undefined || attentionResult(user) === undefined) {
        return `its result is used by ${user.op.name} as well`;
      }
      if (attentionResult(user) !== side) continue;
      const problem = this.#gradientProblem(norm, user, side, gradients);
      if (problem !== undefined) return `the cotangent of its result ${problem}`;
    }
    return undefined;
  }

  /** Who reads the node, seen through rearrangements of rows; or why that is not known. */
  #readers(node: Node): Use[] | string {
    if (this.#outputs.has(node)) return "is an output";
    const readers: Use[] = [];
    for (const use of this.#uses.get(node) ?? []) {
      if (!isView(use.user)) {
        readers.push(use);
        continue;
      }
      if (!movesWholeRows(use.user)) return `goes through ${use.user.op.name}`;
      const further = this.#readers(use.user);
      if (typeof further === "string") return further;
      readers.push(...further);
    }
    return readers;
  }

  /** The same for the cotangent of the norm's result, which is to flow through its gradients alone. */
  #gradientProblem(
    norm: Node,
    cotangent: Node,
    side: Side,
    gradients: Map<Node, FoldedGradient>,
  ): string | undefined {
    const readers = this.#readers(cotangent);
    if (typeof readers === "string") return readers;
    for (const { user, place } of readers) {
      const kind = NORM_GRADIENTS.get(user.op.name);
      const fits = kind !== undefined && place === kind.cotangent &&
        (kind.result === "Bias" || isGradientOf(user, norm, cotangent, SIDES.indexOf(side)));
      if (!fits) return `is used by ${user.op.name}, which is no gradient of it`;
      gradients.set(user, { cotangent: place, result: `${side}${kind.result}` });
    }
    return undefined;
  }
}

/** The gradients of a norm: the place of the cotangent among their operands, and what they give. */
const NORM_GRADIENTS: ReadonlyMap<
  string,
  { readonly cotangent: number; readonly result: "" | "Scale" | "Bias" }
> = new Map([
  ["layerNormGradInput", { cotangent: 1, result: "" }],
  ["layerNormGradScale", { cotangent: 1, result: "Scale" }],
  ["layerNormGradBias", { cotangent: 0, result: "Bias" }],
]);

/** Whether the norm's gradient reads what was normalised, row for row beside its cotangent. */
function isGradientOf(gradient: Node, norm: Node, cotangent: Node, place: number): boolean {
  const x = operandOf(norm, 0);
  const { scale } = normOf(norm);
  const sameNorm = gradient.inputs[0] === x && gradient.inputs[2] === (
        gradient.attrs["hasScale"] === true ? scale : undefined
      ) &&
    gradient.attrs["center"] === norm.attrs["center"] &&
    gradient.attrs["epsilon"] === norm.attrs["epsilon"];
  if (!sameNorm) return false;
  const there = withEnd(operandOf(cotangent, place), norm, x);
  const back = withEnd(operandOf(gradient, 1), cotangent, there);
  const view = stridedView(back, (node) => node !== x && isView(node));
  const shape = staticShape(x.shape);
  const own = ownStrides(x);
  return view?.base === x && view.offset === 0 && sameShape(back.shape, shape) &&
    shape.every((extent, axis) => extent === 1 || view.strides[axis] === own[axis]);
}

function isNorm(node: Node): boolean {
  return node.op.name === "layerNorm";
}

/** The norm that a `layerNorm` node computes. */
function normOf(node: Node): OperandNorm {
  const hasScale = node.attrs["hasScale"] === true;
  return {
    center: node.attrs["center"] === true,
    epsilon: numberAttr(node, "epsilon"),
    scale: hasScale ? node.inputs[1] : undefined,
    bias: node.attrs["hasBias"] === true ? node.inputs[hasScale ? 2 : 1] : undefined,
  };
}

function behindViews(operand: Node): Node {
  let node = operand;
  while (isView(node)) node = operandOf(node, 0);
  return node;
}

/** Whether the view has the rows of its input's last axis, each whole, in whatever order. */
function movesWholeRows(view: Node): boolean {
  const input = operandOf(view, 0);
  switch (view.op.name) {
    case "reshape":
      return view.shape.length > 0 && view.shape.at(-1) === input.shape.at(-1);
    case "transpose":
      return numbersAttr(view, "permutation").at(-1) === input.shape.length - 1;
    case "stopGradient":
      return true;
    default:
      return false;
  }
}

/** A chain of views with `end` where it had `from`. */
function withEnd(view: Node, from: Node, end: Node): Node {
  if (view === from) return end;
  return makeNode(view.op, [withEnd(operandOf(view, 0), from, end)], view.attrs, view.label);
}

function rewritten(module: GraphModule, plan: Plan): GraphModule {
  /** The norms of the plan, as they were rebuilt. */
  const folded = new Set<Node>();
  const originals = moduleNodes(module)[Symbol.iterator]();
  return rewriteModule(module, (rebuilt) => {
    const original = originals.next().value ?? rebuilt;
    if (plan.norms.has(original)) folded.add(rebuilt);
    if (attentionResult(original) !== undefined) return withNorms(rebuilt, folded);
    const gradient = plan.gradients.get(original);
    if (gradient === undefined) return rebuilt;
    const cotangent = operandOf(rebuilt, gradient.cotangent);
    const { result } = gradient;
    if (result === "query" || result === "key") return cotangent;
    return otherGradient(behindViews(cotangent), result);
  });
}

/** The attention op with those norms of its operands that are folded. */
function withNorms(node: Node, folded: ReadonlySet<Node>): Node {
  const { plain } = attentionOperands(node);
  const norms = SIDES.map((_, place) => {
    const norm = behindViews(operandOf(node, place));
    return folded.has(norm) ? norm : undefined;
  });
  const [query, key] = norms;
  if (query === undefined && key === undefined) return node;
  return attentionWithNorms(node, {
    plain: plain.map((operand, place) => {
      const norm = norms[place];
      return norm === undefined ? operand : withEnd(operand, norm, operandOf(norm, 0));
    }),
    norms: { query: query && normOf(query), key: key && normOf(key) },
  });
}
