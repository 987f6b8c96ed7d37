/** Vector expressions over a function builder: nested calls instead of a stack. */
import type { FunctionBuilder, Local, ValueType } from "./encoder.ts";

/** Emits code that pushes one value. Pushing it twice evaluates it twice. */
export type Push = () => void;

/**
 * Writes vector arithmetic into a function.
 *
 * Constants are made once, at the function's start, and live in locals: V8 builds a vector constant
 * from four instructions wherever it stands, which made `exp` three times slower in a loop.
 */
export class VectorCode {
  readonly f: FunctionBuilder;
  /** Whether relaxed SIMD (fused multiply-add) may be used. */
  readonly relaxedSimd: boolean;
  readonly #constants = new Map<string, Local>();
  readonly #free = new Map<ValueType, Local[]>();
  #scope: Local[] = [];

  constructor(f: FunctionBuilder, relaxedSimd: boolean) {
    this.f = f;
    this.relaxedSimd = relaxedSimd;
  }

  /** A local for the current scope. */
  temporary(type: ValueType): Local {
    const local = this.#free.get(type)?.pop() ?? this.f.local(type);
    this.#scope.push(local);
    return local;
  }

  /** Emits `body`, after which the temporaries made in it may be used for other things. */
  scoped<T>(body: () => T): T {
    const outer = this.#scope;
    this.#scope = [];
    const result = body();
    for (const local of this.#scope) {
      const free = this.#free.get(local.type) ?? [];
      free.push(local);
      this.#free.set(local.type, free);
    }
    this.#scope = outer;
    return result;
  }

  /** Evaluates now, once. */
  keep(value: Push, type: ValueType = "v128"): Push {
    value();
    const local = this.temporary(type);
    this.f.set(local);
    return () => this.f.get(local);
  }

  /** Four equal f32. */
  f32(value: number): Push {
    return this.#constant(`f${Object.is(value, -0) ? "-0" : value}`, () => {
      this.f.f32x4.constSplat(value);
    });
  }

  /** Four equal i32. */
  i32(value: number): Push {
    return this.#constant(`i${value}`, () => this.f.i32x4.constSplat(value));
  }

  /** Four i32. */
  lanes(values: readonly [number, number, number, number]): Push {
    return this.#constant(`v${values.join()}`, () => {
      this.f.v128.const(new Uint8Array(new Int32Array(values).buffer));
    });
  }

  /** Two equal f64. */
  f64(value: number): Push {
    return this.#constant(`d${value}`, () => {
      this.f.v128.const(new Uint8Array(new Float64Array([value, value]).buffer));
    });
  }

  /** Two equal i64. */
  i64(value: bigint): Push {
    return this.#constant(`l${value}`, () => {
      this.f.v128.const(new Uint8Array(new BigInt64Array([value, value]).buffer));
    });
  }

  /** An instruction on operands. */
  apply(instruction: () => void, ...operands: readonly Push[]): Push {
    return () => {
      for (const operand of operands) operand();
      instruction();
    };
  }

  add(a: Push, b: Push): Push {
    return this.apply(this.f.f32x4.add, a, b);
  }

  sub(a: Push, b: Push): Push {
    return this.apply(this.f.f32x4.sub, a, b);
  }

  mul(a: Push, b: Push): Push {
    return this.apply(this.f.f32x4.mul, a, b);
  }

  div(a: Push, b: Push): Push {
    return this.apply(this.f.f32x4.div, a, b);
  }

  /** `a * b + c`, fused where relaxed SIMD allows it and the machine can. */
  multiplyAdd(a: Push, b: Push, c: Push): Push {
    return this.relaxedSimd
      ? this.apply(this.f.f32x4.relaxed_madd, a, b, c)
      : this.add(this.mul(a, b), c);
  }

  /** `c - a * b`, fused where relaxed SIMD allows it and the machine can. */
  subtractProduct(c: Push, a: Push, b: Push): Push {
    return this.relaxedSimd
      ? this.apply(this.f.f32x4.relaxed_nmadd, a, b, c)
      : this.sub(c, this.mul(a, b));
  }

  /** The smaller; `x` if it is NaN. One instruction, unlike `f32x4.min`. */
  atMost(x: Push, limit: number): Push {
    return this.apply(this.f.f32x4.pmin, x, this.f32(limit));
  }

  /** The larger; `x` if it is NaN. */
  atLeast(x: Push, limit: number): Push {
    return this.apply(this.f.f32x4.pmax, x, this.f32(limit));
  }

  and(a: Push, b: Push): Push {
    return this.apply(this.f.v128.and, a, b);
  }

  or(a: Push, b: Push): Push {
    return this.apply(this.f.v128.or, a, b);
  }

  xor(a: Push, b: Push): Push {
    return this.apply(this.f.v128.xor, a, b);
  }

  /** Bits of `a` where `mask` is set, else of `b`. */
  choose(mask: Push, a: Push, b: Push): Push {
    return this.apply(this.f.v128.bitselect, a, b, mask);
  }

  /** A polynomial in `x`, whose lowest coefficient comes first, by Horner's rule. */
  polynomial(x: Push, coefficients: readonly number[]): Push {
    return () => {
      const highest = coefficients.at(-1);
      if (highest === undefined) throw new RangeError("A polynomial needs a coefficient");
      const sum = coefficients.slice(0, -1).reduceRight<Push>(
        (higher, coefficient) => this.multiplyAdd(higher, x, this.f32(coefficient)),
        this.f32(highest),
      );
      sum();
    };
  }

  /** `value << count` in every lane, for a constant count. */
  shiftLeft(value: Push, count: number): Push {
    return this.#shift(this.f.i32x4.shl, value, count);
  }

  /** `value >> count`, arithmetic, in every lane. */
  shiftRight(value: Push, count: number): Push {
    return this.#shift(this.f.i32x4.shr_s, value, count);
  }

  /** `value >>> count`, logical, in every lane. */
  shiftRightUnsigned(value: Push, count: number): Push {
    return this.#shift(this.f.i32x4.shr_u, value, count);
  }

  #shift(instruction: () => void, value: Push, count: number): Push {
    return this.apply(instruction, value, () => this.f.i32.const(count));
  }

  #constant(key: string, make: () => void): Push {
    let local = this.#constants.get(key);
    if (local === undefined) {
      const made = this.f.local("v128");
      this.f.prologue(() => {
        make();
        this.f.set(made);
      });
      this.#constants.set(key, made);
      local = made;
    }
    const kept = local;
    return () => this.f.get(kept);
  }
}
