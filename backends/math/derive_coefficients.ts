/**
 * Derives the coefficients in `coefficients.ts`: `deno run backends/math/derive_coefficients.ts`
 * prints them with the largest relative error of each approximation.
 *
 * A polynomial P is fitted to `target` so that the largest `weight * |P - target|` is small: least
 * squares on Chebyshev nodes, reweighted by the error until it is level (Lawson 1961).
 */
import { erf } from "../../graph/ops/special.ts";

interface Fit {
  readonly name: string;
  /** Interval of the variable. */
  readonly from: number;
  readonly to: number;
  readonly degree: number;
  readonly target: (x: number) => number;
  readonly weight: (x: number) => number;
}

const NODES = 240;
const ROUNDS = 100;

/** Solves the least squares problem `rows * x = right` by Householder reflections. */
function leastSquares(rows: Float64Array[], right: Float64Array, unknowns: number): number[] {
  for (let column = 0; column < unknowns; column++) {
    const size = Math.hypot(...rows.slice(column).map((row) => row[column] ?? 0));
    const pivot = rows[column]?.[column] ?? 0;
    const alpha = pivot > 0 ? -size : size;
    const reflector = rows.map((row, index) => index < column ? 0 : row[column] ?? 0);
    reflector[column] = pivot - alpha;
    const norm = reflector.reduce((sum, value) => sum + value * value, 0);
    if (norm === 0) continue;
    const reflect = (get: (row: number) => number, set: (row: number, value: number) => void) => {
      let dot = 0;
      for (let row = column; row < rows.length; row++) dot += (reflector[row] ?? 0) * get(row);
      const factor = 2 * dot / norm;
      for (let row = column; row < rows.length; row++) {
        set(row, get(row) - factor * (reflector[row] ?? 0));
      }
    };
    for (let other = column; other < unknowns; other++) {
      reflect((row) => rows[row]?.[other] ?? 0, (row, value) => {
        const line = rows[row];
        if (line !== undefined) line[other] = value;
      });
    }
    reflect((row) => right[row] ?? 0, (row, value) => right[row] = value);
  }
  const solution = new Array<number>(unknowns).fill(0);
  for (let column = unknowns - 1; column >= 0; column--) {
    let value = right[column] ?? 0;
    for (let other = column + 1; other < unknowns; other++) {
      value -= (rows[column]?.[other] ?? 0) * (solution[other] ?? 0);
    }
    solution[column] = value / (rows[column]?.[column] ?? 1);
  }
  return solution;
}

function horner(coefficients: readonly number[], x: number): number {
  return coefficients.reduceRight((sum, coefficient) => sum * x + coefficient, 0);
}

function fitPolynomial(fit: Fit): { coefficients: number[]; error: number } {
  const { from, to, degree, target, weight } = fit;
  const scale = Math.max(Math.abs(from), Math.abs(to));
  const nodes = Array.from({ length: NODES }, (_, index) => {
    const cosine = Math.cos(Math.PI * (index + 0.5) / NODES);
    return (from + to) / 2 + (to - from) / 2 * cosine;
  });
  let lawson = nodes.map(() => 1);
  let best = { coefficients: [0], error: Infinity };
  for (let round = 0; round < ROUNDS; round++) {
    const right = new Float64Array(NODES);
    const rows = nodes.map((x, index) => {
      const factor = weight(x) * Math.sqrt(lawson[index] ?? 1);
      right[index] = factor * target(x);
      return Float64Array.from({ length: degree + 1 }, (_, power) => factor * (x / scale) ** power);
    });
    const coefficients = leastSquares(rows, right, degree + 1)
      .map((value, power) => value / scale ** power);
    const errors = nodes.map((x) => weight(x) * Math.abs(horner(coefficients, x) - target(x)));
    const error = Math.max(...errors);
    if (error < best.error) best = { coefficients, error };
    const total = errors.reduce((sum, value, index) => sum + value * (lawson[index] ?? 0), 0);
    lawson = lawson.map((value, index) => value * (errors[index] ?? 0) * NODES / total);
  }
  return best;
}

/** `value` where it is well conditioned, else the sum of a series. */
function nearZero(x: number, limit: number, series: () => number, value: () => number): number {
  return Math.abs(x) < limit ? series() : value();
}

function powerSeries(x: number, coefficient: (n: number) => number): number {
  let sum = 0;
  for (let n = 40; n >= 0; n--) sum = sum * x + coefficient(n);
  return sum;
}

function factorial(n: number): number {
  return n < 2 ? 1 : n * factorial(n - 1);
}

/** `log(1 - erf(x)) / x` to third order. */
function logErfcNearZero(x: number): number {
  const slope = 2 / Math.sqrt(Math.PI);
  return -slope - slope ** 2 / 2 * x + (slope / 3 - slope ** 3 / 3) * x * x;
}

const FITS: readonly Fit[] = [
  {
    name: "EXP: (exp(r) - 1 - r) / r^2",
    from: -Math.LN2,
    to: Math.LN2,
    degree: 5,
    target: (r) => powerSeries(r, (n) => 1 / factorial(n + 2)),
    weight: (r) => r * r / Math.exp(r),
  },
  {
    name: "LOG: (log(1 + f) - f + f^2/2) / f^3",
    from: Math.SQRT1_2 - 1,
    to: Math.SQRT2 - 1,
    degree: 7,
    target: (f) => powerSeries(f, (n) => (n % 2 === 0 ? 1 : -1) / (n + 3)),
    weight: (f) => nearZero(f, 1e-3, () => f * f, () => f ** 3 / Math.log1p(f)),
  },
  {
    name: "SIN: (sin(r)/r - 1) / r^2 in r^2",
    from: 0,
    to: (Math.PI / 4) ** 2 * 1.001,
    degree: 2,
    target: (t) => powerSeries(t, (n) => (n % 2 === 0 ? -1 : 1) / factorial(2 * n + 3)),
    weight: (t) => t,
  },
  {
    name: "COS: (cos(r) - 1 + r^2/2) / r^4 in r^2",
    from: 0,
    to: (Math.PI / 4) ** 2 * 1.001,
    degree: 2,
    target: (t) => powerSeries(t, (n) => (n % 2 === 0 ? 1 : -1) / factorial(2 * n + 4)),
    weight: (t) => t * t,
  },
  {
    name: "LOG_ERFC: log(1 - erf(x)) / x, up to 3.95",
    from: 0,
    to: 3.95,
    degree: 8,
    target: (x) => nearZero(x, 1e-3, () => logErfcNearZero(x), () => Math.log(1 - erf(x)) / x),
    weight: (x) => nearZero(x, 1e-3, () => Math.sqrt(Math.PI) / 2, () => x * (1 - erf(x)) / erf(x)),
  },
];

if (import.meta.main) {
  for (const fit of FITS) {
    const { coefficients, error } = fitPolynomial(fit);
    const rounded = coefficients.map((value) => Number(Math.fround(value).toPrecision(9)));
    console.log(`${fit.name}; error ${error.toExponential(2)}\n  [${rounded.join(", ")}]`);
  }
}
