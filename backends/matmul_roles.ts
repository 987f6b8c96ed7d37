/** Which axes of a matmul's part are rows, columns or neither, and how its operands lie along them. */
import type { MatmulAxis, MatmulOperand, MatmulPart } from "../compiler/loop_ir.ts";

/** The two sides of a product. */
export type Side = "a" | "b";

/** An axis of the part, and how far a step along it moves in the operands of each term. */
export interface RoleAxis extends MatmulAxis {
  readonly strides: readonly { readonly [S in Side]: number }[];
}

/** A part's axes by role. */
export interface MatmulRoles {
  readonly batch: readonly RoleAxis[];
  readonly m: readonly RoleAxis[];
  readonly n: readonly RoleAxis[];
}

/** Moves batch axes along which one side of every term stays put to the other side's rows or columns. */
export function assignRoles(part: MatmulPart): MatmulRoles {
  const along = (
    axes: readonly MatmulAxis[],
    ofA: (a: MatmulOperand) => readonly number[],
    ofB: (b: MatmulOperand) => readonly number[],
  ) =>
    axes.map((axis, position): RoleAxis => ({
      ...axis,
      strides: part.terms.map(({ a, b }) => ({
        a: ofA(a)[position] ?? 0,
        b: ofB(b)[position] ?? 0,
      })),
    }));
  const shared = along(part.batch, (a) => a.batchStrides, (b) => b.batchStrides);
  const staysIn = (axis: RoleAxis, side: Side) =>
    axis.strides.every((stride) => stride[side] === 0);
  const rows = shared.filter((axis) => staysIn(axis, "b"));
  const columns = shared.filter((axis) => !staysIn(axis, "b") && staysIn(axis, "a"));
  return {
    batch: shared.filter((axis) => !staysIn(axis, "a") && !staysIn(axis, "b")),
    m: [...rows, ...along(part.m, (a) => a.freeStrides, () => [])],
    n: [...columns, ...along(part.n, () => [], (b) => b.freeStrides)],
  };
}
