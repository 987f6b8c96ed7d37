/** exp and the functions made from it: at most some 3 ulp off. */
import { EXP, LN2_HIGH, LN2_LOW, LOG_ERFC } from "../../math/coefficients.ts";
import type { LibraryFunction } from "./library.ts";
import { f32Literal } from "./literal.ts";

/** A polynomial by Horner's rule, lowest power first. */
export function polynomial(x: string, coefficients: readonly number[]): string {
  const [highest = 0, ...rest] = [...coefficients].reverse();
  return rest.reduce(
    (sum, coefficient) => `(${sum} * ${x} + ${f32Literal(coefficient)})`,
    f32Literal(highest),
  );
}

/**
 * `x = 2 n ln2 + r` with `|r| <= ln2`, and `exp(x) = exp(r) * 2^n * 2^n`: two factors that are both
 * normal numbers reach every result.
 */
export const EXPONENTIAL_FUNCTIONS: Readonly<Record<string, LibraryFunction>> = {
  ReducedExponent: {
    needs: [],
    text: "// exp(r) - 1 and 2^n for an exponent of 2 n ln2 + r.\n" +
      "struct ReducedExponent { rest: f32, power: f32 }",
  },
  reduce_exponent: {
    needs: ["ReducedExponent"],
    text: `fn reduce_exponent(x: f32) -> ReducedExponent {
  let n = round(x * ${f32Literal(0.5 / Math.LN2)});
  let r = (x - n * ${f32Literal(2 * LN2_HIGH)}) - n * ${f32Literal(2 * LN2_LOW)};
  let rest = r * r * ${polynomial("r", EXP)} + r;
  return ReducedExponent(rest, bitcast<f32>((i32(n) + 127) << 23u));
}`,
  },
  exp_f32: {
    needs: ["reduce_exponent", "is_nan"],
    text: `fn exp_f32(x: f32) -> f32 {
  let reduced = reduce_exponent(clamp(x, -104.0, 89.0));
  let value = (reduced.rest + 1.0) * reduced.power * reduced.power;
  return select(value, x, is_nan(x));
}`,
  },
  exp_minus_one: {
    needs: ["reduce_exponent"],
    text: `fn exp_minus_one(x: f32) -> f32 {
  let reduced = reduce_exponent(x);
  let factor = reduced.power * reduced.power;
  return factor * reduced.rest + (factor - 1.0);
}`,
  },
  sigmoid_f32: {
    needs: ["exp_f32"],
    text: `fn sigmoid_f32(x: f32) -> f32 {
  let small = exp_f32(-abs(x));
  return select(1.0, small, x < 0.0) / (small + 1.0);
}`,
  },
  tanh_f32: {
    needs: ["exp_minus_one", "with_sign_of", "is_nan"],
    text: `fn tanh_f32(x: f32) -> f32 {
  let z = exp_minus_one(max(-2.0 * abs(x), -40.0));
  return select(with_sign_of(z / (z + 2.0), x), x, x == 0.0 || is_nan(x));
}`,
  },
  erf_f32: {
    needs: ["exp_minus_one", "with_sign_of", "is_nan"],
    text: `fn erf_f32(x: f32) -> f32 {
  let size = min(abs(x), 3.95);
  let value = exp_minus_one(${polynomial("size", LOG_ERFC)} * size);
  return select(with_sign_of(value, x), x, x == 0.0 || is_nan(x));
}`,
  },
};
