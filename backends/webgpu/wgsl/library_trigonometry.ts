/** Sine and cosine, at most some 2 ulp off for every finite angle. */
import { COS, SIN } from "../../math/coefficients.ts";
import { polynomial } from "./library_exponential.ts";
import type { LibraryFunction } from "./library.ts";
import { f32Literal } from "./literal.ts";

/** pi/2 in parts of at most 11 bits and a rest: a product with a number of 13 bits is exact. */
const HALF_PI_PARTS = [2 ** 10, 2 ** 22, 2 ** 33].reduce<{ parts: number[]; rest: number }>(
  ({ parts, rest }, scale) => {
    const part = Math.trunc(rest * scale) / scale;
    return { parts: [...parts, part], rest: rest - part };
  },
  { parts: [], rest: Math.PI / 2 },
);

/** What f64 leaves of pi/2. */
const HALF_PI_BEYOND = 6.123233995736766e-17;

/** Larger angles have more quarter turns than 13 bits count. */
const LARGEST_PLAIN = 8192;

/** A word of zeros, then the first 224 binary digits of 2/pi. */
const TWO_OVER_PI = [
  0x00000000,
  0xa2f9836e,
  0x4e441529,
  0xfc2757d1,
  0xf534ddc0,
  0xdb629599,
  0x3c439041,
  0xfe5163ab,
];

function subtractParts(): string {
  const parts = [...HALF_PI_PARTS.parts, HALF_PI_PARTS.rest + HALF_PI_BEYOND];
  return parts.reduce((angle, part) => `(${angle} - n * ${f32Literal(part)})`, "x");
}

/** The functions by name. */
export const TRIGONOMETRIC_FUNCTIONS: Readonly<Record<string, LibraryFunction>> = {
  ReducedAngle: {
    needs: [],
    text: "// An angle is `quarters` quarter turns and `rest`, at most an eighth of a turn.\n" +
      "struct ReducedAngle { quarters: i32, rest: f32 }",
  },
  wide_product: {
    needs: [],
    text: `// The high word of a * b.
fn wide_product(a: u32, b: u32) -> u32 {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let first = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let second = (a & 0xffffu) * (b >> 16u) + (first & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (first >> 16u) + (second >> 16u);
}`,
  },
  two_over_pi: {
    needs: [],
    text: `const two_over_pi = array<u32, ${TWO_OVER_PI.length}>(${
      TWO_OVER_PI.map((word) => `${word}u`).join(", ")
    });
fn digits_of_two_over_pi(offset: u32) -> u32 {
  var digits = two_over_pi;
  let word = offset >> 5u;
  let shift = offset & 31u;
  let next = select(digits[word + 1u] >> (32u - shift), 0u, shift == 0u);
  return (digits[word] << shift) | next;
}`,
  },
  reduce_large_angle: {
    needs: ["ReducedAngle", "wide_product", "two_over_pi"],
    text: `// Payne and Hanek 1983: only those digits of 2/pi that matter modulo four quarter turns.
fn reduce_large_angle(x: f32) -> ReducedAngle {
  let bits = bitcast<u32>(x);
  let mantissa = (bits & 0x007fffffu) | 0x00800000u;
  // The angle is mantissa * 2^(exponent - 150); the first digit that matters is 2 places up.
  let offset = ((bits >> 23u) & 0xffu) - 150u + 30u;
  let p0 = digits_of_two_over_pi(offset);
  let p1 = digits_of_two_over_pi(offset + 32u);
  let p2 = digits_of_two_over_pi(offset + 64u);
  let low1 = wide_product(mantissa, p2);
  let middle = mantissa * p1 + low1;
  let carry = select(0u, 1u, middle < low1);
  let high = mantissa * p0 + wide_product(mantissa, p1) + carry;
  // Two digits of whole quarter turns, then the fraction.
  let quarters = (high + 0x20000000u) >> 30u;
  var top = (high << 2u) | (middle >> 30u);
  var below = middle << 2u;
  let negative = (top >> 31u) == 1u;
  if (negative) {
    below = ~below + 1u;
    top = ~top + select(0u, 1u, below == 0u);
  }
  let lead = countLeadingZeros(top);
  let rest = select(below, (top << lead) | (below >> ((32u - lead) & 31u)), lead < 32u);
  let shifted = select(rest, top, lead == 0u);
  let fraction = f32(shifted) * bitcast<f32>((127u - 32u - min(lead, 32u)) << 23u);
  let angle = select(fraction, -fraction, negative) * ${f32Literal(Math.PI / 2)};
  if (x < 0.0) { return ReducedAngle(-i32(quarters), -angle); }
  return ReducedAngle(i32(quarters), angle);
}`,
  },
  reduce_angle: {
    needs: ["reduce_large_angle"],
    text: `fn reduce_angle(x: f32) -> ReducedAngle {
  if (abs(x) > ${f32Literal(LARGEST_PLAIN)}) { return reduce_large_angle(x); }
  let n = round(x * ${f32Literal(2 / Math.PI)});
  return ReducedAngle(i32(n), ${subtractParts()});
}`,
  },
  circular: {
    needs: ["reduce_angle", "nan_f32"],
    text: `fn circular(x: f32, quarter_turns: i32) -> f32 {
  if ((bitcast<u32>(x) & 0x7fffffffu) >= 0x7f800000u) { return nan_f32(); }
  let reduced = reduce_angle(x);
  let r = reduced.rest;
  let square = r * r;
  let turned = reduced.quarters + quarter_turns;
  let sine = r + r * square * ${polynomial("square", SIN)};
  let cosine = ${polynomial("square", [1, -0.5, ...COS])};
  let value = select(sine, cosine, (turned & 1) != 0);
  return select(value, -value, (turned & 2) != 0);
}`,
  },
  sin_f32: {
    needs: ["circular"],
    text: "fn sin_f32(x: f32) -> f32 { return circular(x, 0); }",
  },
  cos_f32: {
    needs: ["circular"],
    text: "fn cos_f32(x: f32) -> f32 { return circular(x, 1); }",
  },
};
