/** Whether all systems compute the same thing. */

/** Two systems do not compute the same thing, so that their times say nothing. */
export class MismatchError extends Error {
  override readonly name = "MismatchError";
}

/**
 * How far results may differ, norm-wise: products by the rounding of sums of 3072 terms; logits and
 * losses also by what twelve blocks, or several updates, make of it.
 */
export const TOLERANCES = { matmul: 1e-5, forward: 1e-4, train: 1e-4 } as const;

/** Places to which results are folded: a prime, so that rows of any usual length fall differently. */
const FOLDED = 4093;

/** Results as few numbers: each place's sum. Short ones stay as they are. */
export function fold(values: ArrayLike<number>): number[] {
  const folded = new Array<number>(Math.min(values.length, FOLDED)).fill(0);
  for (let index = 0; index < values.length; index++) {
    const place = index % FOLDED;
    folded[place] = (folded[place] ?? 0) + (values[index] ?? NaN);
  }
  return folded;
}

/** |a - b| / |b| in the Euclidean norm; NaN where a number is missing or NaN, 0 where both are 0. */
export function distance(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) return NaN;
  const square = (total: number, value: number) => total + value * value;
  const off = a.map((value, index) => value - (b[index] ?? NaN)).reduce(square, 0);
  return off === 0 ? 0 : Math.sqrt(off / b.reduce(square, 0));
}

/** Compares results with those of whoever came first. */
export class Agreement {
  readonly #tolerance: number;
  #first: { readonly who: string; readonly values: readonly number[] } | undefined;
  #largest = 0;

  constructor(tolerance: number) {
    this.#tolerance = tolerance;
  }

  /** The largest relative difference so far. */
  get largest(): number {
    return this.#largest;
  }

  /** @throws {MismatchError} When the values are further from the first than the tolerance, or not finite. */
  add(who: string, values: readonly number[]): void {
    const wrong = values.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) {
      throw new MismatchError(`Number ${wrong} of ${who} is ${values[wrong]}, wanted a finite one`);
    }
    this.#first ??= { who, values };
    const difference = distance(values, this.#first.values);
    if (!(difference <= this.#tolerance)) {
      throw new MismatchError(
        `The results of ${who} (${summary(values)}) are ${
          difference.toExponential(1)
        } from those of ` +
          `${this.#first.who} (${
            summary(this.#first.values)
          }): wanted a relative difference of at ` +
          `most ${this.#tolerance}`,
      );
    }
    this.#largest = Math.max(this.#largest, difference);
  }
}

function summary(values: readonly number[]): string {
  const shown = values.slice(0, 3).map((value) => value.toPrecision(6)).join(", ");
  return `${values.length} numbers: ${shown}${values.length > 3 ? ", ..." : ""}`;
}
