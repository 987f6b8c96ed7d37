/** Functions of one f64 number that JavaScript does not have. */
import type { FloatDType } from "../dtype.ts";

const TWO_OVER_ROOT_PI = 2 / Math.sqrt(Math.PI);
/** From here on `1 - erfc` is the better form; below it the series. */
const SERIES_LIMIT = 1.5;
const FRACTION_TERMS = 120;

/**
 * The error function, `2/sqrt(pi) * integral of exp(-t^2) from 0 to x`, to within 1e-15 of its value.
 *
 * Abramowitz and Stegun 1964: the series 7.1.6 for small arguments, whose terms are all positive,
 * and the continued fraction 7.1.14 of the complement for the others.
 */
export function erf(x: number): number {
  const size = Math.abs(x);
  if (Number.isNaN(x) || x === 0) return x;
  if (size > 6) return Math.sign(x);
  const value = size < SERIES_LIMIT ? erfSeries(size) : 1 - erfcFraction(size);
  return x < 0 ? -value : value;
}

function erfSeries(x: number): number {
  const square = x * x;
  let term = x;
  let total = x;
  for (let n = 1; Math.abs(term) > 1e-18 * total; n++) {
    term *= 2 * square / (2 * n + 1);
    total += term;
  }
  return TWO_OVER_ROOT_PI * Math.exp(-square) * total;
}

function erfcFraction(x: number): number {
  let tail = x;
  for (let n = FRACTION_TERMS; n >= 1; n--) tail = x + (n / 2) / tail;
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * tail);
}

/** The nearest whole number; halves go to the even one, as IEEE 754 rounds. */
export function roundHalfEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  if (!Number.isFinite(x) || rest === 0) return x;
  const rounded = rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1;
  return rounded === 0 && x < 0 ? -0 : rounded;
}

interface FloatFormat {
  /** Bits after the point of a normal number's significand. */
  readonly fraction: number;
  /** Exponent of the smallest normal number. */
  readonly lowest: number;
  readonly largest: number;
}

const FORMATS: Readonly<Record<FloatDType, FloatFormat>> = {
  f16: { fraction: 10, lowest: -14, largest: 65504 },
  bf16: { fraction: 7, lowest: -126, largest: (2 - 2 ** -7) * 2 ** 127 },
  f32: { fraction: 23, lowest: -126, largest: (2 - 2 ** -23) * 2 ** 127 },
};

/** The value rounded to the nearest one of the format, ties to even; too large gives infinity. */
export function roundToFormat(value: number, dtype: FloatDType): number {
  if (!Number.isFinite(value) || value === 0) return value;
  const { fraction, lowest, largest } = FORMATS[dtype];
  const quantum = 2 ** (Math.max(exponentOf(value), lowest) - fraction);
  const rounded = roundHalfEven(value / quantum) * quantum;
  return Math.abs(rounded) > largest ? Math.sign(value) * Infinity : rounded;
}

/** The whole part of the binary logarithm, exactly. */
function exponentOf(value: number): number {
  const size = Math.abs(value);
  const guess = Math.floor(Math.log2(size));
  if (2 ** guess > size) return guess - 1;
  return 2 ** (guess + 1) <= size ? guess + 1 : guess;
}
