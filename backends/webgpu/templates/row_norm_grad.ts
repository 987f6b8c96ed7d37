/**
 * The way back through a norm of rows. A workgroup has whole rows of what flows back to normalised ones,
 * in registers, and turns them into what flows back to the rows; the sums of its rows that flow back to
 * the norm's vectors it leaves in the workspace.
 */
import { literal } from "../wgsl/literal.ts";
import { sumOf } from "../wgsl/strides.ts";
import { LETTERS, OWN } from "./attention_division.ts";
import { type PlacedNorm, workspaceOf } from "./attention_norms.ts";
import { PairSide } from "./attention_sides.ts";
import type { ResultColumns, TileWriter } from "./attention_tile.ts";

const PREFIX = "given";

/** Writes what follows the sums of one result. */
export class RowNormGradWriter {
  readonly #tile: TileWriter;
  readonly #placed: PlacedNorm;
  readonly #result: ResultColumns;
  /** The rows normalised, but not scaled: `y`. */
  readonly #normalized: PairSide;

  constructor(tile: TileWriter, placed: PlacedNorm, result: ResultColumns) {
    this.#tile = tile;
    this.#placed = placed;
    this.#result = result;
    const { operand, rows } = placed;
    const norm = { ...placed, norm: { ...placed.norm, bias: undefined } };
    const source = { prefix: PREFIX, operand, rows, columns: result.columns, norm, unscaled: true };
    this.#normalized = PairSide.ofColumns(tile, source, result.own);
  }

  get #fours(): number[] {
    return Array.from({ length: this.#result.own.count / 4 }, (_, four) => four);
  }

  #sum(row: number, four: number): string {
    return this.#tile.name(`${this.#result.name}_${row}_${four}`);
  }

  /** With `h` as the cotangent of `y`: `(h - mean(h) - y * mean(h * y)) / deviation`. */
  write(): void {
    const tile = this.#tile;
    const { center } = this.#placed.norm;
    tile.add("// Back through the norm of the workgroup's rows.");
    this.#normalized.writeBase();
    tile.writeResultPlaces(this.#normalized, this.#result);
    this.#writeFactors();
    const [along, middle] = [tile.name("along"), tile.name("middle")];
    for (const mean of center ? [along, middle] : [along]) tile.add(`var ${mean} = vec4<f32>();`);
    for (const { vector } of this.#placed.sums) {
      for (const four of this.#fours) {
        tile.add(`var ${this.#vectorSum(vector, four)} = vec4<f32>();`);
      }
    }
    this.#eachRow((row) => this.#writeSums(row));
    for (const mean of center ? [along, middle] : [along]) {
      const own = tile.name(`own_${mean}`);
      tile.add("workgroupBarrier();", `let ${own} = ${mean};`, `${mean} = vec4<f32>();`);
      tile.acrossRow(own, (value) => tile.add(`${mean} += ${value};`));
      tile.add(`${mean} /= ${literal("f32", this.#result.columns)};`);
    }
    this.#eachRow((row) => {
      const letter = LETTERS[row];
      const inverse = tile.name(`${PREFIX}_inverse`);
      for (const four of this.#fours) {
        const sum = this.#sum(row, four);
        const h = center ? `${sum} - ${middle}.${letter}` : sum;
        tile.add(`${sum} = (${h} - ${this.#y(four)} * ${along}.${letter}) * ${inverse};`);
      }
    });
    this.#writeVectorSums();
  }

  #y(four: number): string {
    return this.#normalized.four(0, 1, four);
  }

  #vectorSum(vector: "scale" | "bias", four: number): string {
    return this.#tile.name(`${vector}_sum_${four}`);
  }

  /** Names the first of four columns. */
  #column(four: number): string {
    return sumOf(this.#tile.name("result_column"), this.#tile.division.size * four);
  }

  /** Whether there is anything beyond the last column. */
  get #isRagged(): boolean {
    return this.#result.columns % (this.#tile.division.size) !== 0;
  }

  /** Name of what four columns' cotangents are multiplied with; undefined where that is 1. */
  #factor(four: number): string | undefined {
    if (this.#isRagged) return this.#tile.name(`factor_${four}`);
    return this.#placed.norm.scale && this.#scale(four);
  }

  #scale(four: number): string {
    return this.#tile.name(`${PREFIX}_scale_${4 * four}`);
  }

  /** Names the norm's scale with zeros beyond the last column, from where nothing flows back. */
  #writeFactors(): void {
    if (!this.#isRagged) return;
    for (const four of this.#fours) {
      const scale = this.#placed.norm.scale ? this.#scale(four) : "vec4<f32>(1.0)";
      const inside = `vec4<i32>(${this.#column(four)}) + vec4<i32>(0, 1, 2, 3) < ` +
        `vec4<i32>(${this.#result.columns})`;
      const factor = this.#tile.name(`factor_${four}`);
      this.#tile.add(`let ${factor} = select(vec4<f32>(), ${scale}, ${inside});`);
    }
  }

  /** Loads each of the invocation's rows, normalised. */
  #eachRow(body: (row: number) => void): void {
    const tile = this.#tile;
    const { rows } = this.#placed;
    for (let row = 0; row < OWN; row++) {
      tile.module.code.scope(() => {
        const place = sumOf(tile.name("first_row"), tile.name("own_row"), row);
        const name = tile.name(`${PREFIX}_row`);
        tile.add(
          `let ${name} = ${
            rows % this.#tile.division.size === 0 ? place : `min(${place}, ${rows - 1})`
          };`,
        );
        this.#normalized.writeLoads(name, 1);
        body(row);
      });
    }
  }

  /** Turns a row's sums into cotangents of `y`, and adds up what is taken of them. */
  #writeSums(row: number): void {
    const tile = this.#tile;
    const { norm: { center }, rows, sums } = this.#placed;
    const letter = LETTERS[row];
    const inside = tile.name("inside_row");
    if (rows % this.#tile.division.size !== 0) {
      const place = sumOf(tile.name("first_row"), tile.name("own_row"), row);
      tile.add(`let ${inside} = ${place} < ${rows};`);
    }
    for (const four of this.#fours) {
      const [sum, y, factor] = [this.#sum(row, four), this.#y(four), this.#factor(four)];
      if (rows % this.#tile.division.size !== 0) {
        tile.add(`${sum} = select(vec4<f32>(), ${sum}, ${inside});`);
      }
      for (const { vector } of sums) {
        const value = vector === "scale" ? `${sum} * ${y}` : sum;
        tile.add(`${this.#vectorSum(vector, four)} += ${value};`);
      }
      if (factor !== undefined) tile.add(`${sum} *= ${factor};`);
      tile.add(`${tile.name("along")}.${letter} += dot(${sum}, ${y});`);
      if (center) tile.add(`${tile.name("middle")}.${letter} += dot(${sum}, vec4<f32>(1.0));`);
    }
  }

  /** Adds up what the invocations have for the vectors, each four columns, and stores it. */
  #writeVectorSums(): void {
    const tile = this.#tile;
    const { across } = tile.division;
    const { columns } = this.#result;
    const workspace = workspaceOf(tile.kernel);
    const [lane, total, group, next, column] = [
      "invocation",
      "total",
      "group_row",
      "next",
      "column_1",
    ]
      .map((word) => tile.name(word)) as [string, string, string, string, string];
    for (const { vector, offset } of this.#placed.sums) {
      tile.add(`// For the ${vector}, the sums over the workgroup's rows.`);
      const start = tile.name("sums");
      tile.module.code.scope(() => {
        tile.add(`let ${start} = ${sumOf(`${tile.name("tile")} * ${columns}`, offset)};`);
        for (const four of this.#fours) {
          tile.add("workgroupBarrier();");
          tile.module.code.scope(() => {
            const shared = tile.shareRows(this.#vectorSum(vector, four));
            tile.block(`if (${lane} < ${across})`, () => {
              tile.add(`var ${total} = vec4<f32>();`);
              tile.block(
                `for (var ${group} = 0; ${group} < ${across}; ${group}++)`,
                () => tile.add(`${total} += ${shared}[${group} * ${across} + ${lane}];`),
              );
              tile.block(`for (var ${next} = 0; ${next} < 4; ${next}++)`, () => {
                tile.add(`let ${column} = ${sumOf(this.#column(four), next)};`);
                const place = sumOf(start, column);
                const store = tile.module.buffers.store(workspace, place, `${total}[${next}]`);
                tile.block(`if (${column} < ${columns})`, () => tile.add(...store));
              });
            });
          });
        }
      });
    }
  }
}
