/** How values of each element type lie in typed arrays, and the rounding of the 16-bit floats. */
import type { DType } from "../../graph/dtype.ts";
import { roundToFormat } from "../../graph/ops/special.ts";

/**
 * A buffer's memory. `f16` and `bf16` are bit patterns in a `Uint16Array`, `bool` is 0 or 1 in any
 * 32-bit array. A `Float64Array` holds the values of any type unrounded.
 */
export type BufferData = Float32Array | Float64Array | Int32Array | Uint32Array | Uint16Array;

const FLOAT = new Float32Array(1);
const BITS = new Uint32Array(FLOAT.buffer);

/** The 32 bits of `value` rounded to f32. */
export function floatBits(value: number): number {
  FLOAT[0] = value;
  return BITS[0] ?? 0;
}

/** The f32 with these 32 bits. */
export function floatFromBits(bits: number): number {
  BITS[0] = bits;
  return FLOAT[0] ?? 0;
}

/** f32 `value` rounded to the nearest (ties to even) value of a 16-bit storage type. */
export function roundToStorage(value: number, storage: "f16" | "bf16"): number {
  return roundToFormat(Math.fround(value), storage);
}

/** The bf16 bit pattern nearest to `value`; every NaN becomes the quiet one of its sign. */
export function bf16Bits(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0;
  return floatBits(roundToStorage(value, "bf16")) >>> 16;
}

/** The value of a bf16 bit pattern. */
export function bf16Value(bits: number): number {
  return floatFromBits((bits << 16) >>> 0);
}

/** The IEEE half precision bit pattern nearest to `value`. */
export function f16Bits(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const rounded = roundToStorage(value, "f16");
  const sign = Object.is(rounded, -0) || rounded < 0 ? 0x8000 : 0;
  const magnitude = Math.abs(rounded);
  if (magnitude === Infinity) return sign | 0x7c00;
  if (magnitude < 2 ** -14) return sign | Math.round(magnitude * 2 ** 24);
  const exponent = Math.floor(Math.log2(magnitude));
  const fraction = Math.round((magnitude / 2 ** exponent - 1) * 1024);
  return sign | ((exponent + 15) << 10) | fraction;
}

/** The value of an IEEE half precision bit pattern. */
export function f16Value(bits: number): number {
  const sign = (bits & 0x8000) === 0 ? 1 : -1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Reads element `index` as the number that arithmetic sees. */
export function readElement(data: BufferData, dtype: DType, index: number): number {
  const raw = data[index] ?? NaN;
  if (!(data instanceof Uint16Array)) return raw;
  return dtype === "f16" ? f16Value(raw) : bf16Value(raw);
}

/** Writes element `index`, rounding to the storage type. */
export function writeElement(data: BufferData, dtype: DType, index: number, value: number): void {
  if (data instanceof Uint16Array) {
    data[index] = dtype === "f16" ? f16Bits(value) : bf16Bits(value);
  } else {
    data[index] = value;
  }
}

/** Fresh memory, all zeros, in which f32 arithmetic is not rounded. */
export function scratchData(dtype: DType, elements: number): BufferData {
  switch (dtype) {
    case "f32":
      return new Float64Array(elements);
    case "f16":
    case "bf16":
      return new Uint16Array(elements);
    case "i32":
      return new Int32Array(elements);
    case "u32":
    case "bool":
      return new Uint32Array(elements);
  }
}
