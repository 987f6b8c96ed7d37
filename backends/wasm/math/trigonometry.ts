/** Sine and cosine of four f32 at once. */
import type { FunctionBuilder, ModuleBuilder } from "../encoder.ts";
import type { Push, VectorCode } from "../vector_code.ts";
import { COS, SIN } from "../../math/coefficients.ts";

/** Up to here `n * pi/2` is subtracted in f64; beyond, bits of 2/pi are multiplied (Payne and Hanek). */
const LARGEST_FOR_F64 = 2 ** 20;
/** Adding it to an f64 rounds to a whole number, which is then in the low bits. */
const ROUND = 1.5 * 2 ** 52;
/** pi/2 to 33 bits: its product with a whole number below 2^20 is exact. */
const HALF_PI_HIGH = Math.round(Math.PI / 2 * 2 ** 32) / 2 ** 32;

const FRACTION_BITS = 320n;

/** arctan(1/k) in units of 2^-320. */
function arctanInverse(k: bigint): bigint {
  let power = (1n << FRACTION_BITS) / k;
  let sum = power;
  for (let n = 3n, sign = -1n; power > 0n; n += 2n, sign = -sign) {
    power /= k * k;
    sum += sign * power / n;
  }
  return sum;
}

/** pi in units of 2^-320, by Machin's formula. */
const PI = 4n * (4n * arctanInverse(5n) - arctanInverse(239n));

/** What pi/2 is more than {@linkcode HALF_PI_HIGH}. */
const HALF_PI_LOW = Number((PI >> 1n) - BigInt(HALF_PI_HIGH * 2 ** 32) * (1n << 288n)) / 2 ** 320;

/** 32 zero bits, then the first bits of 2/pi, in words of 32. */
const TWO_OVER_PI = Array.from({ length: 8 }, (_, word) => {
  const bits = (2n << (2n * FRACTION_BITS)) / PI;
  return bits >> (FRACTION_BITS - 32n * BigInt(word)) & 0xffffffffn;
});

function twoOverPiWord(module: ModuleBuilder): number {
  return module.once("math.twoOverPiWord", () => {
    const f = module.function("two over pi", { params: ["i32"], results: ["i64"] });
    TWO_OVER_PI.forEach((word, index) => {
      f.get(f.param(0));
      f.i32.const(index);
      f.i32.eq();
      f.if(() => {
        f.i64.const(word);
        f.return();
      });
    });
    f.unreachable();
    return f.index;
  });
}

/**
 * `x -> (n, r)` with `x = n pi/2 + r`, `|r| <= pi/4` and n modulo 4, for a finite f32 of any size
 * above 2^20. With `x = m 2^e`, three words of 2/pi from the bit of weight 2^(1-e) on, times m,
 * are x * 2/pi modulo 4 to 62 bits after the point.
 */
function reduceLarge(module: ModuleBuilder): number {
  return module.once("math.reduceLarge", () => {
    const wordAt = twoOverPiWord(module);
    const f = module.function("reduce large angle", { params: ["f32"], results: ["i32", "f32"] });
    const bits = f.local("i32");
    const position = f.local("i32");
    const mantissa = f.local("i64");
    const product = f.local("i64");
    const quadrant = f.local("i64");
    f.get(f.param(0));
    f.i32.reinterpret_f32();
    f.tee(bits);
    f.i32.const(0x7fffff);
    f.i32.and();
    f.i32.const(0x800000);
    f.i32.or();
    f.i64.extend_i32_u();
    f.set(mantissa);
    f.get(bits);
    f.i32.const(23);
    f.i32.shr_u();
    f.i32.const(0xff);
    f.i32.and();
    f.i32.const(150 - 30);
    f.i32.sub();
    f.set(position);
    const pushWord = (word: number): void => pushWindow(f, wordAt, position, word);
    f.get(mantissa);
    pushWord(0);
    f.i64.mul();
    f.i64.const(32n);
    f.i64.shl();
    f.get(mantissa);
    pushWord(1);
    f.i64.mul();
    f.i64.add();
    f.get(mantissa);
    pushWord(2);
    f.i64.mul();
    f.i64.const(32n);
    f.i64.shr_u();
    f.i64.add();
    f.tee(product);
    f.i64.const(1n << 61n);
    f.i64.add();
    f.i64.const(62n);
    f.i64.shr_u();
    f.set(quadrant);
    f.get(product);
    f.get(quadrant);
    f.i64.const(62n);
    f.i64.shl();
    f.i64.sub();
    f.f64.convert_i64_s();
    f.f64.const(Math.PI / 2 * 2 ** -62);
    f.f64.mul();
    pushSigned(f, bits, quadrant);
    return f.index;
  });
}

/** From |x|'s quadrant and the f64 remainder on the stack to x's, as i32 and f32. */
function pushSigned(
  f: FunctionBuilder,
  bits: ReturnType<FunctionBuilder["local"]>,
  quadrant: ReturnType<FunctionBuilder["local"]>,
): void {
  const remainder = f.local("f32");
  const negative = f.local("i32");
  f.f32.demote_f64();
  f.set(remainder);
  f.get(bits);
  f.i32.const(0);
  f.i32.lt_s();
  f.set(negative);
  f.i32.const(0);
  f.get(quadrant);
  f.i32.wrap_i64();
  f.i32.sub();
  f.get(quadrant);
  f.i32.wrap_i64();
  f.get(negative);
  f.select("i32");
  f.get(remainder);
  f.f32.neg();
  f.get(remainder);
  f.get(negative);
  f.select("f32");
}

/** The 32 bits of 2/pi from bit `position + 32 * word` on. */
function pushWindow(
  f: FunctionBuilder,
  wordAt: number,
  position: ReturnType<FunctionBuilder["local"]>,
  word: number,
): void {
  const pushTable = (offset: number): void => {
    f.get(position);
    f.i32.const(5);
    f.i32.shr_u();
    f.i32.const(word + offset);
    f.i32.add();
    f.call(wordAt);
  };
  pushTable(0);
  f.i64.const(32n);
  f.i64.shl();
  pushTable(1);
  f.i64.or();
  f.get(position);
  f.i32.const(31);
  f.i32.and();
  f.i64.extend_i32_u();
  f.i64.shl();
  f.i64.const(32n);
  f.i64.shr_u();
}

/** Quadrants (i32x4, modulo 4) and remainders of four angles. */
function reduce(code: VectorCode, module: ModuleBuilder, x: Push): { n: Push; r: Push } {
  const { f } = code;
  const half = (wide: Push): { n: Push; r: Push } => {
    const angle = code.keep(wide);
    const shifted = code.keep(code.apply(
      f.f64x2.add,
      code.apply(f.f64x2.mul, angle, code.f64(2 / Math.PI)),
      code.f64(ROUND),
    ));
    const n = code.keep(code.apply(f.f64x2.sub, shifted, code.f64(ROUND)));
    const minus = (from: Push, part: number) =>
      code.apply(f.f64x2.sub, from, code.apply(f.f64x2.mul, n, code.f64(part)));
    const r = code.apply(
      f.f32x4.demote_f64x2_zero,
      minus(minus(angle, HALF_PI_HIGH), HALF_PI_LOW),
    );
    return { n: shifted, r: code.keep(r) };
  };
  const low = half(code.apply(f.f64x2.promote_low_f32x4, x));
  const upper = code.apply(() => f.i32x4.shuffle([2, 3, 2, 3]), x, x);
  const high = half(code.apply(f.f64x2.promote_low_f32x4, upper));
  const n = f.local("v128");
  const r = f.local("v128");
  code.apply(() => f.i32x4.shuffle([0, 2, 4, 6]), low.n, high.n)();
  f.set(n);
  code.apply(() => f.i32x4.shuffle([0, 1, 4, 5]), low.r, high.r)();
  f.set(r);
  reduceLargeLanes(code, module, x, n, r);
  return { n: () => f.get(n), r: () => f.get(r) };
}

function reduceLargeLanes(
  code: VectorCode,
  module: ModuleBuilder,
  x: Push,
  n: ReturnType<FunctionBuilder["local"]>,
  r: ReturnType<FunctionBuilder["local"]>,
): void {
  const { f } = code;
  const size = code.keep(code.apply(f.f32x4.abs, x));
  const beyond = code.keep(code.and(
    code.apply(f.f32x4.gt, size, code.f32(LARGEST_FOR_F64)),
    code.apply(f.f32x4.lt, size, code.f32(Infinity)),
  ));
  const remainder = code.temporary("f32");
  const quadrant = code.temporary("i32");
  const reduceOne = reduceLarge(module);
  beyond();
  f.v128.any_true();
  f.if(() => {
    for (let lane = 0; lane < 4; lane++) {
      beyond();
      f.i32x4.extract_lane(lane);
      f.if(() => {
        x();
        f.f32x4.extract_lane(lane);
        f.call(reduceOne);
        f.set(remainder);
        f.set(quadrant);
        f.get(n);
        f.get(quadrant);
        f.i32x4.replace_lane(lane);
        f.set(n);
        f.get(r);
        f.get(remainder);
        f.f32x4.replace_lane(lane);
        f.set(r);
      });
    }
  });
}

function circular(code: VectorCode, module: ModuleBuilder, x: Push, quarterTurns: 0 | 1): void {
  const { f } = code;
  code.scoped(() => {
    const kept = code.keep(x);
    const { n, r } = reduce(code, module, kept);
    const turned = code.keep(code.apply(f.i32x4.add, n, code.i32(quarterTurns)));
    const square = code.keep(code.mul(r, r));
    const sine = code.keep(
      code.multiplyAdd(code.mul(square, code.polynomial(square, SIN)), r, r),
    );
    const cosine = code.keep(code.polynomial(square, [1, -0.5, ...COS]));
    const odd = code.apply(f.i32x4.ne, code.and(turned, code.i32(1)), code.i32(0));
    const sign = code.shiftLeft(code.and(turned, code.i32(2)), 30);
    const value = code.keep(code.xor(code.choose(odd, cosine, sine), sign));
    // An infinite angle's remainder is NaN already, but its quadrant's polynomial need not be.
    const finite = code.apply(
      f.f32x4.lt,
      code.apply(f.f32x4.abs, kept),
      code.f32(Infinity),
    );
    code.choose(finite, value, code.f32(NaN))();
  });
}

/** Pushes `sin(x)`, at most 2 ulp off for every finite x; NaN of infinity. */
export function sin(code: VectorCode, module: ModuleBuilder, x: Push): void {
  code.scoped(() => {
    const kept = code.keep(x);
    const zero = code.apply(code.f.f32x4.eq, kept, code.f32(0));
    // The polynomial loses the sign of -0.
    code.choose(zero, kept, () => circular(code, module, kept, 0))();
  });
}

/** Pushes `cos(x)`, at most 2 ulp off for every finite x; NaN of infinity. */
export function cos(code: VectorCode, module: ModuleBuilder, x: Push): void {
  circular(code, module, x, 1);
}
