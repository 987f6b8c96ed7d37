/**
 * Element types. Arithmetic is done in `f32`, `i32`, `u32` and `bool`; `f16` and `bf16` are storage
 * types, reached by a cast, whose arithmetic is f32 with one rounding on the way back.
 */

/** Every element type a tensor may have. */
export type DType = "f32" | "f16" | "bf16" | "i32" | "u32" | "bool";

/** Element types with a fraction: the ones a gradient flows through. */
export type FloatDType = "f32" | "f16" | "bf16";

/** Element types that count. */
export type IntegerDType = "i32" | "u32";

/** All element types, in a fixed order. */
export const DTYPES: readonly DType[] = ["f32", "f16", "bf16", "i32", "u32", "bool"];

const BYTES: Readonly<Record<DType, number>> = { f32: 4, f16: 2, bf16: 2, i32: 4, u32: 4, bool: 4 };

/** Bytes of one element in a program's arena. A `bool` is a 32-bit word there: 0 or 1. */
export function bytesPerElement(dtype: DType): number {
  return BYTES[dtype];
}

/** Whether a gradient can flow through this element type. */
export function isFloat(dtype: DType): dtype is FloatDType {
  return dtype === "f32" || dtype === "f16" || dtype === "bf16";
}

/** Whether an element has 16 bits. */
export function isHalf(dtype: DType): dtype is "f16" | "bf16" {
  return dtype === "f16" || dtype === "bf16";
}

/** Whether the element type is a whole number. */
export function isInteger(dtype: DType): dtype is IntegerDType {
  return dtype === "i32" || dtype === "u32";
}
