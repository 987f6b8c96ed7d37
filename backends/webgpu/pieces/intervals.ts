/**
 * Which values integer expressions may have. Sums of multiples are kept as such, so that a place that was
 * taken apart into a quotient and a remainder, and put together again, has no more values than before.
 */
import type { Expr } from "../../../compiler/loop_ir.ts";

/** Smallest and largest value, both included. */
export type Interval = readonly [low: number, high: number];

/** What nothing is known of. */
export const ANY: Interval = [-Infinity, Infinity];

/** The interval that holds both. */
export function hull([a, b]: Interval, [c, d]: Interval): Interval {
  return [Math.min(a, c), Math.max(b, d)];
}

/** Something that sums are made of. */
interface Atom {
  /** No other value has it. */
  readonly key: string;
  readonly interval: Interval;
  /** Where it is what is left of another value by a division. */
  readonly division:
    | { readonly kind: "div" | "rem"; readonly of: Sum; readonly by: number }
    | undefined;
}

interface Term {
  readonly atom: Atom;
  readonly factor: number;
}

/** A constant and multiples of atoms. */
interface Sum {
  readonly constant: number;
  readonly terms: readonly Term[];
}

/** Intervals of i32 expressions, from those of their variables. */
export class Intervals {
  readonly #variables = new Map<string, Sum>();
  readonly #known = new Map<Expr, Sum>();
  #atoms = 0;

  /** Says what a variable may be from here on. */
  bind(name: string, interval: Interval): void {
    this.#bindSum(name, this.#atom(interval));
  }

  /** Says what a variable is. */
  define(name: string, value: Expr): void {
    this.#bindSum(name, this.#sum(value));
  }

  /** All values that the expression may have, and maybe more. */
  of(expr: Expr): Interval {
    return intervalOf(this.#sum(expr));
  }

  #bindSum(name: string, sum: Sum): void {
    if (this.#variables.has(name)) this.#known.clear();
    this.#variables.set(name, sum);
  }

  #atom(interval: Interval, division?: Atom["division"]): Sum {
    const [low, high] = interval;
    if (low === high) return { constant: low, terms: [] };
    const key = division === undefined
      ? `#${this.#atoms++}`
      : `(${keyOf(division.of)} ${division.kind} ${division.by})`;
    return { constant: 0, terms: [{ atom: { key, interval, division }, factor: 1 }] };
  }

  #sum(expr: Expr): Sum {
    const known = this.#known.get(expr);
    if (known !== undefined) return known;
    const found = this.#compute(expr);
    this.#known.set(expr, found);
    return found;
  }

  #compute(expr: Expr): Sum {
    if (expr.type !== "i32") return this.#atom(ANY);
    switch (expr.kind) {
      case "const":
        return { constant: expr.value, terms: [] };
      case "var":
        return this.#variables.get(expr.name) ?? this.#atom(ANY);
      case "select":
      case "guarded":
        return this.#atom(hull(this.of(expr.a), this.of(expr.b)));
      case "binary":
        return this.#binary(expr.op, this.#sum(expr.a), this.#sum(expr.b));
      default:
        return this.#atom(ANY);
    }
  }

  #binary(op: string, a: Sum, b: Sum): Sum {
    const [one, other] = [intervalOf(a), intervalOf(b)];
    const by = b.terms.length === 0 ? b.constant : undefined;
    switch (op) {
      case "add":
        return added(a, b);
      case "sub":
        return added(a, scaled(b, -1));
      case "mul":
        if (by !== undefined) return scaled(a, by);
        return a.terms.length === 0 ? scaled(b, a.constant) : this.#atom(product(one, other));
      case "div":
      case "rem":
        if (by === undefined || by <= 0) return this.#atom(ANY);
        return this.#atom(op === "div" ? quotient(one, by) : remainder(one, by), {
          kind: op,
          of: a,
          by,
        });
      case "min":
        return this.#atom([Math.min(one[0], other[0]), Math.min(one[1], other[1])]);
      case "max":
        return this.#atom([Math.max(one[0], other[0]), Math.max(one[1], other[1])]);
      default:
        return this.#atom(ANY);
    }
  }
}

function keyOf({ constant, terms }: Sum): string {
  return [constant, ...terms.map(({ atom, factor }) => `${factor}*${atom.key}`).sort()].join("+");
}

function intervalOf({ constant, terms }: Sum): Interval {
  let [low, high] = [constant, constant];
  for (const { atom: { interval: [least, most] }, factor } of terms) {
    low += factor * (factor > 0 ? least : most);
    high += factor * (factor > 0 ? most : least);
  }
  return [low, high];
}

function scaled({ constant, terms }: Sum, by: number): Sum {
  if (by === 0) return { constant: 0, terms: [] };
  return {
    constant: constant * by,
    terms: terms.map(({ atom, factor }) => ({ atom, factor: factor * by })),
  };
}

function added(one: Sum, other: Sum): Sum {
  const terms = new Map<string, Term>();
  for (const { atom, factor } of [...one.terms, ...other.terms]) {
    const before = terms.get(atom.key)?.factor ?? 0;
    terms.set(atom.key, { atom, factor: factor + before });
  }
  const kept = [...terms.values()].filter(({ factor }) => factor !== 0);
  return rejoined({ constant: one.constant + other.constant, terms: kept });
}

/** `k * by * (x div by) + k * (x rem by)` is `k * x`. */
function rejoined(sum: Sum): Sum {
  for (const high of sum.terms) {
    const whole = high.atom.division;
    if (whole?.kind !== "div") continue;
    const low = sum.terms.find(({ atom: { division }, factor }) =>
      division?.kind === "rem" && division.by === whole.by && factor * whole.by === high.factor &&
      keyOf(division.of) === keyOf(whole.of)
    );
    if (low === undefined) continue;
    const terms = sum.terms.filter((term) => term !== high && term !== low);
    return added({ ...sum, terms }, scaled(whole.of, low.factor));
  }
  return sum;
}

function product([a, b]: Interval, [c, d]: Interval): Interval {
  if (![a, b, c, d].every(Number.isFinite)) return ANY;
  const corners = [a * c, a * d, b * c, b * d];
  return [Math.min(...corners), Math.max(...corners)];
}

function quotient([low, high]: Interval, by: number): Interval {
  return [Math.trunc(low / by), Math.trunc(high / by)];
}

function remainder([low, high]: Interval, by: number): Interval {
  if (low < 0) return [1 - by, by - 1];
  const turns = Math.floor(low / by);
  return turns === Math.floor(high / by) ? [low - turns * by, high - turns * by] : [0, by - 1];
}
