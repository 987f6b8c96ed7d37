/** How often an invocation's loops go round in attention. */
import type {
  AttentionGradKernel,
  AttentionKernel,
  MatrixOperand,
} from "../../../compiler/loop_ir.ts";
import type { PlainKernel } from "../emit_kernel.ts";
import { ATTENTION_TILES } from "../templates/attention_division.ts";
import { rowsComeInFours } from "../templates/attention_sides.ts";
import { STEPS } from "../templates/matmul_operand.ts";

/** The smallest tile: it takes the most rounds. */
const SIZE = Math.min(...Object.values(ATTENTION_TILES).map(({ size }) => size));

/** The most rounds of all loops of an invocation together; 0 for other kernels, which see to it themselves. */
export function attentionRounds(kernel: PlainKernel): number {
  switch (kernel.kind) {
    case "attention":
      return forwardRounds(kernel);
    case "attentionGrad":
      return gradientRounds(kernel);
    default:
      return 0;
  }
}

/** Scores, what the invocations of a row tell each other, and the sums of a tile of keys. */
function forwardRounds({ keys, depth, q, k }: AttentionKernel): number {
  return tilesOf(keys) * (productRounds(depth, q, k) + 2 * SIZE);
}

/** Scores and their cotangents, a query's sum, and two results' sums of a tile. */
function gradientRounds(kernel: AttentionGradKernel): number {
  const { queries, keys, depth, valueDepth, q, k, v, outCotangent } = kernel;
  const each = productRounds(depth, q, k) + productRounds(valueDepth, v, outCotangent) +
    valueDepth + 2 * SIZE;
  const [toQueries, toKeys] = [
    kernel.dq ?? kernel.queryNormGrad,
    kernel.dk ?? kernel.dv ?? kernel.keyNormGrad,
  ];
  return Math.max(
    toQueries === undefined ? 0 : tilesOf(keys) * each,
    toKeys === undefined ? 0 : tilesOf(queries) * each,
  );
}

function tilesOf(rows: number): number {
  return Math.ceil(rows / SIZE);
}

/** Four steps at a time, where rows lie in fours. */
function productRounds(
  length: number,
  ...operands: readonly (MatrixOperand | undefined)[]
): number {
  const byFours = operands.every((one) => one !== undefined && rowsComeInFours(one, length));
  return byFours ? length / STEPS : length;
}
