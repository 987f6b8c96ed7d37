/** The transcendental functions by name, inline or as functions of a module. */
import type { ModuleBuilder } from "../encoder.ts";
import { type Push, VectorCode } from "../vector_code.ts";
import { erf, exp, sigmoid, tanh } from "./exponential.ts";
import { log, log1p } from "./logarithm.ts";
import { pow } from "./power.ts";
import { cos, sin } from "./trigonometry.ts";

/** Functions of one f32 that take more than an instruction or two. */
export type MathFunction =
  | "exp"
  | "log"
  | "log1p"
  | "tanh"
  | "erf"
  | "sigmoid"
  | "sin"
  | "cos";

const INLINE: Readonly<
  Record<MathFunction, (code: VectorCode, module: ModuleBuilder, x: Push) => void>
> = {
  exp: (code, _, x) => exp(code, x),
  log: (code, _, x) => log(code, x),
  log1p: (code, _, x) => log1p(code, x),
  tanh: (code, _, x) => tanh(code, x),
  erf: (code, _, x) => erf(code, x),
  sigmoid: (code, _, x) => sigmoid(code, x),
  sin,
  cos,
};

/** Whether the name is that of a {@linkcode MathFunction}. */
export function isMathFunction(name: string): name is MathFunction {
  return Object.hasOwn(INLINE, name);
}

/** Pushes the function of a vector, computed in place: fastest in loops, where constants are shared. */
export function pushMath(
  code: VectorCode,
  module: ModuleBuilder,
  name: MathFunction,
  x: Push,
): void {
  INLINE[name](code, module, x);
}

/** Index of the module's function `(v128) -> v128` for this name. */
export function mathFunction(
  module: ModuleBuilder,
  name: MathFunction,
  relaxedSimd: boolean,
): number {
  return module.once(`math.${name}.${relaxedSimd}`, () => {
    const f = module.function(name, { params: ["v128"], results: ["v128"] });
    pushMath(new VectorCode(f, relaxedSimd), module, name, () => f.get(f.param(0)));
    return f.index;
  });
}

/** Index of the module's function `(v128, v128) -> v128` that raises to a power. */
export function powFunction(module: ModuleBuilder): number {
  return module.once("math.pow", () => {
    const f = module.function("pow", { params: ["v128", "v128"], results: ["v128"] });
    pow(new VectorCode(f, false), () => f.get(f.param(0)), () => f.get(f.param(1)));
    return f.index;
  });
}
