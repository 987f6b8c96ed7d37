/** Loads and stores of storage types, as the values that arithmetic sees. */
import { type DType, isHalf } from "../../../graph/dtype.ts";
import type { ScalarType } from "../../../compiler/loop_ir.ts";
import type { Push, VectorCode } from "../vector_code.ts";
import { fromBf16, fromF16, toBf16, toF16 } from "./half_floats.ts";

/** Pushes the scalar at `address + offset`. */
export function loadScalar(code: VectorCode, dtype: DType, address: Push, offset: number): void {
  const { f } = code;
  address();
  if (dtype === "f32") return f.f32.load(offset);
  if (!isHalf(dtype)) return f.i32.load(offset);
  f.i32.load16_u(offset);
  f.i32x4.splat();
  const bits = code.keep(() => {});
  widen(code, dtype, bits);
  f.f32x4.extract_lane(0);
}

/** Stores a scalar at `address + offset`. */
export function storeScalar(
  code: VectorCode,
  dtype: DType,
  address: Push,
  offset: number,
  value: Push,
): void {
  const { f } = code;
  address();
  if (isHalf(dtype)) {
    const wide = code.keep(code.apply(f.f32x4.splat, value));
    narrow(code, dtype, wide);
    f.i32x4.extract_lane(0);
    f.i32.store16(offset);
    return;
  }
  value();
  if (dtype === "f32") f.f32.store(offset);
  else f.i32.store(offset);
}

/** Pushes the four neighbouring elements from `address + offset` on; bools as masks. */
export function loadVector(code: VectorCode, dtype: DType, address: Push, offset: number): void {
  const { f } = code;
  if (isHalf(dtype)) {
    const bits = code.keep(() => {
      address();
      f.v128.load16x4_u(offset, 2);
    });
    widen(code, dtype, bits);
    return;
  }
  address();
  f.v128.load(offset, 4);
  if (dtype === "bool") maskFromBool(code);
}

/** Stores four neighbouring elements from `address + offset` on. */
export function storeVector(
  code: VectorCode,
  dtype: DType,
  address: Push,
  offset: number,
  value: Push,
): void {
  const { f } = code;
  address();
  if (isHalf(dtype)) {
    narrow(code, dtype, code.keep(value));
    const bits = code.keep(() => {});
    code.apply(f.i16x8.narrow_i32x4_u, bits, bits)();
    f.v128.store64_lane(0, offset, 2);
    return;
  }
  value();
  if (dtype === "bool") boolFromMask(code);
  f.v128.store(offset, 4);
}

/** Turns the 0 or 1 in every lane on the stack into a mask. */
export function maskFromBool(code: VectorCode): void {
  code.i32(0)();
  code.f.i32x4.ne();
}

/** Turns the mask on the stack into 0 or 1 in every lane. */
export function boolFromMask(code: VectorCode): void {
  code.i32(1)();
  code.f.v128.and();
}

/** Pushes the lane of a vector as a scalar of the type. */
export function extractLane(code: VectorCode, type: ScalarType, value: Push, lane: number): void {
  const { f } = code;
  value();
  if (type === "f32") return f.f32x4.extract_lane(lane);
  f.i32x4.extract_lane(lane);
  if (type !== "bool") return;
  f.i32.const(1);
  f.i32.and();
}

/** Replaces a lane of the vector on the stack by the scalar. */
export function replaceLane(code: VectorCode, type: ScalarType, lane: number, value: Push): void {
  const { f } = code;
  if (type === "bool") f.i32.const(0);
  value();
  if (type === "f32") return f.f32x4.replace_lane(lane);
  if (type === "bool") f.i32.sub();
  f.i32x4.replace_lane(lane);
}

/** Pushes four equal lanes of a scalar; bools become masks. */
export function splat(code: VectorCode, type: ScalarType, value: Push): void {
  const { f } = code;
  value();
  if (type === "f32") return f.f32x4.splat();
  f.i32x4.splat();
  if (type === "bool") f.i32x4.neg();
}

function widen(code: VectorCode, dtype: "f16" | "bf16", bits: Push): void {
  if (dtype === "f16") fromF16(code, bits);
  else fromBf16(code, bits);
}

function narrow(code: VectorCode, dtype: "f16" | "bf16", value: Push): void {
  if (dtype === "f16") toF16(code, value);
  else toBf16(code, value);
}
