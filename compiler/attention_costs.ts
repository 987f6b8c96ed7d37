/** What attention costs as one kernel, and in its plain form: as matrix products and a softmax. */

/** As one kernel that never stores its scores; or as a matmul, a softmax and a matmul. */
export const ATTENTION_FORMS = ["fused", "plain"] as const;

/** One of {@linkcode ATTENTION_FORMS}. */
export type AttentionForm = typeof ATTENTION_FORMS[number];

/** What costs are told from. */
export interface AttentionSizes {
  /** Batch entries, heads included. */
  readonly entries: number;
  readonly queries: number;
  readonly keys: number;
  /** Columns of queries and keys. */
  readonly depth: number;
  /** Columns of values. */
  readonly valueDepth: number;
  /** Whether gradients are computed as well. */
  readonly isTrained: boolean;
}

/** Seconds that one thread takes for each of what there is to do. */
export interface FormCost {
  /** To be started. */
  readonly call: number;
  /** For a multiply-add of the products of the forward pass. */
  readonly product: number;
  /** For a score. */
  readonly score: number;
}

/** Costs of sizes that are computed in one way. */
export interface AttentionCost extends Readonly<Record<AttentionForm, FormCost>> {
  /** Of forward and backward pass together, or of the forward pass alone. */
  readonly isTrained: boolean;
  /** The most entries; any number when left out. */
  readonly entries?: number;
  /** The most queries; any number when left out. */
  readonly queries?: number;
}

/** Costs by sizes: the first that are of the sizes count. */
export type AttentionCosts = readonly AttentionCost[];

/** The costs of these sizes. */
export function costsOf(costs: AttentionCosts, sizes: AttentionSizes): AttentionCost | undefined {
  return costs.find((cost) =>
    cost.isTrained === sizes.isTrained && sizes.entries <= (cost.entries ?? Infinity) &&
    sizes.queries <= (cost.queries ?? Infinity)
  );
}

/**
 * The plain form has to be so much cheaper where its scores are kept for the backward pass: the memory
 * of all layers' scores is not worth a few percent of attention's time.
 */
const WORTH_KEEPING = 0.8;

/** The form to have, by the times of both. */
export function fasterForm(
  { fused, plain }: Readonly<Record<AttentionForm, number>>,
  { isTrained }: Pick<AttentionSizes, "isTrained">,
): AttentionForm {
  return plain < (isTrained ? WORTH_KEEPING : 1) * fused ? "plain" : "fused";
}

/** The seconds that one thread takes. */
export function attentionSeconds(cost: FormCost, sizes: AttentionSizes): number {
  const { entries, queries, keys, depth, valueDepth } = sizes;
  return cost.call + entries * queries * keys * ((depth + valueDepth) * cost.product + cost.score);
}
