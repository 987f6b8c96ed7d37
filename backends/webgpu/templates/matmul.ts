/**
 * Products of matrices: a workgroup computes a tile of one part's result. Slices of both operands are
 * staged in workgroup memory, from where each invocation multiplies its rows and columns in registers.
 */
import type {
  MatmulKernel,
  MatmulOperand,
  MatmulPart,
  MatmulTerm,
} from "../../../compiler/loop_ir.ts";
import { Code } from "../wgsl/code.ts";
import { ExpressionWriter, writeSimpleStatement } from "../wgsl/expressions.ts";
import {
  type Dispatch,
  type EmitOptions,
  gridOf,
  groupNumber,
  ModuleWriter,
} from "../wgsl/module.ts";
import { axisIndices, sizeOf, stridedOffset, sumText } from "../wgsl/strides.ts";
import { chooseTile, type MatmulTile, tileColumns, tileCounts, tileRows } from "./tiles.ts";

/** The kernel as one dispatch, whose workgroups its parts share out; none without results. */
export function emitMatmul(
  kernel: MatmulKernel,
  options: EmitOptions,
  tile: MatmulTile = chooseTile(kernel.parts, options.limits),
): Dispatch[] {
  const groups = kernel.parts.map((part) => {
    const { batch, rows, columns } = tileCounts(part, tile);
    return batch * rows * columns;
  });
  const total = groups.reduce((sum, count) => sum + count, 0);
  if (total === 0) return [];
  const module = new ModuleWriter(kernel, options);
  const grid = gridOf(total, options.limits);
  const { code } = module;
  code.add(`let tile_number = i32(${groupNumber(grid)});`);
  code.add(`let thread = i32(local.y * ${tile.columnThreads}u + local.x);`);
  const functions: string[] = [];
  let first = 0;
  kernel.parts.forEach((part, at) => {
    const count = groups[at] ?? 0;
    if (count === 0) return;
    const writer = new PartWriter(module, part, at, tile);
    functions.push(...writer.epilogue());
    const from = first;
    code.block(
      `if (tile_number >= ${from} && tile_number < ${from + count})`,
      () => writer.tile(from === 0 ? "tile_number" : `(tile_number - ${from})`),
    );
    first += count;
  });
  const vectors = (width: number) => tile.depth * width / 4;
  const wgsl = module.module([tile.columnThreads, tile.rowThreads], [
    `var<workgroup> left_tile: array<vec4<f32>, ${vectors(tileRows(tile))}>;`,
    `var<workgroup> right_tile: array<vec4<f32>, ${vectors(tileColumns(tile))}>;`,
  ], functions);
  return [{ wgsl, grid }];
}

/** One side of a term as its tile is loaded. */
interface Side {
  readonly name: "left" | "right";
  readonly operand: MatmulOperand;
  /** Extents of the axes that its rows (left) or columns (right) run over. */
  readonly free: readonly number[];
  /** Rows or columns of the tile. */
  readonly width: number;
}

class PartWriter {
  readonly #module: ModuleWriter;
  readonly #part: MatmulPart;
  readonly #number: number;
  readonly #tile: MatmulTile;
  readonly #batch: readonly number[];
  readonly #m: readonly number[];
  readonly #n: readonly number[];

  constructor(module: ModuleWriter, part: MatmulPart, number: number, tile: MatmulTile) {
    this.#module = module;
    this.#part = part;
    this.#number = number;
    this.#tile = tile;
    const extents = (axes: MatmulPart["m"]) => axes.map(({ extent }) => extent);
    this.#batch = extents(part.batch);
    this.#m = extents(part.m);
    this.#n = extents(part.n);
  }

  /** The function that stores one result. */
  epilogue(): string[] {
    const { batch, m, n, epilogue } = this.#part;
    const context = { ...this.#module.context(), code: new Code() };
    const writer = new ExpressionWriter(context);
    writer.bind("acc", "acc");
    const roles = [["batch", batch], ["row", m], ["column", n]] as const;
    for (const [flat, axes] of roles) {
      const indices = axisIndices(flat, axes.map(({ extent }) => extent));
      axes.forEach(({ variable }, at) => {
        const text = indices[at] ?? "0";
        context.code.add(`let ${writer.declare(variable)} = ${text};`);
      });
    }
    for (const statement of epilogue) writeSimpleStatement(writer, context, statement);
    return [
      `fn store_part${this.#number}(batch: i32, row: i32, column: i32, acc: f32) {`,
      ...context.code.lines,
      "}",
    ];
  }

  /** The statements that compute the tile of this number. */
  tile(number: string): void {
    const { code } = this.#module;
    const counts = tileCounts(this.#part, this.#tile);
    code.add(
      `let batch = ${number} / ${counts.rows * counts.columns};`,
      `let first_row = ((${number} / ${counts.columns}) % ${counts.rows}) * ${
        tileRows(this.#tile)
      };`,
      `let first_column = (${number} % ${counts.columns}) * ${tileColumns(this.#tile)};`,
    );
    this.#eachSum((sum) => code.add(`var ${sum} = vec4<f32>();`));
    this.#part.terms.forEach((term) => this.#term(term));
    this.#results();
  }

  #eachSum(each: (name: string, row: number, vector: number) => void): void {
    const { rowVectors, columnVectors } = this.#tile;
    for (let row = 0; row < 4 * rowVectors; row++) {
      for (let vector = 0; vector < columnVectors; vector++) {
        each(columnVectors === 1 ? `sum${row}` : `sum${row}_${vector}`, row, vector);
      }
    }
  }

  #term(term: MatmulTerm): void {
    const { code } = this.#module;
    const { depth } = this.#tile;
    const length = sizeOf(term.k);
    if (length === 0) return;
    const left: Side = {
      name: "left",
      operand: term.a,
      free: this.#m,
      width: tileRows(this.#tile),
    };
    const right: Side = {
      name: "right",
      operand: term.b,
      free: this.#n,
      width: tileColumns(this.#tile),
    };
    code.block("", () => {
      for (const side of [left, right]) this.#prepare(side, term);
      code.block(`for (var first_k = 0; first_k < ${length}; first_k += ${depth})`, () => {
        for (const side of [left, right]) this.#stage(side, term, length);
        code.add("workgroupBarrier();");
        this.#multiply(Math.min(depth, length));
        code.add("workgroupBarrier();");
      });
    });
  }

  /** Tile vectors that each invocation loads. */
  #loads({ width }: Side): number {
    const { rowThreads, columnThreads, depth } = this.#tile;
    return Math.ceil(depth * width / 4 / (rowThreads * columnThreads));
  }

  /** Whether neighbouring invocations load along k rather than along the free axis. */
  #alongK({ operand }: Side): boolean {
    const k = operand.kStrides.at(-1) ?? 0;
    const free = operand.freeStrides.at(-1) ?? 0;
    return k === 1 && free !== 1;
  }

  /** Names what does not change along k: where the rows or columns that are loaded begin. */
  #prepare(side: Side, { a }: MatmulTerm): void {
    const { code } = this.#module;
    const { name, operand, free, width } = side;
    const { rowThreads, columnThreads, depth } = this.#tile;
    const threads = rowThreads * columnThreads;
    const batchOffset = stridedOffset("batch", this.#batch, operand.batchStrides);
    code.add(`let ${name}_base = ${sumText(operand.offset, batchOffset)};`);
    const extent = sizeOf(free);
    const first = operand === a ? "first_row" : "first_column";
    for (let load = 0; load < this.#loads(side); load++) {
      const slot = `${name}_slot${load}`;
      code.add(`let ${slot} = thread${load === 0 ? "" : ` + ${load * threads}`};`);
      const [vector, k] = this.#alongK(side)
        ? [`${slot} / ${depth}`, `${slot} % ${depth}`]
        : [`${slot} % ${width / 4}`, `${slot} / ${width / 4}`];
      code.add(`let ${name}_vector${load} = ${vector};`, `let ${name}_k${load} = ${k};`);
      for (let lane = 0; lane < 4; lane++) {
        const place = `${name}_place${load}_${lane}`;
        const own = `${first} + ${name}_vector${load} * 4${lane === 0 ? "" : ` + ${lane}`}`;
        code.add(`let ${place} = ${own};`);
        const offset = stridedOffset(place, free, operand.freeStrides);
        code.add(`let ${name}_from${load}_${lane} = ${name}_base + ${offset};`);
        code.add(`let ${name}_inside${load}_${lane} = ${place} < ${extent};`);
      }
    }
  }

  /** Loads a slice of one operand into workgroup memory, with zeros around it. */
  #stage(side: Side, term: MatmulTerm, length: number): void {
    const { code, buffers } = this.#module;
    const { name, operand, width } = side;
    const { rowThreads, columnThreads, depth } = this.#tile;
    const vectors = depth * width / 4;
    for (let load = 0; load < this.#loads(side); load++) {
      const stage = () => {
        code.add(`let k = first_k + ${name}_k${load};`);
        code.add(`let along_k = ${stridedOffset("k", term.k, operand.kStrides)};`);
        code.add("var loaded = vec4<f32>();");
        for (let lane = 0; lane < 4; lane++) {
          const inside = length % depth === 0 ? "" : ` && k < ${length}`;
          const element = buffers.load(operand.buffer, `${name}_from${load}_${lane} + along_k`);
          code.add(
            `if (${name}_inside${load}_${lane}${inside}) { loaded.${"xyzw"[lane]} = ${element}; }`,
          );
        }
        code.add(
          `${name}_tile[${name}_k${load} * ${width / 4} + ${name}_vector${load}] = loaded;`,
        );
      };
      const partial = vectors % (rowThreads * columnThreads) !== 0;
      code.block(partial ? `if (${name}_slot${load} < ${vectors})` : "", stage);
    }
  }

  #multiply(depth: number): void {
    const { code } = this.#module;
    const { rowVectors, columnVectors } = this.#tile;
    const vectorsOf = (name: string, width: number, count: number, thread: string) => {
      for (let vector = 0; vector < count; vector++) {
        const at = sumText(
          `k * ${width / 4}`,
          `i32(${thread})${count === 1 ? "" : ` * ${count}`}`,
          vector,
        );
        code.add(`let ${name}${vector} = ${name}_tile[${at}];`);
      }
    };
    code.block(`for (var k = 0; k < ${depth}; k++)`, () => {
      vectorsOf("left", tileRows(this.#tile), rowVectors, "local.y");
      vectorsOf("right", tileColumns(this.#tile), columnVectors, "local.x");
      this.#eachSum((sum, row, vector) =>
        code.add(`${sum} += left${row >> 2}.${"xyzw"[row & 3]} * right${vector};`)
      );
    });
  }

  /** Loops, which compilers unroll: the epilogue may be long, and is written once. */
  #results(): void {
    const { code } = this.#module;
    const { rowVectors, columnVectors } = this.#tile;
    const [rows, columns] = [sizeOf(this.#m), sizeOf(this.#n)];
    const sums: string[] = [];
    this.#eachSum((sum) => sums.push(sum));
    code.add(
      `let own_row = first_row + i32(local.y) * ${4 * rowVectors};`,
      `let own_column = first_column + i32(local.x) * ${4 * columnVectors};`,
      `var sums = array<vec4<f32>, ${sums.length}>(${sums.join(", ")});`,
    );
    code.block(`for (var at = 0; at < ${16 * rowVectors * columnVectors}; at++)`, () => {
      code.add(
        `let row = own_row + at / ${4 * columnVectors};`,
        `let column = own_column + at % ${4 * columnVectors};`,
      );
      code.block(
        `if (row < ${rows} && column < ${columns})`,
        () => code.add(`store_part${this.#number}(batch, row, column, sums[at / 4][at % 4]);`),
      );
    });
  }
}
