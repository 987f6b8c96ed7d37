/** One term of a matmul's part: how its operands lie, and what is emitted for it. */
import type { MatmulTerm } from "../../../compiler/loop_ir.ts";
import type { FunctionBuilder, Local } from "../encoder.ts";
import { localPlus } from "./control_flow.ts";
import type { MatmulRoles, Side } from "../../matmul_roles.ts";
import { axesOfTerm, sumAxes } from "./matmul_roles.ts";
import type { AxisList } from "./offset_table.ts";
import type { Range } from "./operands.ts";
import { chooseRowPacking } from "./pack_rows.ts";
import type { KernelFunction } from "./template.ts";

/** The operands' axes, after flattening. */
export interface TermAxes {
  readonly batchA: AxisList;
  readonly batchB: AxisList;
  readonly rows: AxisList;
  readonly columns: AxisList;
  readonly kA: AxisList;
  readonly kB: AxisList;
}

/** How the operands of the part's term number `index` lie. */
export function termAxes(term: MatmulTerm, index: number, roles: MatmulRoles): TermAxes {
  return {
    batchA: axesOfTerm(roles.batch, index, "a"),
    batchB: axesOfTerm(roles.batch, index, "b"),
    rows: axesOfTerm(roles.m, index, "a"),
    columns: axesOfTerm(roles.n, index, "b"),
    kA: sumAxes(term.k, term.a),
    kB: sumAxes(term.k, term.b),
  };
}

/** Whether the left operand has to be packed. */
export function packsRows({ rows, kA }: TermAxes): boolean {
  return chooseRowPacking(rows, kA) !== "none";
}

/** A block of the result, and the block of k whose products are added to it. */
export interface TermBlock {
  readonly rows: Local;
  readonly columns: Local;
  readonly k: Range;
  /** Address of the sums. */
  readonly c: Local;
  /** Bytes between rows of the sums. */
  readonly cRowBytes: number;
  /** Not zero: add to what the sums hold. */
  readonly accumulate: Local;
}

/** Emits what a term contributes to a unit's sums. */
export abstract class TermEmitter {
  /** Length of the term's sums. */
  readonly k: number;
  /** Length of a block of k, but for the last. */
  readonly blockLength: number;
  readonly #term: MatmulTerm;
  readonly #axes: TermAxes;

  constructor(term: MatmulTerm, axes: TermAxes, blockLength: number) {
    this.#term = term;
    this.#axes = axes;
    this.k = axes.kA.extent;
    this.blockLength = blockLength;
  }

  /** How many blocks of k there are. */
  get blocks(): number {
    return Math.ceil(this.k / this.blockLength);
  }

  /** Emits what is done once, before any loop. */
  abstract begin(f: FunctionBuilder, scratch: Local): void;

  /** Emits the choice of rows of one batch entry. */
  abstract setRows(fn: KernelFunction, batch: Local, rows: Range): void;

  /** Emits the choice of columns of one batch entry. */
  abstract setColumns(fn: KernelFunction, batch: Local, columns: Range): void;

  /** Emits the preparation of a block of k of the chosen columns. */
  abstract prepareColumns(f: FunctionBuilder, columnCount: Local, k: Range): void;

  /** Emits the products of the chosen rows with the prepared columns. */
  abstract addBlock(f: FunctionBuilder, block: TermBlock): void;

  /** A new local with the address of the first element of a batch entry. */
  protected base(fn: KernelFunction, side: Side, batch: Local): Local {
    const { f } = fn;
    const operand = this.#term[side];
    const base = localPlus(f, fn.buffer(operand.buffer), 4 * operand.offset);
    f.get(base);
    (side === "a" ? this.#axes.batchA : this.#axes.batchB).getByteOffset(f, batch);
    f.address.add();
    f.set(base);
    return base;
  }
}
