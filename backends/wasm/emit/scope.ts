/** Values that are at hand in locals, by the part of the code that they are valid in. */
import type { Expr } from "../../../compiler/loop_ir.ts";
import type { Local } from "../encoder.ts";

/** What one scope has computed. Keys are expressions of one table. */
export class Scope {
  /** Scalars; of expressions that vary by lane, the first lane's. */
  readonly scalars = new Map<Expr, Local>();
  /** Scalars in all four lanes. */
  readonly splats = new Map<Expr, Local>();
  /** Vectors, one for each vector of the current step. */
  readonly vectors = new Map<Expr, (Local | undefined)[]>();
  /** Both words of a threefry, by what identifies it. */
  readonly pairs = new Map<string, readonly [Local, Local]>();

  /** Forgets the expressions for which `isStale` holds. */
  forget(isStale: (expr: Expr) => boolean): void {
    for (const map of [this.scalars, this.splats, this.vectors]) {
      for (const expr of map.keys()) if (isStale(expr)) map.delete(expr);
    }
    this.pairs.clear();
  }
}
