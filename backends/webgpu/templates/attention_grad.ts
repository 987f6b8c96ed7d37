/**
 * The gradient of attention from its saved log-sum-exp (Dao 2023, FlashAttention-2, algorithm 2): in one
 * dispatch rows are queries and give dq, in another, or in two, rows are keys and give dk and dv.
 */
import type { AttentionGradKernel, MatrixOperand } from "../../../compiler/loop_ir.ts";
import { literal } from "../wgsl/literal.ts";
import type { Dispatch, EmitOptions } from "../wgsl/module.ts";
import { LETTERS, OWN, tileOf } from "./attention_division.ts";
import { emitRowStatistics, emitVectorSums, placedNorms } from "./attention_norms.ts";
import { PairSide, type SideSource } from "./attention_sides.ts";
import { mostColumns, type ResultColumns, TileWriter } from "./attention_tile.ts";
import { RowNormGradWriter } from "./row_norm_grad.ts";
import { sizeOf, sumOf } from "../wgsl/strides.ts";

/** What one dispatch finds. */
interface Part {
  /** What its rows are. */
  readonly rows: "query" | "key";
  /** Whether it finds what flows back to those rows. */
  readonly toRows: boolean;
  /** Whether it finds what flows back to the values; rows are keys then. */
  readonly toValues: boolean;
}

/** The dispatches that compute the gradient: those of its results that are wanted and have elements. */
export function emitAttentionGrad(kernel: AttentionGradKernel, options: EmitOptions): Dispatch[] {
  const { queries, keys, dq, dk, dv, queryNormGrad, keyNormGrad } = kernel;
  const entries = sizeOf(kernel.batch);
  const parts: Part[] = [];
  if (entries * queries > 0 && (dq !== undefined || queryNormGrad !== undefined)) {
    parts.push({ rows: "query", toRows: true, toValues: false });
  }
  if (entries * keys > 0) {
    const key = { rows: "key", toRows: dk !== undefined || keyNormGrad !== undefined } as const;
    const toValues = dv !== undefined;
    // Together, results that do not fit would have workgroups share out their columns, each of which
    // would compute all scores and their cotangents; for dv alone scores will do.
    const together =
      Math.max(kernel.depth, kernel.valueDepth) <= mostColumns(tileOf(kernel, options), 2);
    if (key.toRows && toValues && !together) {
      parts.push({ ...key, toValues: false }, { ...key, toRows: false, toValues });
    } else if (key.toRows || toValues) {
      parts.push({ ...key, toValues });
    }
  }
  return [
    ...(parts.length === 0 ? [] : emitRowStatistics(kernel, options)),
    ...parts.map((part) => new GradWriter(kernel, options, part).write()),
    ...emitVectorSums(kernel, options),
  ];
}

/** An operand of the scores' product, and one of the product that their cotangents come from. */
type Sources = Readonly<Record<"scored" | "value", Omit<SideSource, "prefix">>>;

/** A result, and what it is the sum of: pairs' numbers times columns of the other side. */
interface Summed {
  readonly result: ResultColumns;
  readonly pairs: string;
  readonly stage: string;
  readonly right: PairSide;
}

class GradWriter {
  readonly #kernel: AttentionGradKernel;
  readonly #tile: TileWriter;
  readonly #part: Part;

  constructor(kernel: AttentionGradKernel, options: EmitOptions, part: Part) {
    this.#kernel = kernel;
    this.#part = part;
    const { queries, keys, depth, valueDepth } = kernel;
    const [rows, columns] = this.#byQuery ? [queries, keys] : [keys, queries];
    const results = [...(part.toRows ? [depth] : []), ...(part.toValues ? [valueDepth] : [])];
    const wholeRows = part.toRows && kernel[`${part.rows}Norm`] !== undefined;
    this.#tile = new TileWriter(kernel, options, { rows, columns, results, wholeRows });
  }

  get #byQuery(): boolean {
    return this.#part.rows === "query";
  }

  /** The queries or the keys, and what is multiplied with the values or is them. */
  #sourcesOf(side: "query" | "key"): Sources {
    const { q, k, v, outCotangent, queries, keys, depth, valueDepth } = this.#kernel;
    const norm = placedNorms(this.#kernel)[side];
    const rows = side === "query" ? queries : keys;
    return {
      scored: { operand: side === "query" ? q : k, rows, columns: depth, norm },
      value: { operand: side === "query" ? outCotangent : v, rows, columns: valueDepth },
    };
  }

  write(): Dispatch {
    const tile = this.#tile;
    const { size } = tile.division;
    const { depth, valueDepth } = this.#kernel;
    const { rows, toRows } = this.#part;
    const columns = this.#byQuery ? "key" : "query";
    const [ofRows, ofColumns] = [this.#sourcesOf(rows), this.#sourcesOf(columns)];
    const side = (source: SideSource, own: "rows" | "columns") =>
      PairSide.ofRows(tile, source, tile[own]);
    const rowSide = side({ prefix: rows, ...ofRows.scored }, "rows");
    const columnSide = side({ prefix: columns, ...ofColumns.scored }, "columns");
    const values = toRows
      ? {
        row: side({ prefix: "row_value", ...ofRows.value }, "rows"),
        column: side({ prefix: "column_value", ...ofColumns.value }, "columns"),
      }
      : undefined;
    const summed = this.#summed(ofColumns);
    const back = this.#backThroughNorm();
    const products = toRows ? this.#deltaSides() : undefined;
    tile.begin();
    for (const each of [rowSide, values?.row, columnSide, values?.column]) each?.writeBase();
    for (const each of products ?? []) each.writeBase();
    for (const { right } of summed) right.writeBase();
    for (const each of [rowSide, values?.row]) {
      each?.writePlaces(tile.name("first_row"), ofRows.scored.rows % size === 0);
    }
    for (const { right, result } of summed) tile.writeResultPlaces(right, result);
    const shared = tile.declareShared("numbers", "vec2<f32>", size);
    if (this.#byQuery) {
      this.#writeNumbers(shared, tile.name("first_row"), tile.name("own_row"), products);
    }
    tile.eachTile((first, count) => {
      for (const each of [columnSide, values?.column]) {
        each?.writePlaces(first, ofColumns.scored.rows % size === 0);
      }
      if (!this.#byQuery) {
        this.#writeNumbers(shared, first, tile.name("own_column"), products);
      }
      tile.addPairs("score", rowSide, columnSide, depth);
      if (values !== undefined) tile.addPairs("product", values.row, values.column, valueDepth);
      this.#writeWeights(toRows);
      tile.add("workgroupBarrier();");
      for (const { stage, pairs } of summed) tile.stagePairs(stage, pairs);
      tile.add("workgroupBarrier();");
      for (const { stage, result, right } of summed) {
        tile.addResults(stage, result, right, first, count);
      }
    });
    back?.write();
    this.#writeStores();
    return { wgsl: tile.finish(), grid: tile.grid };
  }

  /** The result for the rows, and that for the values, as far as the dispatch has them. */
  get #results(): readonly [ResultColumns | undefined, ResultColumns | undefined] {
    const [first, second] = this.#tile.results;
    return this.#part.toRows ? [first, second] : [undefined, first];
  }

  #summed({ scored, value }: Sources): Summed[] {
    const tile = this.#tile;
    const [toRows, toValues] = this.#results;
    const { size, across } = tile.division;
    const stage = (word: string) => tile.declareShared(word, "vec4<f32>", size * across);
    return [
      toRows && {
        result: toRows,
        pairs: "score_grad",
        stage: stage("score_grads"),
        right: PairSide.ofColumns(tile, { prefix: "summed", ...scored }, toRows.own),
      },
      toValues && {
        result: toValues,
        pairs: "probability",
        stage: stage("probabilities"),
        right: PairSide.ofColumns(tile, { prefix: "summed_value", ...value }, toValues.own),
      },
    ].filter((entry) => entry !== undefined);
  }

  #backThroughNorm(): RowNormGradWriter | undefined {
    const [result] = this.#results;
    const norm = placedNorms(this.#kernel)[this.#part.rows];
    return result && norm && new RowNormGradWriter(this.#tile, norm, result);
  }

  #writeStores(): void {
    const { dq, dk, dv } = this.#kernel;
    const [toRows, toValues] = this.#results;
    const target = this.#byQuery ? dq : dk;
    if (toRows !== undefined && target !== undefined) this.#tile.storeResult(target, toRows);
    if (toValues !== undefined && dv !== undefined) this.#tile.storeResult(dv, toValues);
  }

  /** An output row and its cotangent, of which an invocation finds the product. */
  #deltaSides(): readonly [PairSide, PairSide] {
    const { out, outCotangent, queries, valueDepth } = this.#kernel;
    const own = { count: 1, first: this.#tile.name("invocation"), offset: () => 0 };
    const side = (prefix: string, operand: MatrixOperand) =>
      PairSide.ofRows(this.#tile, { prefix, operand, rows: queries, columns: valueDepth }, own);
    return [side("delta_out", out), side("delta_cotangent", outCotangent)];
  }

  /**
   * Names the log-sum-exp of the invocation's four queries, and their deltas: the sums of a query's
   * output times the output's cotangent, where they are wanted. Each is found by one invocation and handed
   * on.
   */
  #writeNumbers(
    shared: string,
    first: string,
    own: string,
    products: readonly [PairSide, PairSide] | undefined,
  ): void {
    const tile = this.#tile;
    const { size } = tile.division;
    const { logSumExp, valueDepth, queries } = this.#kernel;
    const [lane, query, delta] = ["invocation", "query_row", "delta"]
      .map((word) => tile.name(word)) as [string, string, string];
    const fits = queries % size === 0;
    tile.block(`if (${lane} < ${size})`, () => {
      const place = `${first} + ${lane}`;
      tile.add(`let ${query} = ${fits ? place : `min(${place}, ${queries - 1})`};`);
      if (products === undefined) tile.add(`let ${delta} = 0.0;`);
      else {
        for (const side of products) side.writePlaces(first, fits);
        tile.nameProduct(delta, ...products, valueDepth);
      }
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
    const byQuery = this.#byQuery;
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
