/** f16 and bf16 by bit operations. */
import type { LibraryFunction } from "./library.ts";

/**
 * Conversions between f32 and the low 16 bits of a word; rounding is to nearest, ties to even. No step
 * makes a subnormal f32, which a GPU may flush to zero.
 */
export const HALF_FLOAT_FUNCTIONS: Readonly<Record<string, LibraryFunction>> = {
  from_f16: {
    needs: [],
    text: `fn from_f16(bits: u32) -> f32 {
  let size = bits & 0x7fffu;
  let sign = (bits & 0x8000u) << 16u;
  if (size < 0x0400u) { return bitcast<f32>(bitcast<u32>(f32(size) * 5.9604645e-8) | sign); }
  let exponent = select(0x38000000u, 0x70000000u, size >= 0x7c00u);
  return bitcast<f32>(((size << 13u) + exponent) | sign);
}`,
  },
  to_f16: {
    needs: [],
    text: `fn to_f16(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let size = bits & 0x7fffffffu;
  let sign = (bits >> 16u) & 0x8000u;
  if (size > 0x7f800000u) { return sign | 0x7e00u; }
  if (size < 0x38800000u) { return sign | u32(round(bitcast<f32>(size) * 16777216.0)); }
  let rounded = (size + 0x0fffu + ((size >> 13u) & 1u)) >> 13u;
  return sign | min(rounded - 0x1c000u, 0x7c00u);
}`,
  },
  round_to_f16: {
    needs: ["from_f16", "to_f16"],
    text: "fn round_to_f16(x: f32) -> f32 { return from_f16(to_f16(x)); }",
  },
  from_bf16: {
    needs: [],
    text: "fn from_bf16(bits: u32) -> f32 { return bitcast<f32>(bits << 16u); }",
  },
  four_from_f16: { needs: ["from_f16"], text: fourFrom("f16") },
  four_from_bf16: { needs: ["from_bf16"], text: fourFrom("bf16") },
  to_bf16: {
    needs: [],
    text: `fn to_bf16(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return (bits >> 16u) | 0x0040u; }
  return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}`,
  },
  round_to_bf16: {
    needs: ["from_bf16", "to_bf16"],
    text: "fn round_to_bf16(x: f32) -> f32 { return from_bf16(to_bf16(x)); }",
  },
};

/** Four numbers that lie in two words. */
function fourFrom(storage: "f16" | "bf16"): string {
  const halves = ["x", "y"].flatMap((word) => [`words.${word} & 0xffffu`, `words.${word} >> 16u`]);
  return [
    `fn four_from_${storage}(words: vec2<u32>) -> vec4<f32> {`,
    "  return vec4<f32>(",
    ...halves.map((bits) => `    from_${storage}(${bits}),`),
    "  );",
    "}",
  ].join("\n");
}
