/** Logarithms of four f32 at once. */
import type { Push, VectorCode } from "../vector_code.ts";
import { LN2_HIGH, LN2_LOW, LOG } from "../../math/coefficients.ts";

const SMALLEST_NORMAL = 2 ** -126;
const MANTISSA = 0x007fffff;
/** Bits of sqrt(1/2): subtracting them splits off the exponent so that the rest is in sqrt(1/2)..sqrt(2). */
const ROOT_HALF = 0x3f3504f3;

/** `log(1 + f) + e ln2`, with a small correction added last but one. */
function assemble(code: VectorCode, f: Push, e: Push, correction: Push | undefined): void {
  const square = code.keep(code.mul(f, f));
  const cubic = code.mul(code.mul(square, f), code.polynomial(f, LOG));
  const withLow = code.multiplyAdd(e, code.f32(LN2_LOW), cubic);
  const corrected = correction === undefined ? withLow : code.add(withLow, correction);
  const tail = code.keep(code.subtractProduct(corrected, square, code.f32(0.5)));
  code.multiplyAdd(e, code.f32(LN2_HIGH), code.add(f, tail))();
}

/** Exponent (as f32) and mantissa in sqrt(1/2)..sqrt(2) of a positive normal number. */
function split(code: VectorCode, x: Push): { exponent: Push; mantissa: Push } {
  const { i32x4, f32x4 } = code.f;
  const bits = code.keep(code.apply(i32x4.sub, x, code.i32(ROOT_HALF)));
  const exponent = code.keep(code.apply(f32x4.convert_i32x4_s, code.shiftRight(bits, 23)));
  const mantissa = code.apply(
    i32x4.add,
    code.and(bits, code.i32(MANTISSA)),
    code.i32(ROOT_HALF),
  );
  return { exponent, mantissa };
}

/** `value` for positive finite `argument`; else its limit: -infinity at 0, NaN below, infinity, NaN. */
function withLimits(code: VectorCode, argument: Push, value: Push): void {
  const { f32x4 } = code.f;
  const positive = code.apply(f32x4.gt, argument, code.f32(0));
  const zero = code.apply(f32x4.eq, argument, code.f32(0));
  const finite = code.apply(f32x4.lt, argument, code.f32(Infinity));
  const limit = code.choose(zero, code.f32(-Infinity), code.f32(NaN));
  // Adding the argument keeps infinity and turns NaN into NaN.
  const bounded = code.choose(finite, value, code.add(argument, argument));
  code.choose(positive, bounded, limit)();
}

/** Pushes the natural logarithm, at most 1 ulp off; subnormals included. */
export function log(code: VectorCode, x: Push): void {
  code.scoped(() => {
    const kept = code.keep(x);
    const tiny = code.keep(code.apply(code.f.f32x4.lt, kept, code.f32(SMALLEST_NORMAL)));
    const scaled = code.choose(tiny, code.mul(kept, code.f32(2 ** 23)), kept);
    const { exponent, mantissa } = split(code, scaled);
    const e = code.keep(code.sub(exponent, code.and(tiny, code.f32(23))));
    const f = code.keep(code.sub(mantissa, code.f32(1)));
    withLimits(code, kept, code.keep(() => assemble(code, f, e, undefined)));
  });
}

/**
 * Pushes `log(1 + x)`, at most 1 ulp off.
 *
 * With `u = 1 + x` rounded, `log(1 + x) = log(u) + (1 + x - u) / u`; near zero `u` is not rounded but
 * `f = x` taken as it is, so that nothing is lost.
 */
export function log1p(code: VectorCode, x: Push): void {
  code.scoped(() => {
    const { f32x4 } = code.f;
    const kept = code.keep(x);
    const u = code.keep(code.add(kept, code.f32(1)));
    const { exponent, mantissa } = split(code, u);
    const near = code.keep(code.apply(f32x4.eq, exponent, code.f32(0)));
    const f = code.keep(code.choose(near, kept, code.sub(mantissa, code.f32(1))));
    // What rounding took from 1 + x: exact, whichever of the two is the larger.
    const large = code.apply(f32x4.gt, kept, code.f32(1));
    const lost = code.keep(code.choose(
      large,
      code.sub(code.f32(1), code.sub(u, kept)),
      code.sub(kept, code.sub(u, code.f32(1))),
    ));
    const correction = code.keep(code.apply(
      code.f.v128.andnot,
      code.div(lost, u),
      near,
    ));
    const value = code.keep(() => assemble(code, f, exponent, correction));
    const zero = code.apply(f32x4.eq, kept, code.f32(0));
    code.choose(zero, kept, () => withLimits(code, u, value))();
  });
}
