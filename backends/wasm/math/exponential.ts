/** exp and the functions made from it, on four f32 at once. */
import type { Push, VectorCode } from "../vector_code.ts";
import { EXP, LN2_HIGH, LN2_LOW, LOG_ERFC } from "../../math/coefficients.ts";

/** Adding it rounds to a whole number, which is then in the low bits. */
const ROUND = 1.5 * 2 ** 23;

/**
 * Pushes `exp(x)`, at most 2 ulp off; subnormal results, overflow to infinity and NaN as they should
 * be.
 *
 * `x = 2 n ln2 + r` with `|r| <= ln2`, and `exp(x) = exp(r) * 2^n * 2^n`: two factors that are both
 * normal numbers reach every result, subnormals included, without a second way for them.
 */
export function exp(code: VectorCode, x: Push): void {
  code.scoped(() => {
    const { rest, power } = reduced(code, code.keep(code.atLeast(code.atMost(x, 89), -104)));
    code.mul(code.mul(code.add(rest, code.f32(1)), power), power)();
  });
}

/** Pushes `exp(x) - 1`, whose relative error is small also near zero, for -104 <= x <= 0 or NaN. */
function expMinusOne(code: VectorCode, x: Push): void {
  code.scoped(() => {
    const { rest, power } = reduced(code, code.keep(x));
    const factor = code.keep(code.mul(power, power));
    code.multiplyAdd(factor, rest, code.sub(factor, code.f32(1)))();
  });
}

/** `exp(r) - 1` and `2^n` for `x = 2 n ln2 + r`. */
function reduced(code: VectorCode, x: Push): { rest: Push; power: Push } {
  const shifted = code.keep(code.multiplyAdd(x, code.f32(0.5 / Math.LN2), code.f32(ROUND)));
  const n = code.keep(code.sub(shifted, code.f32(ROUND)));
  const high = code.subtractProduct(x, n, code.f32(2 * LN2_HIGH));
  const r = code.keep(code.subtractProduct(high, n, code.f32(2 * LN2_LOW)));
  const rest = code.keep(code.multiplyAdd(code.mul(r, r), code.polynomial(r, EXP), r));
  const power = code.keep(
    code.apply(code.f.i32x4.add, code.shiftLeft(shifted, 23), code.i32(127 << 23)),
  );
  return { rest, power };
}

/** Pushes `1 / (1 + exp(-x))`, at most 3.5 ulp off. */
export function sigmoid(code: VectorCode, x: Push): void {
  code.scoped(() => {
    const kept = code.keep(x);
    // exp of a negative number: it cannot overflow, and small results keep their precision.
    const small = code.keep(() => exp(code, code.or(kept, code.f32(-0))));
    const negative = code.apply(code.f.f32x4.lt, kept, code.f32(0));
    const upper = code.choose(negative, small, code.f32(1));
    code.div(upper, code.add(small, code.f32(1)))();
  });
}

/** Pushes `tanh(x)`, at most 3 ulp off: `-z / (2 + z)` with `z = exp(-2 |x|) - 1`. */
export function tanh(code: VectorCode, x: Push): void {
  code.scoped(() => {
    const kept = code.keep(x);
    const exponent = code.mul(code.or(kept, code.f32(-0)), code.f32(2));
    const z = code.keep(() => expMinusOne(code, code.atLeast(exponent, -40)));
    withSignOf(code, kept, code.div(z, code.add(z, code.f32(2))));
  });
}

/** Pushes `erf(x)`, at most 3 ulp off: `-(exp(P(|x|)) - 1)` with `P(x) = log(1 - erf(x))`. */
export function erf(code: VectorCode, x: Push): void {
  code.scoped(() => {
    const kept = code.keep(x);
    const size = code.keep(code.atMost(code.apply(code.f.f32x4.abs, kept), 3.95));
    const logarithm = code.mul(code.polynomial(size, LOG_ERFC), size);
    withSignOf(code, kept, () => expMinusOne(code, logarithm));
  });
}

function withSignOf(code: VectorCode, sign: Push, value: Push): void {
  code.choose(code.f32(-0), sign, value)();
}
