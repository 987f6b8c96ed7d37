/** One term of a matmul's part: its two operands, packed block of k by block of k. */
import type { MatmulTerm } from "../../../compiler/loop_ir.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { localPlus } from "./control_flow.ts";
import { axesOfTerm, type MatmulRoles, type Side, sumAxes } from "./matmul_roles.ts";
import type { AxisList } from "./offset_table.ts";
import {
  type LeftLimits,
  LeftOperand,
  type PackedAt,
  type Range,
  RightOperand,
} from "./operands.ts";
import { chooseRowPacking } from "./pack_rows.ts";
import type { KernelFunction, ScratchLayout } from "./template.ts";

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

/** Largest blocks that a term is asked for. */
export interface TermLimits extends LeftLimits {
  readonly columns: number;
}

/** Emits what a term needs around its block products. */
export class TermEmitter {
  readonly left: LeftOperand;
  readonly right: RightOperand;
  readonly #term: MatmulTerm;
  readonly #axes: TermAxes;
  readonly #blockLength: number;

  /** Packs where `packedAt` says, or in scratch of its own. */
  constructor(
    module: ModuleBuilder,
    term: MatmulTerm,
    axes: TermAxes,
    limits: TermLimits,
    layout: ScratchLayout,
    packedAt: PackedAt,
  ) {
    this.#term = term;
    this.#axes = axes;
    this.#blockLength = limits.k;
    this.left = new LeftOperand(module, axes.rows, axes.kA, limits, layout, packedAt.left);
    this.right = new RightOperand(module, axes.columns, axes.kB, limits, layout, packedAt.right);
  }

  /** Length of the sums. */
  get k(): number {
    return this.#axes.kA.extent;
  }

  /** Length of a block of k, but for the last. */
  get blockLength(): number {
    return this.#blockLength;
  }

  /** How many blocks of k there are. */
  get blocks(): number {
    return Math.ceil(this.k / this.#blockLength);
  }

  /** Emits what is done once, before any loop. */
  begin(f: FunctionBuilder, scratch: Local): void {
    this.left.begin(f, scratch);
    this.right.begin(f, scratch);
  }

  /** Emits the choice of rows of one batch entry. */
  setRows(fn: KernelFunction, batch: Local, rows: Range): void {
    this.left.setRows(fn.f, this.#base(fn, "a", batch), rows);
  }

  /** Emits the choice of columns of one batch entry. */
  setColumns(fn: KernelFunction, batch: Local, columns: Range): void {
    this.right.setColumns(fn.f, this.#base(fn, "b", batch), columns);
  }

  #base(fn: KernelFunction, side: Side, batch: Local): Local {
    const { f } = fn;
    const operand = this.#term[side];
    const base = localPlus(f, fn.buffer(operand.buffer), 4 * operand.offset);
    f.get(base);
    (side === "a" ? this.#axes.batchA : this.#axes.batchB).getByteOffset(f, batch);
    f.i32.add();
    f.set(base);
    return base;
  }
}
