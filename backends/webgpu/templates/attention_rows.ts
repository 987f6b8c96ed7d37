/** What the kernels of attention share: rows held by invocations, tiles in workgroup memory. */
import type { AttentionShape, MatrixOperand, VectorOperand } from "../../../compiler/loop_ir.ts";
import type { GpuLimits } from "../capabilities.ts";
import { type Grid, gridOf, groupNumber, type ModuleWriter } from "../wgsl/module.ts";
import { sizeOf, stridedOffset, sumText } from "../wgsl/strides.ts";

/** Most rows of a tile in workgroup memory. */
const TILE_ROWS = 16;
const MOST_ROWS = 64;
const FEWEST_ROWS = 16;

/** Rows that are staged in workgroup memory: their columns, and the operand they come from. */
export interface StagedMatrix {
  readonly name: string;
  readonly operand: MatrixOperand;
  readonly columns: number;
}

/** How a kernel cuts its rows into workgroups and the other side's rows into tiles. */
export interface RowPlan {
  /** Rows that a workgroup has, each one invocation's. */
  readonly rows: number;
  readonly groups: number;
  readonly grid: Grid;
  /** Rows of a tile. */
  readonly tileRows: number;
}

/**
 * A plan for `rows` rows of each batch entry.
 *
 * @param columns Numbers in a tile's row.
 * @throws {RangeError} When not even one row fits in workgroup memory.
 */
export function planRows(
  name: string,
  shape: AttentionShape,
  rows: number,
  columns: number,
  limits: GpuLimits,
): RowPlan {
  const fits = Math.floor(limits.maxComputeWorkgroupStorageSize / (4 * atLeastOne(columns)));
  if (fits < 1) {
    throw new RangeError(
      `Kernel ${name} wants ${4 * columns} bytes of workgroup memory for one row: the device has ` +
        `${limits.maxComputeWorkgroupStorageSize}`,
    );
  }
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(rows, 1)));
  const perGroup = Math.min(
    Math.max(wanted, FEWEST_ROWS),
    MOST_ROWS,
    limits.maxComputeInvocationsPerWorkgroup,
  );
  const groups = sizeOf(shape.batch) * Math.ceil(rows / perGroup);
  return {
    rows: perGroup,
    groups,
    grid: gridOf(groups, limits),
    tileRows: Math.min(TILE_ROWS, fits),
  };
}

/** Writes the parts of attention's kernels. */
export class RowsWriter {
  readonly module: ModuleWriter;
  readonly plan: RowPlan;
  readonly #shape: AttentionShape;

  constructor(module: ModuleWriter, shape: AttentionShape, plan: RowPlan) {
    this.module = module;
    this.plan = plan;
    this.#shape = shape;
  }

  /** Names the batch entry and the invocation's row, of `rows` in all. */
  begin(rows: number): void {
    const { code } = this.module;
    const { groups, grid } = this.plan;
    const blocks = Math.ceil(rows / this.plan.rows);
    code.add(`let group_number = i32(${groupNumber(grid)});`);
    if (grid[0] * grid[1] * grid[2] > groups) {
      code.add(`if (group_number >= ${groups}) { return; }`);
    }
    code.add(
      `let batch = group_number / ${blocks};`,
      `let own_row = (group_number % ${blocks}) * ${this.plan.rows} + i32(local.x);`,
      // Invocations without a row of their own help with the tiles.
      `let row = min(own_row, ${rows - 1});`,
    );
  }

  /** The index of an element of a matrix. */
  place(operand: MatrixOperand, row: string, column: string): string {
    return sumText(
      this.#batchOffset(operand),
      product(row, operand.rowStride),
      product(column, operand.columnStride),
    );
  }

  /** An element of a matrix. */
  element(operand: MatrixOperand, row: string, column: string): string {
    return this.module.buffers.load(operand.buffer, this.place(operand, row, column));
  }

  /** The index of an element of a vector with one number a row. */
  vectorPlace(operand: VectorOperand, row: string): string {
    return sumText(this.#batchOffset(operand), product(row, operand.rowStride));
  }

  /** An element of a vector. */
  vectorElement(operand: VectorOperand, row: string): string {
    return this.module.buffers.load(operand.buffer, this.vectorPlace(operand, row));
  }

  /** Loads the invocation's row of a matrix into an array of its own. */
  ownRow(name: string, operand: MatrixOperand, columns: number): void {
    const { code } = this.module;
    code.add(`var ${name}: array<f32, ${atLeastOne(columns)}>;`);
    code.block(
      `for (var c = 0; c < ${columns}; c++)`,
      () => code.add(`${name}[c] = ${this.element(operand, "row", "c")};`),
    );
  }

  /** An array of zeros of the invocation's own. */
  zeros(name: string, columns: number): void {
    this.module.code.add(`var ${name} = array<f32, ${atLeastOne(columns)}>();`);
  }

  /** Declarations of the tiles. */
  tileDeclarations(staged: readonly StagedMatrix[]): string[] {
    return staged.map(({ name, columns }) =>
      `var<workgroup> ${name}_tile: array<f32, ${this.plan.tileRows * atLeastOne(columns)}>;`
    );
  }

  /** A loop over tiles of `rows` rows; `body` runs with `tile_rows` of them in workgroup memory. */
  eachTile(
    rows: number,
    staged: readonly StagedMatrix[],
    body: () => void,
    extra: () => void = () => {},
  ): void {
    const { code } = this.module;
    const { tileRows } = this.plan;
    code.block(`for (var first = 0; first < ${rows}; first += ${tileRows})`, () => {
      code.add(`let tile_rows = min(${tileRows}, ${rows} - first);`);
      for (const { name, operand, columns } of staged) {
        if (columns === 0) continue;
        const header = `for (var at = i32(local.x); at < tile_rows * ${columns}; ` +
          `at += ${this.plan.rows})`;
        code.block(header, () => {
          const element = this.element(operand, `(first + at / ${columns})`, `(at % ${columns})`);
          code.add(`${name}_tile[at] = ${element};`);
        });
      }
      extra();
      code.add("workgroupBarrier();");
      body();
      code.add("workgroupBarrier();");
    });
  }

  /** `sum over c of a[c] * tile[j, c]`, in a variable of this name. */
  dot(name: string, own: string, staged: StagedMatrix): void {
    const { code } = this.module;
    code.add(`var ${name} = 0.0;`);
    code.block(
      `for (var c = 0; c < ${staged.columns}; c++)`,
      () => code.add(`${name} += ${own}[c] * ${staged.name}_tile[j * ${staged.columns} + c];`),
    );
  }

  /** `sum[c] += factor * tile[j, c]` for all columns. */
  addRow(sum: string, factor: string, staged: StagedMatrix): void {
    const { code } = this.module;
    code.block(
      `for (var c = 0; c < ${staged.columns}; c++)`,
      () => code.add(`${sum}[c] += ${factor} * ${staged.name}_tile[j * ${staged.columns} + c];`),
    );
  }

  /** Stores the invocation's row of a result. */
  storeRow(
    operand: MatrixOperand | undefined,
    columns: number,
    rows: number,
    value: string,
  ): void {
    if (operand === undefined) return;
    const { code, buffers } = this.module;
    code.block(
      `if (own_row < ${rows})`,
      () =>
        code.block(
          `for (var c = 0; c < ${columns}; c++)`,
          () => code.add(...buffers.store(operand.buffer, this.place(operand, "row", "c"), value)),
        ),
    );
  }

  #batchOffset({ offset, batchStrides }: MatrixOperand | VectorOperand): string {
    return sumText(offset, stridedOffset("batch", this.#shape.batch, batchStrides));
  }
}

function product(index: string, stride: number): string {
  if (stride === 0) return "0";
  return stride === 1 ? index : `${index} * ${stride}`;
}

/** WGSL has no arrays without elements. */
function atLeastOne(columns: number): number {
  return Math.max(columns, 1);
}
