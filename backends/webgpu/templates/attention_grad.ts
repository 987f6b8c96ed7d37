/**
 * The gradient of attention from its saved log-sum-exp (Dao 2023, FlashAttention-2, algorithm 2), as two
 * dispatches: in one rows are queries and give dq, in the other rows are keys and give dk and dv.
 */
import type { AttentionGradKernel } from "../../../compiler/loop_ir.ts";
import { literal } from "../wgsl/literal.ts";
import type { Dispatch, EmitOptions } from "../wgsl/module.ts";
import { ACROSS, LETTERS, OWN, PairSide, TILE, TileWriter } from "./attention_tile.ts";
import { sizeOf, sumOf } from "../wgsl/strides.ts";

/** The dispatches that compute the gradient: those of its results that are wanted and have elements. */
export function emitAttentionGrad(kernel: AttentionGradKernel, options: EmitOptions): Dispatch[] {
  const { queries, keys, dq, dk, dv } = kernel;
  const batch = sizeOf(kernel.batch);
  const dispatches: Dispatch[] = [];
  if (dq !== undefined && batch * queries > 0) {
    dispatches.push(new GradWriter(kernel, options, "queries").write());
  }
  if ((dk !== undefined || dv !== undefined) && batch * keys > 0) {
    dispatches.push(new GradWriter(kernel, options, "keys").write());
  }
  return dispatches;
}

const SIDES = {
  queries: { rows: "query", columns: "key" },
  keys: { rows: "key", columns: "query" },
} as const;

class GradWriter {
  readonly #kernel: AttentionGradKernel;
  readonly #tile: TileWriter;
  /** What the workgroup's rows are. */
  readonly #rows: "queries" | "keys";

  constructor(kernel: AttentionGradKernel, options: EmitOptions, rows: "queries" | "keys") {
    this.#kernel = kernel;
    this.#rows = rows;
    const { queries, keys, depth, valueDepth, dk, dv } = kernel;
    const extents = rows === "queries" ? { rows: queries, columns: keys, results: [depth] } : {
      rows: keys,
      columns: queries,
      results: [...(dk === undefined ? [] : [depth]), ...(dv === undefined ? [] : [valueDepth])],
    };
    this.#tile = new TileWriter(kernel, options, extents);
  }

  write(): Dispatch {
    const tile = this.#tile;
    const { q, k, v, outCotangent, queries, keys, depth, valueDepth, dv } = this.#kernel;
    const { code } = tile.module;
    const byQuery = this.#rows === "queries";
    const { rows: rowName, columns: columnName } = SIDES[this.#rows];
    const [rowCount, columnCount] = byQuery ? [queries, keys] : [keys, queries];
    const side = (name: string, own: "rows" | "columns", operand: typeof q, columns: number) =>
      new PairSide(
        tile.alongColumns(name, operand, own === "rows" ? rowCount : columnCount, columns),
        tile[own],
      );
    const [rowOperand, columnOperand] = byQuery ? [q, k] : [k, q];
    const [rowValue, columnValue] = byQuery ? [outCotangent, v] : [v, outCotangent];
    const [resultK, resultV] = this.#results();
    const needsProduct = resultK !== undefined;
    const rowSides = [
      side(rowName, "rows", rowOperand, depth),
      ...(needsProduct ? [side("row_value", "rows", rowValue, valueDepth)] : []),
    ];
    const columnSides = [
      side(columnName, "columns", columnOperand, depth),
      ...(needsProduct ? [side("column_value", "columns", columnValue, valueDepth)] : []),
    ];
    const summed = [
      resultK && {
        stage: tile.declareShared("score_grads", "vec4<f32>", TILE * ACROSS),
        pairs: "score_grad",
        result: resultK,
        right: new PairSide(
          tile.alongRows("summed", columnOperand, columnCount, depth),
          resultK.own,
        ),
      },
      resultV && {
        stage: tile.declareShared("probabilities", "vec4<f32>", TILE * ACROSS),
        pairs: "probability",
        result: resultV,
        right: new PairSide(
          tile.alongRows("summed_value", columnValue, columnCount, valueDepth),
          resultV.own,
        ),
      },
    ].filter((entry) => entry !== undefined);
    tile.begin();
    for (const each of [...rowSides, ...columnSides, ...summed.map(({ right }) => right)]) {
      each.reader.writeBase(code, tile.name("batch"));
    }
    for (const each of rowSides) {
      each.writePlaces(code, tile.name("first_row"), rowCount % TILE === 0);
    }
    for (const { right, result } of summed) tile.writeResultPlaces(right, result);
    const shared = tile.declareShared("numbers", "vec2<f32>", TILE);
    if (byQuery) this.#writeNumbers(shared, tile.name("first_row"), tile.name("own_row"));
    tile.eachTile((first, count) => {
      for (const each of columnSides) each.writePlaces(code, first, columnCount % TILE === 0);
      if (!byQuery) this.#writeNumbers(shared, first, tile.name("own_column"));
      const [rowSide, rowValues] = rowSides;
      const [columnSide, columnValues] = columnSides;
      if (rowSide === undefined || columnSide === undefined) return;
      tile.addPairs("score", rowSide, columnSide, depth);
      if (rowValues !== undefined && columnValues !== undefined) {
        tile.addPairs("product", rowValues, columnValues, valueDepth);
      }
      this.#writeWeights(needsProduct);
      tile.add("workgroupBarrier();");
      for (const { stage, pairs } of summed) tile.stagePairs(stage, pairs);
      tile.add("workgroupBarrier();");
      for (const { stage, result, right } of summed) {
        tile.addResults(stage, result, right, first, count);
      }
    });
    const target = byQuery ? this.#kernel.dq : this.#kernel.dk;
    if (resultK !== undefined && target !== undefined) tile.storeResult(target, resultK);
    if (resultV !== undefined && dv !== undefined) tile.storeResult(dv, resultV);
    return { wgsl: tile.finish(), grid: tile.grid };
  }

  /** What is summed of the score's cotangents, and of the probabilities. */
  #results() {
    const { results } = this.#tile;
    if (this.#rows === "queries") return [results[0], undefined] as const;
    return this.#kernel.dk === undefined
      ? [undefined, results[0]] as const
      : [results[0], results[1]] as const;
  }

  /**
   * Names the log-sum-exp of the invocation's four queries, and their deltas: the sums of a query's
   * output times the output's cotangent. Each is found by one invocation and handed on.
   */
  #writeNumbers(shared: string, first: string, own: string): void {
    const tile = this.#tile;
    const { logSumExp, out, outCotangent, valueDepth, queries } = this.#kernel;
    const [lane, query, delta, column] = ["invocation", "query_row", "delta", "delta_column"]
      .map((word) => tile.name(word)) as [string, string, string, string];
    tile.block(`if (${lane} < ${TILE})`, () => {
      const place = `${first} + ${lane}`;
      const inside = queries % TILE === 0 ? place : `min(${place}, ${queries - 1})`;
      tile.add(`let ${query} = ${inside};`, `var ${delta} = 0.0;`);
      tile.block(`for (var ${column} = 0; ${column} < ${valueDepth}; ${column}++)`, () => {
        const [a, b] = [outCotangent, out].map((operand) => tile.element(operand, query, column));
        tile.add(`${delta} += ${a} * ${b};`);
      });
      tile.add(`${shared}[${lane}] = vec2<f32>(${tile.element(logSumExp, query)}, ${delta});`);
    });
    tile.add("workgroupBarrier();");
    for (const [name, letter] of [["log_sums", "x"], ["deltas", "y"]] as const) {
      const four = [0, 1, 2, 3].map((at) => `${shared}[${sumOf(own, at)}].${letter}`);
      tile.add(`let ${tile.name(name)} = vec4<f32>(${four.join(", ")});`);
    }
  }

  /** Names the pairs' probabilities, and the cotangents of their scores. */
  #writeWeights(needsProduct: boolean): void {
    const tile = this.#tile;
    const scale = literal("f32", this.#kernel.scale);
    const byQuery = this.#rows === "queries";
    const [logSums, deltas] = [tile.name("log_sums"), tile.name("deltas")];
    for (let row = 0; row < OWN; row++) {
      const component = byQuery ? `.${LETTERS[row]}` : "";
      const exponent = `${tile.name(`score_${row}`)} * ${scale} - ${logSums}${component}`;
      const probability = tile.name(`probability_${row}`);
      tile.add(`let ${probability} = ${tile.exponential(exponent)};`);
      if (!needsProduct) continue;
      const difference = `(${tile.name(`product_${row}`)} - ${deltas}${component})`;
      tile.add(
        `let ${tile.name(`score_grad_${row}`)} = ${scale} * ${probability} * ${difference};`,
      );
    }
  }
}
