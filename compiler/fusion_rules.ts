/** The rules by which the compiler makes fewer kernels, by name. */

/**
 * Every fusion rule, with what it does. `program.explain()` reports them under these names, and
 * `compile(graph, { fusion: { off: [...] } })` switches them off by them.
 */
export const FUSION_RULES = {
  plain_attention: "attention is plain matrix products and a softmax where those cost less",
  fold_qk_norm: "norms of queries and keys are computed inside of the attention that reads them",
  split_contracted_axes: "a matrix product reads what was cut up and reshaped where it stands",
  merge_sum_of_contractions: "products that are added up become the terms of one",
  gather_added_sums: "sums of all numbers of some tensors, added up, end in one kernel",
  merge_contractions_of_shared_operand: "products of one left operand become parts of one kernel",
  attention_kernel: "attention is one kernel that never stores its probabilities",
  attention_gradient_kernel: "attention's gradient is one kernel that recomputes them",
  widen_on_load: "half floats become f32 where a template reads them",
  fuse_epilogue: "elementwise ops after a matrix product are computed as its results are written",
  fuse_rows: "reductions over rows, and what they need and lead to, are one kernel",
  fuse_columns: "reductions over one space's outer axes, and what follows, are one kernel",
  fuse_elementwise: "elementwise ops that read each other are one kernel",
  join_updates: "elementwise kernels of one size that one op reads become one",
  recompute_cheap_values: "what is cheap to compute is computed where it is read, not stored",
  group_independent_kernels: "kernels that differ in sizes and memory alone run as one step",
  share_kernels: "kernels that do the same to other buffers are compiled once",
  write_in_place: "a result takes the memory of what it replaces",
} as const satisfies Readonly<Record<string, string>>;

/** A fusion rule's name. */
export type FusionRule = keyof typeof FUSION_RULES;

/** Which rules a compilation may use. */
export interface FusionOptions {
  /** Rules that do not fire: to find out what one of them does. Results stay right without them. */
  readonly off?: readonly FusionRule[];
}

/**
 * The rules that are switched off.
 *
 * @throws {RangeError} When there is no such rule.
 */
export function rulesOff({ off = [] }: FusionOptions = {}): ReadonlySet<FusionRule> {
  for (const name of off) {
    if (Object.hasOwn(FUSION_RULES, name)) continue;
    const names = Object.keys(FUSION_RULES).join(", ");
    throw new RangeError(`There is no fusion rule "${name}" to switch off: wanted one of ${names}`);
  }
  return new Set(off);
}
