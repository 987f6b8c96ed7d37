/** Conversions between f32 and the 16-bit floats, four at once; 16-bit patterns are in i32 lanes. */
import type { Push, VectorCode } from "../vector_code.ts";

const SIGN_16 = 0x8000;
const SIGN_32 = -0x80000000;
const INFINITY_16 = 0x7c00;
const INFINITY_32 = 0x7f800000;
/** The f32 bits of 2^-14, the smallest normal f16. */
const SMALLEST_NORMAL_16 = 0x38800000;
/** f32 exponents are biased by 112 more than f16's. */
const REBIAS = 112;
/** Its last place is 2^-24, that of subnormal f16: adding it rounds to one. */
const SUBNORMAL_ROUNDER = 0.5;

/** f32 from f16 bits, exactly. */
export function fromF16(code: VectorCode, bits: Push): void {
  code.scoped(() => {
    const { i32x4 } = code.f;
    const kept = code.keep(bits);
    const size = code.keep(code.and(kept, code.i32(SIGN_16 - 1)));
    // As f32 bits the exponent is too small by 112, also where it is 0: multiplying mends both.
    const finite = code.mul(code.shiftLeft(size, 13), code.f32(2 ** REBIAS));
    const special = code.apply(i32x4.ge_s, size, code.i32(INFINITY_16));
    const magnitude = code.or(finite, code.and(special, code.i32(INFINITY_32)));
    const sign = code.shiftLeft(code.and(kept, code.i32(SIGN_16)), 16);
    code.or(magnitude, sign)();
  });
}

/** f16 bits of f32, rounded to nearest even. */
export function toF16(code: VectorCode, value: Push): void {
  code.scoped(() => {
    const { i32x4 } = code.f;
    const kept = code.keep(value);
    const size = code.keep(code.and(kept, code.i32(0x7fffffff)));
    const normal = code.apply(
      i32x4.min_s,
      code.apply(
        i32x4.sub,
        code.shiftRight(roundedBits(code, size, 13), 13),
        code.i32(REBIAS << 10),
      ),
      code.i32(INFINITY_16),
    );
    const rounder = code.f32(SUBNORMAL_ROUNDER);
    const subnormal = code.apply(i32x4.sub, code.add(size, rounder), rounder);
    const isNormal = code.apply(i32x4.ge_s, size, code.i32(SMALLEST_NORMAL_16));
    const number = code.choose(isNormal, normal, subnormal);
    const isNumber = code.apply(i32x4.le_s, size, code.i32(INFINITY_32));
    const magnitude = code.choose(isNumber, number, code.i32(0x7e00));
    const sign = code.and(code.shiftRightUnsigned(kept, 16), code.i32(SIGN_16));
    code.or(magnitude, sign)();
  });
}

/** f32 from bf16 bits, exactly. */
export function fromBf16(code: VectorCode, bits: Push): void {
  code.shiftLeft(bits, 16)();
}

/** bf16 bits of f32, rounded to nearest even. */
export function toBf16(code: VectorCode, value: Push): void {
  code.shiftRightUnsigned(() => roundToBf16(code, value), 16)();
}

/** f32 rounded to the nearest bf16, as f32. */
export function roundToBf16(code: VectorCode, value: Push): void {
  code.scoped(() => {
    const kept = code.keep(value);
    const rounded = code.and(roundedBits(code, kept, 16), code.i32(-0x10000));
    const isNumber = code.apply(code.f.f32x4.eq, kept, kept);
    const sign = code.and(kept, code.i32(SIGN_32));
    code.choose(isNumber, rounded, code.or(sign, code.i32(0x7fc00000)))();
  });
}

/** f32 rounded to the nearest f16, as f32. */
export function roundToF16(code: VectorCode, value: Push): void {
  code.scoped(() => fromF16(code, code.keep(() => toF16(code, value))));
}

/** Bits of which the lower `dropped` are to be cut off, so that cutting rounds to nearest even. */
function roundedBits(code: VectorCode, bits: Push, dropped: number): Push {
  const { i32x4 } = code.f;
  const odd = code.and(code.shiftRightUnsigned(bits, dropped), code.i32(1));
  const half = code.i32((1 << (dropped - 1)) - 1);
  return code.apply(i32x4.add, code.apply(i32x4.add, bits, half), odd);
}
