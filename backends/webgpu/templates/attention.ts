/**
 * Attention with the softmax taken on the way (Dao 2023, FlashAttention-2, algorithm 1): rows are
 * queries, columns are keys, and the matrix of their scores exists a tile at a time.
 */
import type { AttentionKernel, MatrixOperand } from "../../../compiler/loop_ir.ts";
import { literal } from "../wgsl/literal.ts";
import type { Dispatch, EmitOptions } from "../wgsl/module.ts";
import { LETTERS, OWN } from "./attention_division.ts";
import { emitRowStatistics, placedNorms } from "./attention_norms.ts";
import { PairSide } from "./attention_sides.ts";
import { TileWriter } from "./attention_tile.ts";
import { sizeOf, sumOf } from "../wgsl/strides.ts";

/**
 * The dispatches that compute an attention kernel: one, after those of its norms' statistics; or none
 * where its results have no elements.
 *
 * @throws {RangeError} When there are no keys.
 */
export function emitAttention(kernel: AttentionKernel, options: EmitOptions): Dispatch[] {
  if (kernel.keys === 0) throw new RangeError(`Kernel ${kernel.name} attends to no keys`);
  if (sizeOf(kernel.batch) * kernel.queries === 0) return [];
  return [...emitRowStatistics(kernel, options), new ForwardWriter(kernel, options).write()];
}

class ForwardWriter {
  readonly #kernel: AttentionKernel;
  readonly #tile: TileWriter;

  constructor(kernel: AttentionKernel, options: EmitOptions) {
    this.#kernel = kernel;
    const results = kernel.out === undefined ? [] : [kernel.valueDepth];
    this.#tile = new TileWriter(kernel, options, {
      rows: kernel.queries,
      columns: kernel.keys,
      results,
    });
  }

  write(): Dispatch {
    const { queries, keys, depth, valueDepth, v } = this.#kernel;
    const tile = this.#tile;
    const { size, across } = tile.division;
    const [output] = tile.results;
    const norms = placedNorms(this.#kernel);
    const side = (prefix: "query" | "key", operand: MatrixOperand, rows: number) => {
      const source = { prefix, operand, rows, columns: depth, norm: norms[prefix] };
      return PairSide.ofRows(tile, source, prefix === "query" ? tile.rows : tile.columns);
    };
    const q = side("query", this.#kernel.q, queries);
    const k = side("key", this.#kernel.k, keys);
    const values = { prefix: "value", rows: keys, columns: valueDepth };
    const value = v && output && {
      result: output,
      side: PairSide.ofColumns(tile, { ...values, operand: v }, output.own),
    };
    const stage = value && tile.declareShared("weights", "vec4<f32>", size * across);
    tile.begin();
    for (const side of [q, k, value?.side]) side?.writeBase();
    q.writePlaces(tile.name("first_row"), queries % size === 0);
    if (value !== undefined) tile.writeResultPlaces(value.side, value.result);
    tile.add(
      "// Of the four rows: the largest score so far, and the sum of weights.",
      `var ${this.#maximum} = vec4<f32>(-${this.#infinity});`,
      `var ${this.#total} = vec4<f32>();`,
    );
    tile.eachTile((first, count) => {
      k.writePlaces(first, keys % size === 0);
      tile.addPairs("score", q, k, depth);
      this.#writeSoftmax(count);
      if (stage === undefined || value === undefined) return tile.add("workgroupBarrier();");
      tile.stagePairs(stage, "score");
      tile.scaleResult(value.result, tile.name("rescale"));
      tile.add("workgroupBarrier();");
      tile.addResults(stage, value.result, value.side, first, count);
    });
    this.#writeTotal();
    this.#writeStores();
    return { wgsl: tile.finish(), grid: tile.grid };
  }

  get #maximum(): string {
    return this.#tile.name("maximum");
  }

  get #total(): string {
    return this.#tile.name("total");
  }

  get #infinity(): string {
    return `${this.#tile.module.library.use("infinity_f32")}()`;
  }

  /** Turns scores into weights under the maximum so far, and names what the sums are scaled by. */
  #writeSoftmax(count: string): void {
    const tile = this.#tile;
    const [maximum, total] = [this.#maximum, this.#total];
    const [before, shift, rescale] = [
      tile.name("before"),
      tile.name("shift"),
      tile.name("rescale"),
    ];
    const rows = Array.from({ length: OWN }, (_, row) => tile.name(`score_${row}`));
    const scale = literal("f32", this.#kernel.scale);
    for (const score of rows) tile.add(`${score} *= ${scale};`);
    if (this.#kernel.keys % tile.division.size !== 0) {
      const inside = tile.name("inside");
      const own = `vec4<i32>(${tile.name("own_column")})`;
      tile.add(`let ${inside} = ${own} + vec4<i32>(0, 1, 2, 3) < vec4<i32>(${count});`);
      for (const score of rows) {
        tile.add(`${score} = select(vec4<f32>(-${this.#infinity}), ${score}, ${inside});`);
      }
    }
    const largest = rows.map((score) =>
      `max(max(${score}.x, ${score}.y), max(${score}.z, ${score}.w))`
    );
    tile.add(`let ${before} = ${maximum};`);
    tile.acrossRow(
      `vec4<f32>(${largest.join(", ")})`,
      (value) => tile.add(`${maximum} = max(${maximum}, ${value});`),
    );
    const never = `${maximum} == vec4<f32>(-${this.#infinity})`;
    tile.add(
      "// With no weight on any key so far, nothing is to be scaled.",
      `let ${shift} = select(${maximum}, vec4<f32>(), ${never});`,
      `let ${rescale} = ${tile.exponential(`${before} - ${shift}`)};`,
      ...rows.map((score, row) =>
        `${score} = ${tile.exponential(`${score} - ${shift}.${LETTERS[row]}`)};`
      ),
    );
    const sums = rows.map((score) => `(${score}.x + ${score}.y) + (${score}.z + ${score}.w)`);
    tile.add(`${total} = ${total} * ${rescale} + vec4<f32>(${sums.join(", ")});`);
  }

  /** Adds up the invocations' shares of each row's sum. */
  #writeTotal(): void {
    const tile = this.#tile;
    const [total, own] = [this.#total, tile.name("own_total")];
    tile.add(`let ${own} = ${total};`, `${total} = vec4<f32>();`);
    tile.acrossRow(own, (value) => tile.add(`${total} += ${value};`));
  }

  #writeStores(): void {
    const tile = this.#tile;
    const { out, logSumExp, queries } = this.#kernel;
    const [output] = tile.results;
    if (out !== undefined && output !== undefined) {
      const factor = tile.name("factor");
      tile.add(`let ${factor} = 1.0 / ${this.#total};`);
      tile.scaleResult(output, factor);
      tile.storeResult(out, output);
    }
    if (logSumExp === undefined) return;
    const first = tile.isFirstChunk;
    const chosen = first === undefined ? "" : ` && ${first}`;
    const { buffers, library } = tile.module;
    const [row, place] = [tile.name("row"), tile.name("place")];
    tile.block(
      `if (${tile.name("own_column")} == 0${chosen})`,
      () =>
        tile.block(`for (var ${row} = 0; ${row} < ${OWN}; ${row}++)`, () => {
          tile.add(`let ${place} = ${sumOf(tile.name("first_row"), tile.name("own_row"), row)};`);
          const value = `${this.#maximum}[${row}] + ${
            library.use("log_f32")
          }(${this.#total}[${row}])`;
          const store = buffers.store(logSumExp.buffer, tile.place(logSumExp, place), value);
          tile.block(`if (${place} < ${queries})`, () => tile.add(...store));
        }),
    );
  }
}
