/** Functions that kernels call rather than repeat. */
import type { ModuleBuilder } from "../encoder.ts";
import { type Push, VectorCode } from "../vector_code.ts";

const ROTATIONS = [[13, 15, 26, 6], [17, 29, 16, 24]] as const;
const PARITY = 0x1bd11bda;

/**
 * Index of `(key0, key1, counter0, counter1) -> (first, second)`: Threefry-2x32 with 20 rounds on four
 * lanes at once (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
 */
export function threefryFunction(module: ModuleBuilder): number {
  return module.once("emit.threefry", () => {
    const f = module.function("threefry", {
      params: ["v128", "v128", "v128", "v128"],
      results: ["v128", "v128"],
    });
    const code = new VectorCode(f, false);
    const param = (position: number): Push => () => f.get(f.param(position));
    const add = (a: Push, b: Push) => code.apply(f.i32x4.add, a, b);
    const third = code.keep(
      code.xor(code.xor(param(0), param(1)), code.i32(PARITY)),
    );
    const keys = [param(0), param(1), third];
    const key = (index: number): Push => keys[index % 3] ?? third;
    const x0 = f.local("v128");
    const x1 = f.local("v128");
    const [get0, get1] = [() => f.get(x0), () => f.get(x1)];
    add(param(2), key(0))();
    f.set(x0);
    add(param(3), key(1))();
    f.set(x1);
    for (let group = 0; group < 5; group++) {
      for (const rotation of group % 2 === 0 ? ROTATIONS[0] : ROTATIONS[1]) {
        add(get0, get1)();
        f.set(x0);
        const turned = code.or(
          code.shiftLeft(get1, rotation),
          code.shiftRightUnsigned(get1, 32 - rotation),
        );
        code.xor(turned, get0)();
        f.set(x1);
      }
      add(get0, key(group + 1))();
      f.set(x0);
      add(add(get1, key(group + 2)), code.i32(group + 1))();
      f.set(x1);
    }
    get0();
    get1();
    return f.index;
  });
}

/**
 * Index of `(a: f32, b: f32) -> f32`: the exact remainder of `a / b` with the sign of `a`, as in C's
 * `fmod`. Multiples of b by powers of two are subtracted from the largest down; in f64 every one of
 * these is exact.
 */
export function remainderFunction(module: ModuleBuilder): number {
  return module.once("emit.remainder", () => {
    const f = module.function("remainder", { params: ["f32", "f32"], results: ["f32"] });
    const [a, b] = [f.param(0), f.param(1)];
    const x = f.local("f64");
    const y = f.local("f64");
    const multiple = f.local("f64");
    const widen = (from: typeof a, to: typeof x): void => {
      f.get(from);
      f.f32.abs();
      f.f64.promote_f32();
      f.set(to);
    };
    widen(a, x);
    widen(b, y);
    f.get(x);
    f.f64.const(Infinity);
    f.f64.lt();
    f.get(y);
    f.f64.const(0);
    f.f64.gt();
    f.i32.and();
    f.i32.eqz();
    f.if(() => {
      f.f32.const(NaN);
      f.return();
    });
    f.get(y);
    f.f64.const(Infinity);
    f.f64.eq();
    f.if(() => {
      f.get(a);
      f.return();
    });
    f.get(y);
    f.set(multiple);
    const doubleOrHalve = (factor: number): void => {
      f.get(multiple);
      f.f64.const(factor);
      f.f64.mul();
      f.set(multiple);
    };
    f.block((done) => {
      f.loop((again) => {
        f.get(multiple);
        f.get(x);
        f.f64.gt();
        f.brIf(done);
        doubleOrHalve(2);
        f.br(again);
      });
    });
    f.loop((again) => {
      f.get(x);
      f.get(multiple);
      f.f64.ge();
      f.if(() => {
        f.get(x);
        f.get(multiple);
        f.f64.sub();
        f.set(x);
      });
      doubleOrHalve(0.5);
      f.get(multiple);
      f.get(y);
      f.f64.ge();
      f.brIf(again);
    });
    f.get(x);
    f.f32.demote_f64();
    f.get(a);
    f.f32.copysign();
    return f.index;
  });
}
