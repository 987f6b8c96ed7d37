/** exp and the functions made from it, on four f32 at once. */
import type { Push, VectorCode } from "../vector_code.ts";
import { ERF, EXP, LOG_ERFC, TANH } from "./coefficients.ts";

/** ln 2 in two parts; the first has 9 bits, so that its product with a small whole number is exact. */
export const LN2_HIGH = Math.round(Math.LN2 * 512) / 512;
export const LN2_LOW = Math.LN2 - LN2_HIGH;

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
  code.scoped(() => expWithin(code, code.atLeast(code.atMost(x, 89), -104)));
}

/** `exp(x)` of an x between -104 and 89, or NaN. */
function expWithin(code: VectorCode, x: Push): void {
  code.scoped(() => {
    const kept = code.keep(x);
    const shifted = code.keep(code.multiplyAdd(kept, code.f32(0.5 / Math.LN2), code.f32(ROUND)));
    const n = code.keep(code.sub(shifted, code.f32(ROUND)));
    const high = code.subtractProduct(kept, n, code.f32(2 * LN2_HIGH));
    const r = code.keep(code.subtractProduct(high, n, code.f32(2 * LN2_LOW)));
    // r is exact and the rest small: adding it to the 1 last keeps the rounding errors small.
    const square = code.mul(r, r);
    const rest = code.multiplyAdd(square, code.polynomial(r, EXP), r);
    const value = code.add(rest, code.f32(1));
    const power = code.keep(
      code.apply(code.f.i32x4.add, code.shiftLeft(shifted, 23), code.i32(127 << 23)),
    );
    code.mul(code.mul(value, power), power)();
  });
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

/** Pushes `tanh(x)`, at most 2 ulp off: an odd polynomial near zero, `(1 - z) / (1 + z)` beyond. */
export function tanh(code: VectorCode, x: Push): void {
  code.scoped(() => {
    const kept = code.keep(x);
    const size = code.keep(code.apply(code.f.f32x4.abs, kept));
    const square = code.keep(code.mul(kept, kept));
    const cubic = code.mul(code.mul(square, kept), code.polynomial(square, TANH));
    const near = code.keep(code.add(kept, cubic));
    const held = code.atMost(size, 20);
    const z = code.keep(() => expWithin(code, code.mul(held, code.f32(-2))));
    const far = code.div(code.sub(code.f32(1), z), code.add(code.f32(1), z));
    const value = code.choose(code.apply(code.f.f32x4.lt, size, code.f32(0.625)), near, far);
    code.or(value, code.and(kept, code.f32(-0)))();
  });
}

/** Pushes `erf(x)`, at most 3 ulp off: an odd polynomial near zero, `1 - exp(P(|x|))` beyond. */
export function erf(code: VectorCode, x: Push): void {
  code.scoped(() => {
    const kept = code.keep(x);
    const size = code.keep(code.apply(code.f.f32x4.abs, kept));
    const square = code.keep(code.mul(kept, kept));
    const near = code.keep(code.mul(code.polynomial(square, ERF), kept));
    const held = code.keep(code.atMost(size, 3.95));
    const complement = () => expWithin(code, code.polynomial(held, LOG_ERFC));
    const far = code.keep(code.sub(code.f32(1), complement));
    const value = code.choose(code.apply(code.f.f32x4.lt, size, code.f32(0.9)), near, far);
    code.or(value, code.and(kept, code.f32(-0)))();
  });
}
