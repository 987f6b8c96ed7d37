/**
 * The gradient of attention from its saved log-sum-exp (Dao 2023, FlashAttention-2, algorithm 2), as two
 * dispatches: one has a query row to each invocation and gives dq, the other a key row and gives dk, dv.
 */
import type { AttentionGradKernel } from "../../../compiler/loop_ir.ts";
import { literal } from "../wgsl/literal.ts";
import { type Dispatch, type EmitOptions, ModuleWriter } from "../wgsl/module.ts";
import { sizeOf } from "../wgsl/strides.ts";
import { planRows, RowsWriter, type StagedMatrix } from "./attention_rows.ts";

/** The kernel's dispatches: those of its results that are wanted and have elements. */
export function emitAttentionGrad(kernel: AttentionGradKernel, options: EmitOptions): Dispatch[] {
  const { queries, keys, dq, dk, dv } = kernel;
  const dispatches: Dispatch[] = [];
  const batch = sizeOf(kernel.batch);
  if (dq !== undefined && batch * queries > 0) dispatches.push(queryGradient(kernel, options));
  const wantsKeys = dk !== undefined || dv !== undefined;
  if (wantsKeys && batch * keys > 0) dispatches.push(keyGradient(kernel, options));
  return dispatches;
}

function matrices({ q, k, v, outCotangent, depth, valueDepth }: AttentionGradKernel) {
  const staged = (name: string, operand: StagedMatrix["operand"], columns: number) => ({
    name,
    operand,
    columns,
  });
  return {
    query: staged("query", q, depth),
    key: staged("key", k, depth),
    value: staged("value", v, valueDepth),
    cotangent: staged("cotangent", outCotangent, valueDepth),
  };
}

function queryGradient(kernel: AttentionGradKernel, options: EmitOptions): Dispatch {
  const { queries, keys, depth } = kernel;
  const { query, key, value, cotangent } = matrices(kernel);
  const module = new ModuleWriter(kernel, options);
  const { code, library } = module;
  const staged = [key, value];
  const columns = key.columns + value.columns;
  const plan = planRows(kernel.name, kernel, queries, columns, options.limits);
  const rows = new RowsWriter(module, kernel, plan);
  const scale = literal("f32", kernel.scale);
  rows.begin(queries);
  rows.ownRow("query", query.operand, query.columns);
  rows.ownRow("cotangent", cotangent.operand, cotangent.columns);
  rows.zeros("result", query.columns);
  code.add("var delta = 0.0;");
  code.block(
    `for (var c = 0; c < ${value.columns}; c++)`,
    () => code.add(`delta += cotangent[c] * ${rows.element(kernel.out, "row", "c")};`),
  );
  code.add(`let log_sum = ${rows.vectorElement(kernel.logSumExp, "row")};`);
  rows.eachTile(keys, staged, () =>
    code.block("for (var j = 0; j < tile_rows; j++)", () => {
      rows.dot("score", "query", key);
      rows.dot("probability_grad", "cotangent", value);
      code.add(
        `let probability = ${library.use("exp_f32")}(score * ${scale} - log_sum);`,
        `let score_grad = ${scale} * probability * (probability_grad - delta);`,
      );
      rows.addRow("result", "score_grad", key);
    }));
  rows.storeRow(kernel.dq, depth, queries, "result[c]");
  const wgsl = module.module([plan.rows, 1], rows.tileDeclarations(staged));
  return { wgsl, grid: plan.grid };
}

function keyGradient(kernel: AttentionGradKernel, options: EmitOptions): Dispatch {
  const { queries, keys, depth, valueDepth, dk, dv } = kernel;
  const { query, key, value, cotangent } = matrices(kernel);
  const module = new ModuleWriter(kernel, options);
  const { code, library } = module;
  const staged = [query, cotangent];
  // Beside the two matrices a tile's row has its log-sum-exp and its delta.
  const columns = query.columns + cotangent.columns + 2;
  const plan = planRows(kernel.name, kernel, keys, columns, options.limits);
  const rows = new RowsWriter(module, kernel, plan);
  const scale = literal("f32", kernel.scale);
  rows.begin(keys);
  rows.ownRow("key", key.operand, key.columns);
  rows.ownRow("value", value.operand, value.columns);
  if (dk !== undefined) rows.zeros("key_grad", key.columns);
  if (dv !== undefined) rows.zeros("value_grad", value.columns);
  const stageRowNumbers = () =>
    code.block("if (i32(local.x) < tile_rows)", () => {
      code.add("let query_row = first + i32(local.x);", "var delta = 0.0;");
      code.block(`for (var c = 0; c < ${value.columns}; c++)`, () => {
        const [a, b] = [cotangent.operand, kernel.out].map((operand) =>
          rows.element(operand, "query_row", "c")
        );
        code.add(`delta += ${a} * ${b};`);
      });
      code.add(
        "delta_tile[local.x] = delta;",
        `log_sum_tile[local.x] = ${rows.vectorElement(kernel.logSumExp, "query_row")};`,
      );
    });
  const eachQuery = () =>
    code.block("for (var j = 0; j < tile_rows; j++)", () => {
      rows.dot("score", "key", query);
      code.add(
        `let probability = ${library.use("exp_f32")}(score * ${scale} - log_sum_tile[j]);`,
      );
      if (dv !== undefined) rows.addRow("value_grad", "probability", cotangent);
      if (dk === undefined) return;
      rows.dot("probability_grad", "value", cotangent);
      code.add(`let score_grad = ${scale} * probability * (probability_grad - delta_tile[j]);`);
      rows.addRow("key_grad", "score_grad", query);
    });
  rows.eachTile(queries, staged, eachQuery, stageRowNumbers);
  rows.storeRow(dk, depth, keys, "key_grad[c]");
  rows.storeRow(dv, valueDepth, keys, "value_grad[c]");
  const wgsl = module.module([plan.rows, 1], [
    ...rows.tileDeclarations(staged),
    `var<workgroup> delta_tile: array<f32, ${plan.tileRows}>;`,
    `var<workgroup> log_sum_tile: array<f32, ${plan.tileRows}>;`,
  ]);
  return { wgsl, grid: plan.grid };
}
