/**
 * Index arithmetic. An index is an affine form over atoms (loop variables, and quotients, remainders
 * and loaded values that could not be reduced further), each with its range, so that reshapes and
 * flattenings that undo each other cancel exactly instead of leaving divisions in inner loops.
 */
import { visitExpressions } from "./lower/expressions.ts";
import type { Expr } from "./loop_ir.ts";

/** Something an affine form is a sum of multiples of. */
export type Atom = Variable | Loaded | Division;

interface Variable {
  readonly kind: "variable";
  readonly key: string;
  readonly max: number;
}

/** A value from memory. */
interface Loaded {
  readonly kind: "loaded";
  readonly key: string;
  readonly max: number;
  readonly value: Expr;
  /** No other has it: equal keys of different kernels stand for different loads. */
  readonly serial: number;
}

/** A quotient or a remainder that could not be reduced. */
interface Division {
  readonly kind: "quotient" | "remainder";
  readonly key: string;
  readonly max: number;
  readonly of: Index;
  readonly by: number;
  readonly value: Expr;
}

let serial = 0;

/**
 * Equal divisions are one object with a short key, so that keys and expressions of divisions inside
 * divisions do not double with each level. To forget some only leaves equal ones unrecognized.
 */
const divisions = new Map<string, Division>();
const REMEMBERED_DIVISIONS = 1 << 14;

function division(kind: Division["kind"], of: Index, by: number, max: number): Division {
  const terms = of.terms.map(({ atom, factor }) => `${factor}*${identity(atom)}`);
  const text = `${kind} ${terms.join("+")}+${of.constant} ${by}`;
  const known = divisions.get(text);
  if (known !== undefined) return known;
  const op = kind === "quotient" ? "div" : "rem";
  const value = integer(op, of.toExpr(), integerConstant(by));
  const made: Division = { kind, key: `#${serial++}`, max, of, by, value };
  if (divisions.size >= REMEMBERED_DIVISIONS) divisions.clear();
  divisions.set(text, made);
  return made;
}

/** Text that no atom of another meaning has, in whatever kernel. */
function identity(atom: Atom): string {
  if (atom.kind === "variable") return `${atom.key}<=${atom.max}`;
  return atom.kind === "loaded" ? `@${atom.serial}` : atom.key;
}

interface Term {
  readonly atom: Atom;
  readonly factor: number;
}

/** An affine form: the sum of `factor * atom`, plus a constant. Immutable. */
export class Index {
  readonly terms: readonly Term[];
  readonly constant: number;
  /** Equal keys, equal index. */
  readonly key: string;

  private constructor(terms: readonly Term[], constant: number) {
    this.terms = terms;
    this.constant = constant;
    const texts = terms.map((term) => `${term.factor}*${term.atom.key}`);
    if (texts.length > 1) texts.sort();
    this.key = [...texts, String(constant)].join("+");
  }

  /** A fixed index. */
  static constant(value: number): Index {
    return new Index([], value);
  }

  /** A loop variable that runs from 0 to `extent - 1`; the constant 0 when the extent is 1. */
  static variable(name: string, extent: number): Index {
    if (extent <= 1) return Index.constant(0);
    return new Index([{ atom: { kind: "variable", key: name, max: extent - 1 }, factor: 1 }], 0);
  }

  /** An index read from memory, known to lie in `0..extent-1`. */
  static loaded(key: string, extent: number, value: Expr): Index {
    if (extent <= 1) return Index.constant(0);
    const atom: Loaded = { kind: "loaded", key, max: extent - 1, value, serial: serial++ };
    return new Index([{ atom, factor: 1 }], 0);
  }

  private static of(terms: Iterable<Term>, constant: number): Index {
    const sums = new Map<string, Term>();
    for (const { atom, factor } of terms) {
      const before = sums.get(atom.key);
      sums.set(atom.key, { atom, factor: factor + (before?.factor ?? 0) });
    }
    const kept = [...sums.values()].filter((term) => term.factor !== 0);
    // Not by key: serial numbers would give equal kernels terms in another order.
    kept.sort((a, b) => b.factor - a.factor);
    return Index.rejoin(kept, constant);
  }

  /** `k * (x div k) + (x mod k)` is `x`. */
  private static rejoin(terms: Term[], constant: number): Index {
    for (const high of terms) {
      const quotient = high.atom;
      if (quotient.kind !== "quotient") continue;
      const low = terms.find(({ atom, factor }) =>
        atom.kind === "remainder" && atom.by === quotient.by &&
        atom.of.key === quotient.of.key && factor * quotient.by === high.factor
      );
      if (low === undefined) continue;
      const rest = new Index(terms.filter((term) => term !== high && term !== low), constant);
      return rest.add(quotient.of.scale(low.factor));
    }
    return new Index(terms, constant);
  }

  /** Smallest and largest value. */
  range(): readonly [number, number] {
    let low = this.constant;
    let high = this.constant;
    for (const { atom, factor } of this.terms) {
      if (factor > 0) high += factor * atom.max;
      else low += factor * atom.max;
    }
    return [low, high];
  }

  /** The sum. */
  add(other: Index): Index {
    return Index.of([...this.terms, ...other.terms], this.constant + other.constant);
  }

  /** The sum with a number. */
  offset(by: number): Index {
    return by === 0 ? this : new Index(this.terms, this.constant + by);
  }

  /** The product with a number. */
  scale(by: number): Index {
    if (by === 1) return this;
    if (by === 0) return Index.constant(0);
    return Index.of(
      this.terms.map((term) => ({ atom: term.atom, factor: term.factor * by })),
      this.constant * by,
    );
  }

  /** Splits into `by * high + low` with `low` not negative, if that can be seen. */
  #splitBy(by: number): { high: Index; low: Index } | undefined {
    const highTerms = this.terms.filter((term) => term.factor % by === 0);
    const lowTerms = this.terms.filter((term) => term.factor % by !== 0);
    const lowConstant = ((this.constant % by) + by) % by;
    const low = new Index(lowTerms, lowConstant);
    if (low.range()[0] < 0) return undefined;
    const high = Index.of(
      highTerms.map((term) => ({ atom: term.atom, factor: term.factor / by })),
      (this.constant - lowConstant) / by,
    );
    return { high, low };
  }

  /** The whole quotient; the index must not be negative. */
  quotient(by: number): Index {
    if (by === 1) return this;
    const { high, low } = this.#splitBy(by) ?? { high: Index.constant(0), low: this };
    const max = Math.floor(low.range()[1] / by);
    if (max === 0) return high;
    return high.add(new Index([{ atom: division("quotient", low, by, max), factor: 1 }], 0));
  }

  /** The remainder; the index must not be negative. */
  remainder(by: number): Index {
    if (by === 1) return Index.constant(0);
    const low = this.#splitBy(by)?.low ?? this;
    const [least, most] = low.range();
    if (least >= 0 && most < by) return low;
    return new Index([{ atom: division("remainder", low, by, by - 1), factor: 1 }], 0);
  }

  /** How far the index moves when the variable grows by one; undefined when that is not constant. */
  stride(variable: string): number | undefined {
    let total = 0;
    for (const { atom, factor } of this.terms) {
      if (atom.kind === "variable") {
        if (atom.key === variable) total += factor;
      } else if (dependsOn(atom, variable)) {
        return undefined;
      }
    }
    return total;
  }

  /** Whether the index is a plain sum of multiples of variables. */
  isAffine(): boolean {
    return this.terms.every((term) => term.atom.kind === "variable");
  }

  /** How many divisions and remainders it takes to compute. */
  divisions(): number {
    let count = 0;
    visitExpressions([this.toExpr()], (part) => {
      if (part.kind === "binary" && (part.op === "div" || part.op === "rem")) count++;
    });
    return count;
  }

  /** As a loop IR expression of type i32. */
  toExpr(): Expr {
    let sum: Expr | undefined;
    for (const { atom, factor } of this.terms) {
      const value = atomExpr(atom);
      const part = factor === 1 ? value : integer("mul", value, integerConstant(factor));
      sum = sum === undefined ? part : integer("add", sum, part);
    }
    if (sum === undefined) return integerConstant(this.constant);
    return this.constant === 0 ? sum : integer("add", sum, integerConstant(this.constant));
  }
}

function dependsOn(atom: Atom, variable: string): boolean {
  return atom.kind === "variable" ? atom.key === variable : expressionUses(atom.value, variable);
}

function expressionUses(expr: Expr, variable: string): boolean {
  let found = false;
  visitExpressions([expr], (part) => found ||= part.kind === "var" && part.name === variable);
  return found;
}

function atomExpr(atom: Atom): Expr {
  return atom.kind === "variable" ? { kind: "var", type: "i32", name: atom.key } : atom.value;
}

function integer(op: "add" | "mul" | "div" | "rem", a: Expr, b: Expr): Expr {
  return { kind: "binary", op, type: "i32", a, b };
}

/** A whole-number constant expression. */
export function integerConstant(value: number): Expr {
  return { kind: "const", type: "i32", value };
}

/** The flat, row-major index of the per-axis indices in a shape. */
export function flatten(indices: readonly Index[], shape: readonly number[]): Index {
  let flat = Index.constant(0);
  indices.forEach((index, axis) => {
    flat = flat.scale(shape[axis] ?? 1).add(index);
  });
  return flat;
}

/** The per-axis indices of a flat, row-major index in a shape. */
export function unflatten(flat: Index, shape: readonly number[]): Index[] {
  const indices: Index[] = [];
  let rest = flat;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const extent = shape[axis] ?? 1;
    if (axis === 0) {
      indices.unshift(extent === 1 ? Index.constant(0) : rest);
      break;
    }
    indices.unshift(rest.remainder(extent));
    rest = rest.quotient(extent);
  }
  return indices;
}

/** Row-major strides of a shape. */
export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides: number[] = [];
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides.unshift(stride);
    stride *= shape[axis] ?? 1;
  }
  return strides;
}
