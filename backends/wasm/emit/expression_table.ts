/** Expressions made unique, so that equal ones are one object, with facts about each. */
import { partsOf, withParts } from "../../../compiler/lower/expressions.ts";
import type { Expr } from "../../../compiler/loop_ir.ts";

/** What an expression uses, anywhere inside. */
export interface Facts {
  readonly variables: ReadonlySet<string>;
  /** Buffers that it loads from. */
  readonly buffers: ReadonlySet<number>;
}

/** `sum of factor * atom + constant`, modulo 2^32. */
export interface LinearForm {
  readonly terms: ReadonlyMap<Expr, number>;
  readonly constant: number;
}

/** Whether evaluating it takes no instruction worth saving. */
export function isTrivial(expr: Expr): boolean {
  return expr.kind === "const" || expr.kind === "var";
}

/** Interns expressions. */
export class ExpressionTable {
  readonly #known = new Map<string, Expr>();
  readonly #ids = new Map<Expr, number>();
  readonly #facts = new Map<Expr, Facts>();
  readonly #uses = new Map<Expr, number>();
  readonly #linear = new Map<Expr, LinearForm>();

  /**
   * The table's own copy of the expression, with its variables renamed. `memo` is for one meaning of
   * the names: calls that share it may share subexpressions.
   */
  rename(expr: Expr, nameOf: (name: string) => string, memo: Map<Expr, Expr>): Expr {
    const done = memo.get(expr);
    if (done !== undefined) return done;
    const rebuilt = withParts(expr, (part) => this.rename(part, nameOf, memo));
    const made = this.#intern(
      rebuilt.kind === "var" ? { ...rebuilt, name: nameOf(rebuilt.name) } : rebuilt,
    );
    memo.set(expr, made);
    return made;
  }

  /** A variable of type i32. */
  variable(name: string): Expr {
    return this.#intern({ kind: "var", type: "i32", name });
  }

  /** The sum of two i32 that are in the table. */
  add(a: Expr, b: Expr): Expr {
    return this.#intern({ kind: "binary", op: "add", type: "i32", a, b });
  }

  /** `a * factor` for an i32 that is in the table. */
  scale(a: Expr, factor: number): Expr {
    if (factor === 1) return a;
    return this.#intern({ kind: "binary", op: "mul", type: "i32", a, b: this.constant(factor) });
  }

  /** A whole number. */
  constant(value: number): Expr {
    return this.#intern({ kind: "const", type: "i32", value });
  }

  /** A number that no other expression of the table has. */
  id(expr: Expr): number {
    const id = this.#ids.get(expr);
    if (id === undefined) throw new TypeError("The expression is not in the table");
    return id;
  }

  /** Counts a use by a statement. */
  use(expr: Expr): void {
    this.#uses.set(expr, (this.#uses.get(expr) ?? 0) + 1);
  }

  /** How many distinct expressions and statements use it. */
  uses(expr: Expr): number {
    return this.#uses.get(expr) ?? 0;
  }

  /** What the expression uses. */
  facts(expr: Expr): Facts {
    const known = this.#facts.get(expr);
    if (known !== undefined) return known;
    const variables = new Set<string>(expr.kind === "var" ? [expr.name] : []);
    const buffers = new Set<number>(expr.kind === "load" ? [expr.buffer] : []);
    for (const part of partsOf(expr)) {
      const inner = this.facts(part);
      for (const name of inner.variables) variables.add(name);
      for (const buffer of inner.buffers) buffers.add(buffer);
    }
    const facts = { variables, buffers };
    this.#facts.set(expr, facts);
    return facts;
  }

  /** A whole-number expression as multiples of atoms. */
  linear(expr: Expr): LinearForm {
    const known = this.#linear.get(expr);
    if (known !== undefined) return known;
    const form = this.#linearForm(expr);
    this.#linear.set(expr, form);
    return form;
  }

  #linearForm(expr: Expr): LinearForm {
    if (expr.kind === "const") return { terms: new Map(), constant: expr.value };
    if (expr.kind === "binary") {
      if (expr.op === "add") return combine(this.linear(expr.a), this.linear(expr.b), 1);
      if (expr.op === "sub") return combine(this.linear(expr.a), this.linear(expr.b), -1);
      if (expr.op === "mul") {
        if (expr.b.kind === "const") return scaleForm(this.linear(expr.a), expr.b.value);
        if (expr.a.kind === "const") return scaleForm(this.linear(expr.b), expr.a.value);
      }
    }
    return { terms: new Map([[expr, 1]]), constant: 0 };
  }

  #intern(expr: Expr): Expr {
    const key = this.#keyOf(expr);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    this.#known.set(key, expr);
    this.#ids.set(expr, this.#ids.size);
    for (const part of partsOf(expr)) this.use(part);
    return expr;
  }

  #keyOf(expr: Expr): string {
    const parts = partsOf(expr).map((part) => this.#ids.get(part)).join();
    switch (expr.kind) {
      case "const":
        return `const ${expr.type} ${Object.is(expr.value, -0) ? "-0" : expr.value}`;
      case "var":
        return `var ${expr.type} ${expr.name}`;
      case "load":
        return `load ${expr.type} ${expr.buffer} ${parts}`;
      case "unary":
      case "binary":
        return `${expr.op} ${expr.type} ${parts}`;
      case "roundTo":
        return `round ${expr.storage} ${parts}`;
      case "threefry":
        return `threefry ${expr.word} ${parts}`;
      case "cast":
      case "bitcast":
      case "select":
      case "guarded":
        return `${expr.kind} ${expr.type} ${parts}`;
    }
  }
}

function combine(a: LinearForm, b: LinearForm, sign: 1 | -1): LinearForm {
  const terms = new Map(a.terms);
  for (const [atom, factor] of b.terms) {
    const sum = (terms.get(atom) ?? 0) + sign * factor;
    if (sum === 0) terms.delete(atom);
    else terms.set(atom, sum);
  }
  return { terms, constant: a.constant + sign * b.constant };
}

function scaleForm(form: LinearForm, by: number): LinearForm {
  if (by === 0) return { terms: new Map(), constant: 0 };
  const terms = new Map([...form.terms].map(([atom, factor]) => [atom, factor * by]));
  return { terms, constant: form.constant * by };
}

/** `a - b` where their atoms cancel, else undefined. */
export function constantDifference(a: LinearForm, b: LinearForm): number | undefined {
  const difference = combine(a, b, -1);
  return difference.terms.size === 0 ? difference.constant : undefined;
}
