/**
 * What the attention kernels share. A workgroup has a tile of rows and walks over tiles of columns;
 * each invocation has four rows and four columns of the tile's pairs. What the pairs are weighted with
 * goes through workgroup memory, and is multiplied with the columns' own rows into results that stay
 * in registers: for the output rows are queries and columns keys, for a key's gradient it is reversed.
 */
import type { MatrixOperand, VectorOperand } from "../../../compiler/loop_ir.ts";
import { type EmitOptions, type Grid, gridOf, groupNumber, ModuleWriter } from "../wgsl/module.ts";
import {
  type AnyAttention,
  attentionInvocations,
  type AttentionTile,
  LETTERS,
  OWN,
  tileOf,
} from "./attention_division.ts";
import { type PairSide, wideInAttention } from "./attention_sides.ts";
import { Locals } from "./locals.ts";
import { type OwnElements, STEPS } from "./matmul_operand.ts";
import { MOST_ROUNDS } from "../wgsl/rounds.ts";
import { sizeOf, Strides, sumOf } from "../wgsl/strides.ts";

/** Columns of results that an invocation may hold in all; more are shared out among workgroups. */
const MOST_OWN_RESULTS = 16;

/** Columns of each of several results that a workgroup may have. */
export function mostColumns({ size }: AttentionTile, results: number): number {
  return size * Math.max(1, Math.floor(MOST_OWN_RESULTS / 4 / results));
}

/** What {@linkcode TileWriter} walks over. */
export interface TileExtents {
  readonly rows: number;
  readonly columns: number;
  /** Columns of each result that is summed up. */
  readonly results: readonly number[];
  /** Whether a workgroup has whole rows of results, however long they are. */
  readonly wholeRows?: boolean;
}

/** A matrix of results in registers: `rows x columns`, some of them this workgroup's. */
export interface ResultColumns {
  readonly name: string;
  readonly own: OwnElements;
  readonly columns: number;
  /** Columns of a workgroup. */
  readonly chunk: number;
}

/** Writes the entry point of one attention kernel. */
export class TileWriter {
  readonly module: ModuleWriter;
  readonly locals: Locals;
  readonly grid: Grid;
  readonly results: readonly ResultColumns[];
  readonly rows: OwnElements;
  readonly columns: OwnElements;
  readonly kernel: AnyAttention;
  /** How the work is divided. */
  readonly division: AttentionTile;
  readonly #extents: TileExtents;
  readonly #chunks: number;
  readonly #declarations: string[] = [];
  readonly #software: boolean;
  /** How often all loops go round, and how often those do that are being written. */
  #rounds = 0;
  #around = 1;
  #sharesRows = false;
  #exponentials = false;

  constructor(
    kernel: AnyAttention,
    options: EmitOptions,
    extents: TileExtents,
  ) {
    this.division = tileOf(kernel, options);
    const { size } = this.division;
    this.module = new ModuleWriter(kernel, options, wideInAttention(kernel));
    this.locals = new Locals(this.module.names);
    this.kernel = kernel;
    this.#software = options.software;
    this.#extents = extents;
    const most = mostColumns(this.division, extents.results.length);
    this.#chunks = extents.wholeRows
      ? 1
      : Math.max(1, ...extents.results.map((columns) => Math.ceil(columns / most)));
    this.results = extents.results.map((columns, index) => {
      const fours = Math.max(1, Math.ceil(columns / this.#chunks / size));
      const offset = (at: number) => Math.floor(at / 4) * size + at % 4;
      const own = { count: 4 * fours, first: this.name("result_column"), offset };
      return { name: `result${index}`, own, columns, chunk: fours * size };
    });
    this.rows = { count: OWN, first: this.name("own_row"), offset: (at) => at };
    this.columns = { count: OWN, first: this.name("own_column"), offset: (at) => at };
    const tiles = this.#rowTiles * this.#chunks * sizeOf(kernel.batch);
    this.grid = gridOf(tiles, options.limits);
  }

  get #rowTiles(): number {
    return Math.ceil(this.#extents.rows / this.division.size);
  }

  /** A variable's name in WGSL. */
  name(word: string): string {
    return this.locals.of(word);
  }

  /** Adds lines. */
  add(...lines: readonly string[]): void {
    this.module.code.add(...lines);
  }

  /** Adds a block. */
  block(header: string, body: () => void): void {
    this.module.code.block(header, body);
  }

  /** An array of workgroup memory. */
  declareShared(word: string, type: string, length: number): string {
    const name = this.name(word);
    this.#declarations.push(`var<workgroup> ${name}: array<${type}, ${length}>;`);
    return name;
  }

  /** Names the workgroup's batch entry, tile of rows and chunk of results, and what is whose. */
  begin(): void {
    const tile = this.name("tile");
    const lane = this.name("invocation");
    const [batch, first, chunk] = [this.name("batch"), this.name("first_row"), this.name("chunk")];
    const tiles = this.#rowTiles;
    const { size, across } = this.division;
    const total = tiles * this.#chunks * sizeOf(this.kernel.batch);
    this.add(`let ${tile} = i32(${groupNumber(this.grid)});`);
    if (this.grid[0] * this.grid[1] * this.grid[2] > total) {
      this.add(`if (${tile} >= ${total}) { return; }`);
    }
    this.add(
      `let ${lane} = i32(local.x);`,
      `let ${batch} = ${tile} / ${tiles * this.#chunks};`,
      `let ${chunk} = ${this.#chunks === 1 ? "0" : `${tile} / ${tiles} % ${this.#chunks}`};`,
      `let ${first} = (${tile} % ${tiles}) * ${size};`,
      `let ${this.name("own_column")} = (${lane} % ${across}) * ${OWN};`,
      `let ${this.name("own_row")} = (${lane} / ${across}) * ${OWN};`,
      `let ${this.name("result_column")} = (${lane} % ${across}) * 4;`,
    );
    for (const { name, own } of this.results) {
      for (let row = 0; row < OWN; row++) {
        for (let four = 0; four < own.count / 4; four++) {
          this.add(`var ${this.name(`${name}_${row}_${four}`)} = vec4<f32>();`);
        }
      }
    }
  }

  /** Whether this workgroup has the first chunk of results: the one that stores what is not in chunks. */
  get isFirstChunk(): string | undefined {
    return this.#chunks === 1 ? undefined : `${this.name("chunk")} == 0`;
  }

  #batchOf({ batchStrides }: MatrixOperand | VectorOperand): Strides {
    return new Strides(
      this.kernel.batch.map((extent, at) => ({ extent, stride: batchStrides[at] ?? 0 })),
    );
  }

  /** The index of an element in its buffer. */
  place(operand: MatrixOperand | VectorOperand, row: string, column = "0"): string {
    const columnStride = "columnStride" in operand ? operand.columnStride : 0;
    return sumOf(
      this.#batchOf(operand).offset(this.name("batch")),
      operand.offset,
      times(row, operand.rowStride),
      times(column, columnStride),
    );
  }

  /** The text of an element. */
  element(operand: MatrixOperand | VectorOperand, row: string, column?: string): string {
    return this.module.buffers.load(operand.buffer, this.place(operand, row, column));
  }

  /** Adds `sum over k of a[row, k] * b[column, k]` of the invocation's pairs: four columns to a vector. */
  addPairs(name: string, a: PairSide, b: PairSide, length: number): void {
    const sums = Array.from({ length: OWN }, (_, row) => this.name(`${name}_${row}`));
    for (const sum of sums) this.add(`var ${sum} = vec4<f32>();`);
    this.#eachStep(a, b, length, (step, steps) => {
      const right = b.four(step, steps);
      sums.forEach((sum, row) =>
        this.add(`${sum} = fma(vec4<f32>(${a.element(row, step, steps)}), ${right}, ${sum});`)
      );
    });
  }

  /**
   * Names `sum over k of a[k] * b[k]`, of sides of which an invocation has one row. Four sums of each fourth
   * product have half the rounding error of one.
   */
  nameProduct(name: string, a: PairSide, b: PairSide, length: number): void {
    const sums = this.name("partial_sums");
    this.add(`var ${sums} = vec4<f32>();`);
    this.#eachStep(a, b, length, (step, steps) => {
      const sum = `${sums}.${LETTERS[step]}`;
      this.add(`${sum} = fma(${a.element(0, step, steps)}, ${b.element(0, step, steps)}, ${sum});`);
    });
    this.add(`let ${name} = (${sums}.x + ${sums}.y) + (${sums}.z + ${sums}.w);`);
  }

  /** Walks along two sides' rows, with their elements of each step loaded. */
  #eachStep(
    a: PairSide,
    b: PairSide,
    length: number,
    body: (step: number, steps: number) => void,
  ): void {
    const k = this.name("k");
    // Where no four steps are loaded at once, nothing is gained by taking them together.
    const byFours = a.comesAlongK || b.comesAlongK;
    const whole = byFours ? length - length % STEPS : 0;
    const loop = (start: number, end: number, steps: number) => {
      if (start >= end) return;
      const header = `for (var ${k} = ${start}; ${k} < ${end}; ${k} += ${steps})`;
      this.#loop(header, Math.ceil((end - start) / steps), () => {
        for (const side of [a, b]) side.writeLoads(k, steps);
        for (let step = 0; step < steps; step++) body(step, steps);
      });
    };
    loop(0, whole, STEPS);
    loop(whole, length, 1);
  }

  /** Stores the invocation's pairs, four vectors of columns, so that {@linkcode addResults} finds them. */
  stagePairs(stage: string, name: string): void {
    const own = `${this.name("own_column")}`;
    const { across } = this.division;
    const rowFour = `${this.name("own_row")} / 4`;
    for (let column = 0; column < OWN; column++) {
      const letter = LETTERS[column];
      const parts = Array.from(
        { length: OWN },
        (_, row) => `${this.name(`${name}_${row}`)}.${letter}`,
      );
      const line = column === 0 ? own : `(${own} + ${column})`;
      this.add(`${stage}[${line} * ${across} + ${rowFour}] = vec4<f32>(${parts.join(", ")});`);
    }
  }

  /**
   * Adds `sum over the tile's columns of pair[row, column] * right[column, result]` to results.
   *
   * @param first Name of the tile's first column.
   * @param count Name of how many columns the tile has.
   */
  addResults(
    stage: string,
    result: ResultColumns,
    right: PairSide,
    first: string,
    count: string,
  ): void {
    const [column, k] = [this.name("tile_column"), this.name("k")];
    const { size, across } = this.division;
    const step = (steps: number) => {
      this.add(`let ${k} = ${first} + ${column};`);
      right.writeLoads(k, steps);
      for (let step = 0; step < steps; step++) {
        const weights = this.name(`weights_${step}`);
        const line = step === 0 ? column : `(${column} + ${step})`;
        this.add(`let ${weights} = ${stage}[${line} * ${across} + ${this.name("own_row")} / 4];`);
        for (let four = 0; four < result.own.count / 4; four++) {
          const values = right.four(step, steps, four);
          for (let row = 0; row < OWN; row++) {
            const sum = this.name(`${result.name}_${row}_${four}`);
            this.add(`${sum} = fma(vec4<f32>(${weights}.${LETTERS[row]}), ${values}, ${sum});`);
          }
        }
      }
    };
    this.module.code.scope(() => {
      this.add(`var ${column} = 0;`);
      if (right.comesAlongK) {
        this.#loop(
          `for (; ${column} + ${STEPS} <= ${count}; ${column} += ${STEPS})`,
          size / STEPS,
          () => step(STEPS),
        );
      }
      const rest = right.comesAlongK ? STEPS - 1 : size;
      this.#loop(`for (; ${column} < ${count}; ${column}++)`, rest, () => step(1));
    });
  }

  /** Walks over the tiles of columns; `body` gets the names of the first column and of their number. */
  eachTile(body: (first: string, count: string) => void): void {
    const [first, count] = [this.name("first_column"), this.name("count")];
    const { columns } = this.#extents;
    const { size } = this.division;
    const header = `for (var ${first} = 0; ${first} < ${columns}; ${first} += ${size})`;
    this.#loop(header, Math.ceil(columns / size), () => {
      this.add(
        `let ${count} = ${columns % size === 0 ? size : `min(${size}, ${columns} - ${first})`};`,
      );
      body(first, count);
    });
  }

  /** Hands each invocation what the others have of its rows, one after the other in order. */
  acrossRow(rows: string, body: (value: string) => void): void {
    const shared = this.shareRows(rows);
    const [lane, at] = [this.name("invocation"), this.name("at")];
    const { across } = this.division;
    this.#loop(
      `for (var ${at} = 0; ${at} < ${across}; ${at}++)`,
      across,
      () => body(`${shared}[${lane} / ${across} * ${across} + ${at}]`),
    );
  }

  /** An array with a vec4 of each invocation, complete. */
  shareRows(value: string): string {
    const shared = this.name("shared_rows");
    const invocations = attentionInvocations(this.division);
    if (!this.#sharesRows) this.declareShared("shared_rows", "vec4<f32>", invocations);
    this.#sharesRows = true;
    this.add(`${shared}[${this.name("invocation")}] = ${value};`, "workgroupBarrier();");
    return shared;
  }

  /** `exp` of a vec4. */
  exponential(exponent: string): string {
    this.#exponentials = true;
    this.module.library.use("exp_f32");
    return `${this.name("exp_of_four")}(${exponent})`;
  }

  /** Multiplies a result by a vec4 with a factor for each row. */
  scaleResult(result: ResultColumns, factor: string): void {
    this.#eachSum(result, (sum, row) => this.add(`${sum} *= ${factor}.${LETTERS[row]};`));
  }

  #eachSum(result: ResultColumns, each: (sum: string, row: number) => void): void {
    for (let row = 0; row < OWN; row++) {
      for (let four = 0; four < result.own.count / 4; four++) {
        each(this.name(`${result.name}_${row}_${four}`), row);
      }
    }
  }

  /** Stores a result. */
  storeResult(operand: MatrixOperand, result: ResultColumns): void {
    const [row, column, at, next, values] = ["row", "column_1", "at", "next", "values"]
      .map((word) => this.name(word)) as [string, string, string, string, string];
    const { buffers } = this.module;
    const fours = result.own.count / 4;
    const sums: string[] = [];
    this.#eachSum(result, (sum) => sums.push(sum));
    const start = sumOf(
      this.#chunkStart(result),
      this.name("result_column"),
      fours === 1 ? "0" : `${at} % ${fours} * ${this.division.size}`,
    );
    const ownRow = fours === 1 ? at : `${at} / ${fours}`;
    this.module.code.scope(() => {
      this.add(`var ${values} = array<vec4<f32>, ${sums.length}>(${sums.join(", ")});`);
      this.block(`for (var ${at} = 0; ${at} < ${sums.length}; ${at}++)`, () => {
        this.add(`let ${row} = ${sumOf(this.name("first_row"), this.name("own_row"), ownRow)};`);
        const inside = `${row} < ${this.#extents.rows} && ${column} < ${result.columns}`;
        if (buffers.isWide(operand.buffer)) {
          this.add(`let ${column} = ${start};`);
          const place = this.place(operand, row, column);
          const store = buffers.storeFour(operand.buffer, place, `${values}[${at}]`);
          this.block(`if (${inside})`, () => this.add(store));
          return;
        }
        this.block(`for (var ${next} = 0; ${next} < 4; ${next}++)`, () => {
          this.add(`let ${column} = ${sumOf(start, next)};`);
          const place = this.place(operand, row, column);
          const store = buffers.store(operand.buffer, place, `${values}[${at}][${next}]`);
          this.block(`if (${inside})`, () => this.add(...store));
        });
      });
    });
  }

  #chunkStart({ chunk }: ResultColumns): string {
    return this.#chunks === 1 ? "0" : `${this.name("chunk")} * ${chunk}`;
  }

  /** Names where the workgroup's columns of results lie in the operand that they are sums of. */
  writeResultPlaces(right: PairSide, result: ResultColumns): void {
    right.writePlaces(this.#chunkStart(result), false);
  }

  /** Adds a loop that goes round so often at most. */
  #loop(header: string, trips: number, body: () => void): void {
    this.#rounds += this.#around * trips;
    this.#around *= trips;
    this.block(header, body);
    this.#around /= trips;
  }

  /**
   * The module.
   *
   * @throws {RangeError} When its loops go round more often than a driver in software lets them.
   */
  finish(): string {
    if (this.#software && this.#rounds > MOST_ROUNDS) {
      throw new RangeError(
        `Kernel ${this.kernel.name} has loops that go round more often than the ${MOST_ROUNDS} times in ` +
          'all that drivers in software are trusted with: a real GPU, WASM, or `attention: "plain"` runs it',
      );
    }
    const functions = this.#exponentials ? this.#exponentialOfFour() : [];
    return this.module.module(
      [attentionInvocations(this.division), 1],
      this.#declarations,
      functions,
    );
  }

  #exponentialOfFour(): string[] {
    const exp = this.module.library.use("exp_f32");
    const components = [...LETTERS].map((letter) => `${exp}(x.${letter})`).join(", ");
    return [
      `fn ${this.name("exp_of_four")}(x: vec4<f32>) -> vec4<f32> {`,
      `  return vec4<f32>(${components});`,
      "}",
    ];
  }
}

function times(index: string, stride: number): string {
  if (stride === 0 || index === "0") return "0";
  if (stride === 1) return index;
  return /^\w+$/.test(index) ? `${index} * ${stride}` : `(${index}) * ${stride}`;
}
