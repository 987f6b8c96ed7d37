/** Logarithms and powers. */
import { LN2_HIGH, LN2_LOW, LOG } from "../../math/coefficients.ts";
import { polynomial } from "./library_exponential.ts";
import type { LibraryFunction } from "./library.ts";
import { f32Literal } from "./literal.ts";

const HIGH = f32Literal(LN2_HIGH);
const LOW = f32Literal(LN2_LOW);

/** A positive number is `2^e (1 + f)` with `1 + f` between sqrt(1/2) and sqrt(2). */
export const LOGARITHM_FUNCTIONS: Readonly<Record<string, LibraryFunction>> = {
  SplitNumber: {
    needs: [],
    text: "// 2^exponent * (1 + rest).\nstruct SplitNumber { exponent: f32, rest: f32 }",
  },
  split_number: {
    needs: ["SplitNumber"],
    text: `fn split_number(x: f32) -> SplitNumber {
  let bits = bitcast<i32>(x) - 0x3f3504f3;
  let mantissa = bitcast<f32>((bits & 0x007fffff) + 0x3f3504f3);
  return SplitNumber(f32(bits >> 23u), mantissa - 1.0);
}`,
  },
  log_of_split: {
    needs: ["SplitNumber"],
    text: `fn log_of_split(x: SplitNumber, correction: f32) -> f32 {
  let f = x.rest;
  let square = f * f;
  let cubic = square * f * ${polynomial("f", LOG)};
  let tail = ((cubic + x.exponent * ${LOW}) + correction) - 0.5 * square;
  return x.exponent * ${HIGH} + (f + tail);
}`,
  },
  log_with_limits: {
    needs: ["nan_f32", "infinity_f32", "is_nan"],
    text: `fn log_with_limits(x: f32, value: f32) -> f32 {
  if (is_nan(x) || bitcast<u32>(x) == 0x7f800000u) { return x; }
  if (x == 0.0) { return -infinity_f32(); }
  if (x < 0.0) { return nan_f32(); }
  return value;
}`,
  },
  log_f32: {
    needs: ["split_number", "log_of_split", "log_with_limits"],
    text: `fn log_f32(x: f32) -> f32 {
  let tiny = x < 1.17549435e-38;
  var split = split_number(select(x, x * 8388608.0, tiny));
  split.exponent -= select(0.0, 23.0, tiny);
  return log_with_limits(x, log_of_split(split, 0.0));
}`,
  },
  log1p_f32: {
    needs: ["split_number", "log_of_split", "log_with_limits"],
    text: `fn log1p_f32(x: f32) -> f32 {
  if (x == 0.0) { return x; }
  let u = 1.0 + x;
  var split = split_number(u);
  var correction = 0.0;
  if (split.exponent == 0.0) {
    split.rest = x;
  } else {
    // What rounding took from 1 + x.
    correction = select(x - (u - 1.0), 1.0 - (u - x), x > 1.0) / u;
  }
  return log_with_limits(u, log_of_split(split, correction));
}`,
  },
  square_error: {
    needs: [],
    text: `fn square_error(x: f32, square: f32) -> f32 {
  let scaled = x * 4097.0;
  let high = scaled - (scaled - x);
  let low = x - high;
  return ((high * high - square) + 2.0 * high * low) + low * low;
}`,
  },
  product_error: {
    needs: [],
    text: `fn product_error(a: f32, b: f32, product: f32) -> f32 {
  let scaled_a = a * 4097.0;
  let high_a = scaled_a - (scaled_a - a);
  let low_a = a - high_a;
  let scaled_b = b * 4097.0;
  let high_b = scaled_b - (scaled_b - b);
  let low_b = b - high_b;
  return ((high_a * high_b - product) + high_a * low_b + low_a * high_b) + low_a * low_b;
}`,
  },
  power_of_size: {
    needs: ["split_number", "square_error", "product_error", "exp_f32", "log_f32"],
    text: `// size^exponent, by exp of a logarithm of twice the digits.
fn power_of_size(size: f32, exponent: f32) -> f32 {
  let rough = exponent * log_f32(size);
  if (!(abs(rough) < 100.0) || abs(exponent) > 1e30) { return exp_f32(rough); }
  let tiny = size < 1.17549435e-38;
  let split = split_number(select(size, size * 8388608.0, tiny));
  let e = split.exponent - select(0.0, 23.0, tiny);
  let f = split.rest;
  let square = f * f;
  let half = 0.5 * square;
  let first = f - half;
  let lost_first = (f - first) - half;
  let scale = e * ${HIGH};
  let high = scale + first;
  let part = high - scale;
  let lost_high = (scale - (high - part)) + (first - part);
  let cubic = square * f * ${polynomial("f", LOG)};
  let others = ((e * ${LOW} + cubic) + (lost_first - 0.5 * square_error(f, square))) + lost_high;
  let logarithm = high + others;
  let low = others - (logarithm - high);
  let product = exponent * logarithm;
  let rest = product_error(exponent, logarithm, product) + exponent * low;
  return exp_f32(product) * (1.0 + rest);
}`,
  },
  pow_f32: {
    needs: ["power_of_size", "is_nan", "nan_f32"],
    text: `fn pow_f32(base: f32, exponent: f32) -> f32 {
  if (exponent == 0.0) { return 1.0; }
  if (is_nan(base) || is_nan(exponent)) { return nan_f32(); }
  let size = power_of_size(abs(base), exponent);
  if ((bitcast<u32>(base) >> 31u) == 0u) { return size; }
  let is_whole = abs(exponent) >= 8388608.0 || floor(exponent) == exponent;
  let is_limit = base == 0.0 || bitcast<u32>(base) == 0xff800000u;
  if (!is_whole) { return select(nan_f32(), size, is_limit); }
  let half = exponent * 0.5;
  let is_odd = abs(exponent) < 16777216.0 && floor(half) != half;
  return select(size, -size, is_odd);
}`,
  },
  rem_f32: {
    needs: ["is_nan", "nan_f32"],
    text:
      `// The remainder of the quotient cut to a whole number, exact: long division of the significands,
// eight bits at a time.
fn rem_f32(a: f32, b: f32) -> f32 {
  let divisor = abs(b);
  var rest = abs(a);
  if (is_nan(a) || is_nan(b) || divisor == 0.0 || bitcast<u32>(rest) == 0x7f800000u) {
    return nan_f32();
  }
  if (rest < divisor) { return a; }
  var shift = i32(bitcast<u32>(rest) >> 23u) - i32(bitcast<u32>(divisor) >> 23u);
  var left = (bitcast<u32>(rest) & 0x007fffffu) | 0x00800000u;
  let right = (bitcast<u32>(divisor) & 0x007fffffu) | 0x00800000u;
  left %= right;
  for (; shift > 7; shift -= 8) { left = (left << 8u) % right; }
  left = (left << u32(shift)) % right;
  let scale = bitcast<f32>(bitcast<u32>(divisor) & 0x7f800000u) * 1.1920929e-7;
  rest = f32(left) * scale;
  return select(rest, -rest, a < 0.0);
}`,
  },
};
