/** a^b of four f32 pairs at once, through f64. */
import type { Push, VectorCode } from "../vector_code.ts";

/** Bits of sqrt(1/2) as f64. */
const ROOT_HALF = 0x3fe6a09e667f3bcdn;
const MANTISSA = (1n << 52n) - 1n;
const ONE = 1023n << 52n;
const ROUND = 1.5 * 2 ** 52;
/** `2 atanh(s) = 2s (1 + s^2/3 + s^4/5 + ...)`: 9 terms leave 1e-15 for |s| <= 0.172. */
const ATANH = Array.from({ length: 9 }, (_, n) => 2 / (2 * n + 1));
/** Taylor coefficients of exp: 12 terms leave 1e-14 for |r| <= ln2 / 2. */
const EXP = Array.from({ length: 12 }, (_, n) => {
  let factorial = 1;
  for (let k = 2; k <= n; k++) factorial *= k;
  return 1 / factorial;
});

function polynomial(code: VectorCode, x: Push, coefficients: readonly number[]): Push {
  const { add, mul } = code.f.f64x2;
  const [highest = 0, ...rest] = [...coefficients].reverse();
  return rest.reduce<Push>(
    (sum, coefficient) => code.apply(add, code.apply(mul, sum, x), code.f64(coefficient)),
    code.f64(highest),
  );
}

/** Base-2 logarithm of two positive normal f64. */
function log2(code: VectorCode, x: Push): Push {
  const { f64x2, i64x2, v128 } = code.f;
  const bits = code.keep(code.apply(i64x2.sub, x, code.i64(ROOT_HALF)));
  const mantissa = code.keep(code.apply(
    i64x2.add,
    code.apply(v128.and, bits, code.i64(MANTISSA)),
    code.i64(ROOT_HALF),
  ));
  const biased = code.apply(
    () => {
      code.f.i32.const(52);
      i64x2.shr_u();
    },
    code.apply(i64x2.add, bits, code.i64(ONE)),
  );
  const asFloat = code.apply(v128.or, biased, code.f64(2 ** 52));
  const exponent = code.keep(code.apply(f64x2.sub, asFloat, code.f64(2 ** 52 + 1023)));
  const s = code.keep(code.apply(
    f64x2.div,
    code.apply(f64x2.sub, mantissa, code.f64(1)),
    code.apply(f64x2.add, mantissa, code.f64(1)),
  ));
  const square = code.keep(code.apply(f64x2.mul, s, s));
  const natural = code.apply(f64x2.mul, s, polynomial(code, square, ATANH));
  return code.keep(code.apply(
    f64x2.add,
    exponent,
    code.apply(f64x2.mul, natural, code.f64(Math.LOG2E)),
  ));
}

/** `2^x` of two f64, with x held within -200 and 200. */
function exp2(code: VectorCode, x: Push): Push {
  const { f64x2, i64x2 } = code.f;
  const clamped = code.keep(code.apply(
    f64x2.pmax,
    code.apply(f64x2.pmin, x, code.f64(200)),
    code.f64(-200),
  ));
  const shifted = code.keep(code.apply(f64x2.add, clamped, code.f64(ROUND)));
  const whole = code.apply(f64x2.sub, shifted, code.f64(ROUND));
  const r = code.keep(code.apply(
    f64x2.mul,
    code.apply(f64x2.sub, clamped, whole),
    code.f64(Math.LN2),
  ));
  const power = code.apply(
    () => {
      code.f.i32.const(52);
      i64x2.shl();
    },
    shifted,
  );
  return code.apply(i64x2.add, polynomial(code, r, EXP), power);
}

/** `|a|^b` for finite a other than 0. */
function magnitude(code: VectorCode, a: Push, b: Push): Push {
  const { f64x2, f32x4 } = code.f;
  const half = (base: Push, exponent: Push): Push => {
    const logarithm = log2(code, code.apply(f64x2.promote_low_f32x4, base));
    const wide = code.apply(f64x2.promote_low_f32x4, exponent);
    return code.keep(code.apply(
      f32x4.demote_f64x2_zero,
      exp2(code, code.keep(code.apply(f64x2.mul, wide, logarithm))),
    ));
  };
  const upper = (value: Push) => code.apply(() => code.f.i32x4.shuffle([2, 3, 2, 3]), value, value);
  const low = half(a, b);
  const high = half(upper(a), upper(b));
  return code.keep(code.apply(() => code.f.i32x4.shuffle([0, 1, 4, 5]), low, high));
}

/**
 * Pushes `a^b`, at most 1 ulp off, with the special cases of `Math.pow`: `x^0` is 1 even of NaN,
 * `(+-1)^(+-infinity)` is NaN, a negative number to a power that is not whole is NaN.
 */
export function pow(code: VectorCode, a: Push, b: Push): void {
  const { f32x4, v128 } = code.f;
  code.scoped(() => {
    const base = code.keep(a);
    const exponent = code.keep(b);
    const size = code.keep(code.apply(f32x4.abs, base));
    const plain = magnitude(code, size, exponent);
    const isZero = code.keep(code.apply(f32x4.eq, size, code.f32(0)));
    const isInfinite = code.keep(code.apply(f32x4.eq, size, code.f32(Infinity)));
    const rises = code.apply(f32x4.gt, exponent, code.f32(0));
    const becomesZero = code.apply(code.f.i32x4.eq, isZero, rises);
    const extreme = code.choose(becomesZero, code.f32(0), code.f32(Infinity));
    const grown = code.keep(code.choose(code.or(isZero, isInfinite), extreme, plain));

    const isWhole = (value: Push) => code.apply(f32x4.eq, value, code.apply(f32x4.trunc, value));
    const whole = code.keep(isWhole(exponent));
    const halved = code.keep(code.mul(exponent, code.f32(0.5)));
    const odd = code.apply(v128.andnot, whole, isWhole(halved));
    const sign = code.and(code.and(base, code.f32(-0)), odd);
    const signed = code.keep(code.or(grown, sign));

    const negative = code.apply(f32x4.lt, base, code.f32(0));
    const rootOfNegative = code.apply(v128.andnot, negative, code.or(whole, isInfinite));
    const unordered = code.or(
      code.apply(f32x4.ne, base, base),
      code.apply(f32x4.ne, exponent, exponent),
    );
    const undefinedHere = code.keep(code.or(rootOfNegative, unordered));
    const defined = code.choose(undefinedHere, code.f32(NaN), signed);
    const toTheZero = code.apply(f32x4.eq, exponent, code.f32(0));
    code.choose(toTheZero, code.f32(1), defined)();
  });
}
