/** How the operands of a matmul's terms lie along axes of a role. */
import type { MatmulOperand } from "../../../compiler/loop_ir.ts";
import type { RoleAxis, Side } from "../../matmul_roles.ts";
import { AxisList } from "./offset_table.ts";

/** The axes as one side of one term lies along them. */
export function axesOfTerm(axes: readonly RoleAxis[], term: number, side: Side): AxisList {
  return new AxisList(
    axes.map(({ extent, strides }) => ({ extent, stride: strides[term]?.[side] ?? 0 })),
  );
}

/** The same for the axes that a term sums over. */
export function sumAxes(k: readonly number[], operand: MatmulOperand): AxisList {
  return new AxisList(
    k.map((extent, axis) => ({ extent, stride: operand.kStrides[axis] ?? 0 })),
  );
}
