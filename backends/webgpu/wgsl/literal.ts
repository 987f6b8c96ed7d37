/** Constants as WGSL text. */
import type { ScalarType } from "../../../compiler/loop_ir.ts";

/** The f32 nearest to the number, as a literal; not for NaN and infinity, which WGSL has none of. */
export function f32Literal(value: number): string {
  const rounded = Math.fround(value);
  if (!Number.isFinite(rounded)) throw new RangeError(`WGSL has no literal for ${value}`);
  if (Object.is(rounded, -0)) return "bitcast<f32>(0x80000000u)";
  const short = Number(rounded.toPrecision(9));
  const digits = String(Math.fround(short) === rounded ? short : rounded).replace("+", "");
  const text = /[.e]/.test(digits) ? digits : `${digits}.0`;
  return rounded < 0 ? `(${text})` : text;
}

/** A constant of a type; NaN and infinity are calls of the library's functions. */
export function literal(type: ScalarType, value: number): string {
  switch (type) {
    case "bool":
      return value === 0 ? "false" : "true";
    case "u32":
      return `${value >>> 0}u`;
    case "i32": {
      const whole = value | 0;
      if (whole === -(2 ** 31)) return "i32(-2147483648)";
      return whole < 0 ? `(${whole})` : String(whole);
    }
    case "f32":
      return f32Literal(value);
  }
}
