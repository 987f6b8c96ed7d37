/** Moves what does not change in a loop to before it. */
import { partsOf } from "../../../compiler/lower/expressions.ts";
import type { Expr, Statement } from "../../../compiler/loop_ir.ts";
import { type LoopBody, writtenBuffers } from "./analysis.ts";
import type { Emitter } from "./emitter.ts";
import { isTrivial } from "./expression_table.ts";
import { areDisjoint } from "./sets.ts";

/**
 * Emits the subexpressions of a loop's body that are the same in all of its iterations; `level` is the
 * number of loops around it. The lanes are those that the body will use.
 */
export function hoistInvariants(emitter: Emitter, body: LoopBody, level: number): void {
  new Hoisting(emitter, writtenBuffers(body.statements), level).body(body, true);
}

class Hoisting {
  readonly #emitter: Emitter;
  readonly #written: ReadonlySet<number>;
  readonly #level: number;
  readonly #seen = new Map<string, Set<Expr>>();

  constructor(emitter: Emitter, written: ReadonlySet<number>, level: number) {
    this.#emitter = emitter;
    this.#written = written;
    this.#level = level;
  }

  /**
   * What is inside an inner loop may never run: its loads, which could then be out of bounds, are
   * only moved out of that loop, once it is known to run. `direct` is false there.
   */
  body({ statements, accumulators }: LoopBody, direct: boolean): void {
    for (const statement of statements) this.#statement(statement, direct);
    for (const { value } of accumulators) this.#value(value, direct);
  }

  #statement(statement: Statement, direct: boolean): void {
    switch (statement.kind) {
      case "let":
        return this.#value(statement.value, direct);
      case "store":
      case "accumulate":
        this.#address(statement.buffer, statement.index, direct);
        return this.#expression(statement.value, this.#emitter.lanes !== undefined, direct);
      case "loop":
        this.#expression(statement.range.start, false, direct);
        this.#expression(statement.range.end, false, direct);
        return this.body({ statements: statement.body, accumulators: [] }, false);
      case "reduce":
        for (const { start, end } of statement.ranges) {
          this.#expression(start, false, direct);
          this.#expression(end, false, direct);
        }
        return this.body(
          { statements: statement.body, accumulators: statement.accumulators },
          false,
        );
    }
  }

  /** A value that is a vector just where it differs between lanes. */
  #value(value: Expr, direct: boolean): void {
    this.#expression(value, this.#emitter.isVarying(value), direct);
  }

  #expression(expr: Expr, asVector: boolean, direct: boolean): void {
    if (expr.kind === "const" || this.#visited(expr, `${asVector} ${direct}`)) return;
    if (this.#isInvariant(expr, direct)) return this.#keep(expr, asVector);
    if (expr.kind === "load") return this.#address(expr.buffer, expr.index, direct);
    if (expr.kind === "guarded") return this.#expression(expr.condition, false, direct);
    for (const part of partsOf(expr)) this.#expression(part, asVector, direct);
  }

  #visited(expr: Expr, as: string): boolean {
    const seen = this.#seen.get(as) ?? new Set();
    this.#seen.set(as, seen);
    if (seen.has(expr)) return true;
    seen.add(expr);
    return false;
  }

  #address(buffer: number, index: Expr, direct: boolean): void {
    const access = this.#emitter.access(buffer, index);
    const isGather = this.#emitter.isVarying(index) && this.#emitter.stride(access) === undefined;
    if (isGather) this.#expression(index, true, direct);
    else this.#expression(access.address, false, direct);
  }

  #isInvariant(expr: Expr, direct: boolean): boolean {
    if (this.#emitter.memory.level(expr) > this.#level) return false;
    const { buffers } = this.#emitter.table.facts(expr);
    return buffers.size === 0 || (direct && areDisjoint(buffers, this.#written));
  }

  #keep(expr: Expr, asVector: boolean): void {
    const emitter = this.#emitter;
    const varying = emitter.isVarying(expr);
    // Scalar remainders need the scalar, too.
    if (!varying && !isTrivial(expr)) emitter.keepScalar(expr);
    if (!asVector) return;
    const count = varying ? emitter.lanes?.count ?? 0 : 1;
    for (let u = 0; u < count; u++) emitter.keepVector(expr, u);
  }
}
