/**
 * Attention without the matrix of scores (Dao 2023, FlashAttention-2, algorithm 1): an invocation has a
 * query row, its running maximum and sum, and its output; keys and values come in tiles.
 */
import type { AttentionKernel } from "../../../compiler/loop_ir.ts";
import { literal } from "../wgsl/literal.ts";
import { type Dispatch, type EmitOptions, ModuleWriter } from "../wgsl/module.ts";
import { sizeOf } from "../wgsl/strides.ts";
import { planRows, RowsWriter, type StagedMatrix } from "./attention_rows.ts";

/** The kernel as one dispatch; none without queries. */
export function emitAttention(kernel: AttentionKernel, options: EmitOptions): Dispatch[] {
  const { queries, keys, depth, valueDepth, out, logSumExp } = kernel;
  if (sizeOf(kernel.batch) * queries === 0) return [];
  const module = new ModuleWriter(kernel, options);
  const { code, library, buffers } = module;
  const key: StagedMatrix = { name: "key", operand: kernel.k, columns: depth };
  const value: StagedMatrix | undefined = kernel.v === undefined || out === undefined
    ? undefined
    : { name: "value", operand: kernel.v, columns: valueDepth };
  const staged = value === undefined ? [key] : [key, value];
  const columns = staged.reduce((sum, { columns }) => sum + columns, 0);
  const plan = planRows(kernel.name, kernel, queries, columns, options.limits);
  const rows = new RowsWriter(module, kernel, plan);
  const [exp, max] = [library.use("exp_f32"), library.use("max_f32")];
  rows.begin(queries);
  rows.ownRow("query", kernel.q, key.columns);
  if (value !== undefined) rows.zeros("result", value.columns);
  code.add(`var largest = -${library.use("infinity_f32")}();`, "var sum = 0.0;");
  rows.eachTile(keys, staged, () => {
    code.add(`var scores: array<f32, ${plan.tileRows}>;`, "var next_largest = largest;");
    code.block("for (var j = 0; j < tile_rows; j++)", () => {
      rows.dot("score", "query", key);
      code.add(
        `scores[j] = score * ${literal("f32", kernel.scale)};`,
        `next_largest = ${max}(next_largest, scores[j]);`,
      );
    });
    // Before the first tile there is nothing to correct.
    code.add(`let correction = select(${exp}(largest - next_largest), 0.0, first == 0);`);
    code.add("sum *= correction;");
    if (value !== undefined) {
      code.block(
        `for (var c = 0; c < ${value.columns}; c++)`,
        () => code.add("result[c] *= correction;"),
      );
    }
    code.block("for (var j = 0; j < tile_rows; j++)", () => {
      code.add(`let probability = ${exp}(scores[j] - next_largest);`, "sum += probability;");
      if (value !== undefined) rows.addRow("result", "probability", value);
    });
    code.add("largest = next_largest;");
  });
  if (value !== undefined) {
    rows.storeRow(out, valueDepth, queries, keys === 0 ? "0.0" : "result[c] / sum");
  }
  if (logSumExp !== undefined) {
    const place = rows.vectorPlace(logSumExp, "row");
    const log = library.use("log_f32");
    code.block(
      `if (own_row < ${queries})`,
      () => code.add(...buffers.store(logSumExp.buffer, place, `largest + ${log}(sum)`)),
    );
  }
  const wgsl = module.module([plan.rows, 1], rows.tileDeclarations(staged));
  return [{ wgsl, grid: plan.grid }];
}
