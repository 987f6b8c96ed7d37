/**
 * Chooses for each attention between one kernel and the plain form, which stores its scores: by what
 * the two cost at its sizes, and by memory. Attention and its gradient get the same form.
 */
import type { Node } from "../../graph/node.ts";
import { plainAttention } from "../../graph/ops/attention.ts";
import { attentionOperands, attentionResult } from "../../graph/ops/normed_attention.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import {
  type AttentionCosts,
  type AttentionForm,
  attentionSeconds,
  type AttentionSizes,
  costsOf,
  fasterForm,
} from "../attention_costs.ts";
import { type GraphModule, moduleNodes, rewriteModule } from "../module.ts";
import type { RuleReport } from "../report.ts";

const RULE = "plain_attention";

/** How the form is chosen. */
export interface AttentionChoice {
  /** A form for all attention, or the cheaper one for each. */
  readonly form: AttentionForm | "auto";
  /** What the forms cost on the device; one kernel is taken where that is not known. */
  readonly costs?: AttentionCosts | undefined;
  /** The form that was found to be the faster one of some sizes, which counts more than costs. */
  readonly measured?: ((sizes: AttentionSizes) => AttentionForm | undefined) | undefined;
  /** Whether there is a limit to memory, which the plain form takes more of. */
  readonly memoryLimited: boolean;
}

/** Attention of the same sizes: its results, and what they are the gradients of. */
interface Group {
  sizes: AttentionSizes;
  readonly results: Node[];
}

/** The module with all attention in its plain form that is to have it. */
export function chooseAttention(
  module: GraphModule,
  rules: RuleReport,
  choice: AttentionChoice,
): GraphModule {
  if (!rules.isOn(RULE) || !rules.isOn("attention_kernel")) return module;
  const plain = new Set<string>();
  for (const [key, group] of groupsOf(module)) {
    const { form, why } = choose(group.sizes, choice);
    if (form === "plain") plain.add(key);
    for (const node of group.results) {
      if (form === "plain") rules.applied(RULE, node, why);
      else rules.refused(RULE, node, why);
    }
  }
  let current = module;
  const isPlain = (node: Node) => attentionResult(node) !== undefined && plain.has(keyOf(node));
  // Attention of normalised rows becomes attention of the norms first.
  while (plain.size > 0 && moduleNodes(current).some(isPlain)) {
    current = rewriteModule(current, (node) => isPlain(node) ? plainAttention(node) : node);
  }
  return current;
}

function groupsOf(module: GraphModule): Map<string, Group> {
  const groups = new Map<string, Group>();
  for (const node of moduleNodes(module)) {
    const result = attentionResult(node);
    if (result === undefined || result === "logSumExp") continue;
    const key = keyOf(node);
    const group = groups.get(key) ?? { sizes: sizesOf(node), results: [] };
    groups.set(key, group);
    if (result === "out") group.results.push(node);
    else group.sizes = { ...group.sizes, isTrained: true };
  }
  return groups;
}

/** Equal for all results of one attention. */
function keyOf(node: Node): string {
  const [q, k] = attentionOperands(node).plain;
  return JSON.stringify([q?.shape, k?.shape]);
}

function sizesOf(node: Node): AttentionSizes {
  const [q = [], k = [], v = []] = attentionOperands(node).plain.map(({ shape }) =>
    staticShape(shape)
  );
  return {
    entries: staticSize(q.slice(0, -2)),
    queries: q.at(-2) ?? 1,
    keys: k.at(-2) ?? 1,
    depth: q.at(-1) ?? 1,
    valueDepth: v.at(-1) ?? 1,
    isTrained: false,
  };
}

/**
 * The sizes of a module's attention, each once, whose form is not given by memory. All dims are bound.
 */
export function openAttention(module: GraphModule): AttentionSizes[] {
  const sizes = [...groupsOf(module).values()].map((group) => group.sizes).filter(scoresAreSmall);
  return [...new Map(sizes.map((one) => [JSON.stringify(one), one])).values()];
}

function choose(
  sizes: AttentionSizes,
  { form, costs = [], measured, memoryLimited }: AttentionChoice,
): { readonly form: AttentionForm; readonly why: string } {
  if (form !== "auto") return { form, why: `the ${form} form was asked for` };
  const found = memoryLimited || !scoresAreSmall(sizes) ? undefined : measured?.(sizes);
  if (found !== undefined) return { form: found, why: "it was measured on the device" };
  const cost = costsOf(costs, sizes);
  if (cost === undefined) return { form: "fused", why: "its costs here were not measured" };
  const fused = attentionSeconds(cost.fused, sizes);
  const plain = attentionSeconds(cost.plain, sizes);
  const told = `plain ${inMicroseconds(plain)}, one kernel ${inMicroseconds(fused)}` +
    (sizes.isTrained ? " with gradients" : "");
  const objection = plain >= fused
    ? ""
    : memoryLimited
    ? ", but memory is limited"
    : !scoresAreSmall(sizes)
    ? ", but scores take more memory than all operands"
    : fasterForm({ fused, plain }, sizes) === "fused"
    ? ", too little for keeping scores until the backward pass"
    : undefined;
  return objection === undefined
    ? { form: "plain", why: told }
    : { form: "fused", why: told + objection };
}

/**
 * Whether the plain form's scores take no more memory than queries, keys, values and results do: past
 * that they would be most of the memory, and grow with the square of the tokens.
 */
function scoresAreSmall({ queries, keys, depth, valueDepth }: AttentionSizes): boolean {
  return queries * keys <= (queries + keys) * (depth + valueDepth);
}

function inMicroseconds(seconds: number): string {
  return `${Number((1e6 * seconds).toPrecision(3))} us`;
}
