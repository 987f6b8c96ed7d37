/**
 * Functions that generated kernels call. WGSL leaves open how exact its own are (exp may be off by
 * hundreds of ulp, what `max` makes of NaN is anyone's guess), so these are written out here.
 */
import { HALF_FLOAT_FUNCTIONS } from "./library_half_floats.ts";
import { EXPONENTIAL_FUNCTIONS } from "./library_exponential.ts";
import { LOGARITHM_FUNCTIONS } from "./library_logarithm.ts";
import { TRIGONOMETRIC_FUNCTIONS } from "./library_trigonometry.ts";
import { WHOLE_FUNCTIONS } from "./library_whole.ts";

/** A declaration of WGSL and the names of the others that it needs. */
export interface LibraryFunction {
  readonly needs: readonly string[];
  readonly text: string;
}

const FUNCTIONS: Readonly<Record<string, LibraryFunction>> = {
  nan_bits: { needs: [], text: "var<private> nan_bits: u32 = 0x7fc00000u;" },
  infinity_bits: { needs: [], text: "var<private> infinity_bits: u32 = 0x7f800000u;" },
  nan_f32: {
    needs: ["nan_bits"],
    text: "fn nan_f32() -> f32 { return bitcast<f32>(nan_bits); }",
  },
  infinity_f32: {
    needs: ["infinity_bits"],
    text: "fn infinity_f32() -> f32 { return bitcast<f32>(infinity_bits); }",
  },
  is_nan: {
    needs: [],
    text: "fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }",
  },
  with_sign_of: {
    needs: [],
    // Not by the sign's bit: where x is known not to be negative, Mesa 22 takes that for a mask.
    text: `fn with_sign_of(size: f32, x: f32) -> f32 {
  return select(abs(size), -abs(size), x < 0.0);
}`,
  },
  max_f32: {
    needs: ["is_nan"],
    text: `fn max_f32(a: f32, b: f32) -> f32 {
  return select(select(max(a, b), b, is_nan(b)), a, is_nan(a));
}`,
  },
  min_f32: {
    needs: ["is_nan"],
    text: `fn min_f32(a: f32, b: f32) -> f32 {
  return select(select(min(a, b), b, is_nan(b)), a, is_nan(a));
}`,
  },
  sign_f32: {
    needs: [],
    text: `fn sign_f32(x: f32) -> f32 {
  return select(select(x, -1.0, x < 0.0), 1.0, x > 0.0);
}`,
  },
  ...WHOLE_FUNCTIONS,
  ...HALF_FLOAT_FUNCTIONS,
  ...EXPONENTIAL_FUNCTIONS,
  ...LOGARITHM_FUNCTIONS,
  ...TRIGONOMETRIC_FUNCTIONS,
};

/** Name of the binding that an audit of rounding writes to. */
export const AUDIT_WORD = "largest_before_rounding";

/** Bits of magnitudes are ordered as the magnitudes are, NaN above all. */
const AUDITED = `fn audited(x: f32) -> f32 {
  atomicMax(&${AUDIT_WORD}[0], bitcast<u32>(x) & 0x7fffffffu);
  return x;
}`;

/** The library's functions that one module uses. */
export class Library {
  readonly #used = new Set<string>();
  readonly #audits: boolean;

  /** @param audits Whether roundings to 16 bits say what they round. */
  constructor(audits = false) {
    this.#audits = audits;
  }

  /** A number rounded to what a type of 16 bits can hold. */
  rounded(storage: "f16" | "bf16", value: string): string {
    const round = this.use(`round_to_${storage}`);
    return this.#audits ? `${round}(audited(${value}))` : `${round}(${value})`;
  }

  /** The function's name, for a call. */
  use(name: string): string {
    if (this.#used.has(name)) return name;
    const found = FUNCTIONS[name];
    if (found === undefined) throw new TypeError(`The WGSL library has no function ${name}`);
    for (const needed of found.needs) this.use(needed);
    this.#used.add(name);
    return name;
  }

  /** The declarations, each after what it needs. */
  text(): string[] {
    const used = [...this.#used].map((name) => FUNCTIONS[name]?.text ?? "");
    return this.#audits ? [AUDITED, ...used] : used;
  }
}
