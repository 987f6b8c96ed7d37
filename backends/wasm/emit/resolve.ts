/** Gives every variable of a kernel a name of its own and a loop depth. */
import type { Accumulator, Expr, LoopRange, Statement } from "../../../compiler/loop_ir.ts";
import type { ExpressionTable } from "./expression_table.ts";

/** Unique names, and how many loops are around the place that defines each. */
export class Names {
  readonly #levels = new Map<string, number>();
  readonly #counters = new Set<string>();

  /** Defines a name, changed if it is taken. */
  define(name: string, level: number): string {
    let unique = name;
    for (let copy = 2; this.#levels.has(unique); copy++) unique = `${name}~${copy}`;
    this.#levels.set(unique, level);
    return unique;
  }

  /** Says that the variable counts a loop's iterations: it is never negative. */
  markCounter(unique: string): void {
    this.#counters.add(unique);
  }

  /** Whether the variable counts a loop's iterations. */
  isCounter(unique: string): boolean {
    return this.#counters.has(unique);
  }

  /** Loops around the variable's definition; a loop's own variable is inside it. */
  level(unique: string): number {
    const level = this.#levels.get(unique);
    if (level === undefined) throw new TypeError(`The variable ${unique} is not defined`);
    return level;
  }
}

type Environment = ReadonlyMap<string, string>;

/** Rewrites statements so that expressions are in the table and names are unique. */
export class Resolver {
  readonly #table: ExpressionTable;
  readonly #names: Names;
  #environment: Environment;
  #memo = new Map<Expr, Expr>();

  constructor(table: ExpressionTable, names: Names, outer: readonly string[]) {
    this.#table = table;
    this.#names = names;
    this.#environment = new Map(outer.map((name) => [name, name]));
  }

  /** The statements of a body that `level` loops surround. */
  statements(body: readonly Statement[], level: number): Statement[] {
    return this.#inside(() => body.map((statement) => this.#statement(statement, level)));
  }

  #statement(statement: Statement, level: number): Statement {
    switch (statement.kind) {
      case "let": {
        const value = this.#root(statement.value);
        return { ...statement, value, name: this.#bind(statement.name, level) };
      }
      case "store":
      case "accumulate":
        return {
          ...statement,
          index: this.#root(statement.index),
          value: this.#root(statement.value),
        };
      case "loop":
        return this.#inside(() => {
          const range = this.#range(statement.range, level + 1);
          const body = statement.body.map((inner) => this.#statement(inner, level + 1));
          return { ...statement, range, body };
        });
      case "reduce":
        return this.#reduce(statement, level);
    }
  }

  #reduce(statement: Statement & { readonly kind: "reduce" }, level: number): Statement {
    const inner = this.#inside(() => {
      const ranges = statement.ranges.map((range, depth) => this.#range(range, level + 1 + depth));
      const deepest = level + ranges.length;
      const body = statement.body.map((child) => this.#statement(child, deepest));
      const values = statement.accumulators.map(({ value }) => this.#root(value));
      return { ranges, body, values };
    });
    const accumulators = statement.accumulators.map((accumulator, at): Accumulator => ({
      ...accumulator,
      name: this.#bind(accumulator.name, level),
      value: inner.values[at] ?? accumulator.value,
    }));
    return { kind: "reduce", ranges: inner.ranges, body: inner.body, accumulators };
  }

  #range(range: LoopRange, level: number): LoopRange {
    const start = this.#root(range.start);
    const end = this.#root(range.end);
    const variable = this.#bind(range.variable, level);
    this.#names.markCounter(variable);
    return { variable, start, end };
  }

  #root(expr: Expr): Expr {
    const nameOf = (name: string): string => {
      const unique = this.#environment.get(name);
      if (unique === undefined) throw new TypeError(`The variable ${name} is not defined`);
      return unique;
    };
    const resolved = this.#table.rename(expr, nameOf, this.#memo);
    this.#table.use(resolved);
    return resolved;
  }

  #bind(name: string, level: number): string {
    const unique = this.#names.define(name, level);
    const known = this.#environment.has(name);
    this.#environment = new Map(this.#environment).set(name, unique);
    // A new name changes no expression seen so far; a hidden one does.
    if (known) this.#memo = new Map();
    return unique;
  }

  #inside<T>(body: () => T): T {
    const environment = this.#environment;
    const result = body();
    this.#environment = environment;
    this.#memo = new Map();
    return result;
  }
}
