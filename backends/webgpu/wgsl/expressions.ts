/** Loop IR expressions as WGSL: values that are used more than once are named. */
import type { Expr, Statement } from "../../../compiler/loop_ir.ts";
import {
  ExpressionNumbers,
  partsOf,
  visitExpressions,
} from "../../../compiler/lower/expressions.ts";
import type { WgslBuffers } from "./buffers.ts";
import type { Code } from "./code.ts";
import { constantValue } from "./fold.ts";
import type { Library } from "./library.ts";
import { literal } from "./literal.ts";
import type { Names } from "./names.ts";
import { binaryText, bitcastText, castText, unaryText } from "./operations.ts";

/** What expressions are written with. */
export interface ExpressionContext {
  readonly code: Code;
  readonly names: Names;
  readonly library: Library;
  readonly buffers: WgslBuffers;
  /** Buffers that the kernel writes: what is loaded from them is not the same for long. */
  readonly written: ReadonlySet<number>;
}

/** Writes expressions into a function's body, inside nested scopes. */
export class ExpressionWriter {
  readonly #context: ExpressionContext;
  readonly #numbers = new ExpressionNumbers();
  /** WGSL names of loop IR's variables. */
  #variables = new Map<string, string>();
  /** Names of values, by their expressions' numbers. */
  #values = new Map<number, string>();
  /** Values to name wherever they are come to, for statements that follow. */
  #shared: ReadonlySet<number> = new Set();

  constructor(context: ExpressionContext) {
    this.#context = context;
  }

  /** Gives a variable of loop IR a WGSL name. What was named by it before is forgotten. */
  declare(variable: string): string {
    const name = this.#context.names.unique(variable);
    this.bind(variable, name);
    return name;
  }

  /** Lets a variable of loop IR stand for WGSL text. */
  bind(variable: string, text: string): void {
    // Values of another variable of this name have the same numbers.
    if (this.#variables.has(variable)) this.#values = new Map();
    this.#variables.set(variable, text);
  }

  /** Lets WGSL text stand for an expression. */
  know(expr: Expr, text: string): void {
    this.#values.set(this.#numbers.of(expr), text);
  }

  /** Runs `body`; what it names is not known afterwards. */
  scope(body: () => void): void {
    const [variables, values] = [this.#variables, this.#values];
    this.#variables = new Map(variables);
    this.#values = new Map(values);
    body();
    this.#variables = variables;
    this.#values = values;
  }

  /** Names what these expressions of several statements have in common, once it is come to. */
  share(roots: readonly Expr[]): void {
    const uses = this.#uses(roots);
    this.#shared = new Set([...uses.keys()].filter((number) => (uses.get(number) ?? 0) > 1));
  }

  /** How often each value under the roots is read, not counting what is read to make known ones. */
  #uses(roots: readonly Expr[]): Map<number, number> {
    const uses = new Map<number, number>();
    const count = (expr: Expr): void => {
      const number = this.#numbers.of(expr);
      const before = uses.get(number) ?? 0;
      uses.set(number, before + 1);
      if (before === 0 && !this.#values.has(number)) partsOf(expr).forEach(count);
    };
    roots.forEach(count);
    return uses;
  }

  /** The text of several expressions, after statements that name what they share. */
  values(roots: readonly Expr[]): string[] {
    const uses = this.#uses(roots);
    const own = new Set<number>();
    const texts = roots.map((root) => this.#render(root, uses, own));
    for (const number of own) this.#values.delete(number);
    return texts;
  }

  /** The text of one expression. */
  value(root: Expr): string {
    return this.values([root])[0] ?? "";
  }

  /** `own` collects names that do not outlive the statement. */
  #render(expr: Expr, uses: ReadonlyMap<number, number>, own: Set<number>): string {
    const { code, names } = this.#context;
    const constant = constantValue(expr);
    if (constant !== undefined) return this.#constant(expr, constant);
    if (expr.kind === "var") return this.#variable(expr.name);
    const number = this.#numbers.of(expr);
    const known = this.#values.get(number);
    if (known !== undefined) return known;
    const text = this.#operation(expr, uses, own);
    if ((uses.get(number) ?? 0) < 2 && !this.#shared.has(number)) return text;
    const name = names.unique(nameFor(expr, this.#context.buffers));
    code.add(`let ${name} = ${text};`);
    this.#values.set(number, name);
    if (this.#loadsWritten(expr)) own.add(number);
    return name;
  }

  #constant(expr: Expr, value: number): string {
    const { library } = this.#context;
    if (expr.type !== "f32" || Number.isFinite(value)) return literal(expr.type, value);
    if (Number.isNaN(value)) return `${library.use("nan_f32")}()`;
    return `${value < 0 ? "-" : ""}${library.use("infinity_f32")}()`;
  }

  #variable(name: string): string {
    const text = this.#variables.get(name);
    if (text === undefined) throw new TypeError(`Variable ${name} is read before it is set`);
    return text;
  }

  #operation(expr: Expr, uses: ReadonlyMap<number, number>, own: Set<number>): string {
    const { library, buffers } = this.#context;
    const render = (part: Expr) => this.#render(part, uses, own);
    switch (expr.kind) {
      case "const":
      case "var":
        throw new TypeError(`A ${expr.kind} is no operation`);
      case "load":
        return buffers.load(expr.buffer, render(expr.index));
      case "unary":
        return unaryText(library, expr.op, expr.type, render(expr.a));
      case "binary":
        return binaryText(library, expr, render(expr.a), render(expr.b));
      case "cast":
        return castText(library, expr.a.type, expr.type, render(expr.a));
      case "bitcast":
        return bitcastText(expr.a.type, expr.type, render(expr.a));
      case "roundTo":
        return library.rounded(expr.storage, render(expr.a));
      case "select": {
        const [condition, a, b] = [expr.condition, expr.a, expr.b].map(render);
        return `select(${b}, ${a}, ${condition})`;
      }
      case "guarded":
        return this.#guarded(expr, uses, own);
      case "threefry": {
        const [key0, key1, counter0, counter1] = [
          expr.key0,
          expr.key1,
          expr.counter0,
          expr.counter1,
        ].map(render);
        const call = `${library.use("threefry")}(vec2<u32>(${key0}, ${key1}), ` +
          `vec2<u32>(${counter0}, ${counter1}))`;
        if (expr.word !== "xor") return `${call}.${expr.word === "first" ? "x" : "y"}`;
        const { code, names } = this.#context;
        const words = names.unique("words");
        code.add(`let ${words} = ${call};`);
        return `(${words}.x ^ ${words}.y)`;
      }
    }
  }

  /** A branch, so that what the condition rules out is not loaded. */
  #guarded(
    expr: Expr & { readonly kind: "guarded" },
    uses: ReadonlyMap<number, number>,
    own: Set<number>,
  ): string {
    const { code, names } = this.#context;
    const condition = this.#render(expr.condition, uses, own);
    const name = names.unique("chosen");
    code.add(`var ${name}: ${expr.type};`);
    const branch = (header: string, value: Expr) =>
      code.block(header, () =>
        this.scope(() => {
          const text = this.#render(value, uses, new Set());
          code.add(`${name} = ${text};`);
        }));
    branch(`if (${condition})`, expr.a);
    branch("else", expr.b);
    return name;
  }

  #loadsWritten(expr: Expr): boolean {
    let found = false;
    visitExpressions([expr], (part) => {
      found ||= part.kind === "load" && this.#context.written.has(part.buffer);
    });
    return found;
  }
}

function nameFor(expr: Expr, buffers: WgslBuffers): string {
  switch (expr.kind) {
    case "load":
      return `${buffers.nameOf(expr.buffer)}_value`;
    case "unary":
    case "binary":
      return `${expr.op}_value`;
    default:
      return `${expr.kind}_value`;
  }
}

/** Writes a `let` or a `store`: what matmuls' epilogues are made of. */
export function writeSimpleStatement(
  writer: ExpressionWriter,
  { code, buffers }: ExpressionContext,
  statement: Statement,
): void {
  if (statement.kind === "let") {
    const value = writer.value(statement.value);
    code.add(`let ${writer.declare(statement.name)} = ${value};`);
    return;
  }
  if (statement.kind !== "store") {
    throw new TypeError(`A ${statement.kind} cannot stand here: wanted a let or a store`);
  }
  const [index = "", value = ""] = writer.values([statement.index, statement.value]);
  code.add(...buffers.store(statement.buffer, index, value));
}
