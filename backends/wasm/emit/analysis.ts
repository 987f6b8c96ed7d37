/** Decides which loops may run four iterations at once, and how many vectors to a step. */
import { partsOf } from "../../../compiler/lower/expressions.ts";
import type { Accumulator, Expr, Statement } from "../../../compiler/loop_ir.ts";
import type { Addresses } from "./addresses.ts";
import type { ExpressionTable } from "./expression_table.ts";
import { isMathFunction } from "../math/functions.ts";
import { areDisjoint } from "./sets.ts";

/** What a loop's iterations do: its statements, and the values it folds if it is a reduction's. */
export interface LoopBody {
  readonly statements: readonly Statement[];
  readonly accumulators: readonly Accumulator[];
}

/** Buffers that the statements write, those inside of loops included. */
export function writtenBuffers(statements: readonly Statement[]): Set<number> {
  const written = new Set<number>();
  const visit = (statement: Statement): void => {
    if (statement.kind === "store" || statement.kind === "accumulate") {
      written.add(statement.buffer);
    }
    if (statement.kind === "loop" || statement.kind === "reduce") statement.body.forEach(visit);
  };
  statements.forEach(visit);
  return written;
}

/** Looks for what differs between the iterations of one loop. */
class LaneAnalysis {
  readonly varying: Set<string>;
  possible = true;
  readonly #table: ExpressionTable;
  readonly #checked = new Set<Expr>();

  constructor(table: ExpressionTable, variable: string) {
    this.#table = table;
    this.varying = new Set([variable]);
  }

  body({ statements, accumulators }: LoopBody): void {
    for (const statement of statements) this.#statement(statement);
    for (const { value } of accumulators) this.#check(value);
  }

  #statement(statement: Statement): void {
    switch (statement.kind) {
      case "let":
        this.#check(statement.value);
        if (this.#varies(statement.value)) this.varying.add(statement.name);
        return;
      case "store":
      case "accumulate":
        this.#check(statement.index);
        this.#check(statement.value);
        // Lanes that write one place would overwrite each other.
        if (!this.#varies(statement.index)) this.possible = false;
        return;
      case "loop":
        if (statement.vectorize) this.possible = false;
        this.#uniform(statement.range.start);
        this.#uniform(statement.range.end);
        return this.body({ statements: statement.body, accumulators: [] });
      case "reduce":
        for (const range of statement.ranges) {
          this.#uniform(range.start);
          this.#uniform(range.end);
        }
        this.body({ statements: statement.body, accumulators: statement.accumulators });
        for (const { name, value } of statement.accumulators) {
          if (this.#varies(value)) this.varying.add(name);
        }
    }
  }

  #uniform(expr: Expr): void {
    this.#check(expr);
    if (this.#varies(expr)) this.possible = false;
  }

  #varies(expr: Expr): boolean {
    return !areDisjoint(this.#table.facts(expr).variables, this.varying);
  }

  /** Lanes cannot take different branches. */
  #check(expr: Expr): void {
    if (this.#checked.has(expr)) return;
    this.#checked.add(expr);
    if (expr.kind === "guarded" && this.#varies(expr.condition)) this.possible = false;
    for (const part of partsOf(expr)) this.#check(part);
  }
}

/** The variables that differ between a loop's iterations, or undefined where these need scalar code. */
export function laneVariables(
  table: ExpressionTable,
  variable: string,
  body: LoopBody,
): ReadonlySet<string> | undefined {
  const analysis = new LaneAnalysis(table, variable);
  analysis.body(body);
  return analysis.possible ? analysis.varying : undefined;
}

/** Calls `visit` once for each expression in the body that differs between lanes. */
function visitVarying(
  table: ExpressionTable,
  body: LoopBody,
  varying: ReadonlySet<string>,
  visit: (expr: Expr) => void,
): void {
  const seen = new Set<Expr>();
  const walk = (expr: Expr): void => {
    if (seen.has(expr) || areDisjoint(table.facts(expr).variables, varying)) return;
    seen.add(expr);
    visit(expr);
    // An index that moves by a constant becomes part of the load's address.
    for (const part of partsOf(expr)) if (expr.kind !== "load") walk(part);
  };
  const walkStatements = (statements: readonly Statement[]): void => {
    for (const statement of statements) {
      if ("value" in statement) walk(statement.value);
      if ("body" in statement) walkStatements(statement.body);
      if ("accumulators" in statement) statement.accumulators.forEach(({ value }) => walk(value));
    }
  };
  walkStatements(body.statements);
  body.accumulators.forEach(({ value }) => walk(value));
}

/** About how many instructions one vector of the body takes. */
export function bodyWeight(
  table: ExpressionTable,
  body: LoopBody,
  varying: ReadonlySet<string>,
): number {
  let weight = 0;
  visitVarying(table, body, varying, (expr) => {
    if (expr.kind === "unary" && isMathFunction(expr.op)) weight += 20;
    else if (expr.kind === "threefry") weight += 100;
    else if (expr.kind === "roundTo") weight += 10;
    else weight += 1;
  });
  return weight;
}

/** How many of the body's loads have neighbouring elements in neighbouring lanes, less those that do not. */
export function contiguity(
  table: ExpressionTable,
  memory: Addresses,
  body: LoopBody,
  variable: string,
): number {
  const varying = new Set([variable]);
  let score = 0;
  visitVarying(table, body, varying, (expr) => {
    if (expr.kind !== "load") return;
    const { index } = memory.access(expr.buffer, expr.index);
    score += memory.stride(index, variable, varying) === 1 ? 1 : -1;
  });
  return score;
}
