/** Elementwise steps of attention's gradient, on blocks in scratch. */
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { exp } from "../math/exponential.ts";
import { VectorCode } from "../vector_code.ts";
import { constant, countedLoop, increment, whileBelow } from "./control_flow.ts";

/**
 * Emits, once a module, the function `(scores, valueProducts, rows, rowBytes, columns, logSumExp, delta,
 * scale: f32)` on blocks with a column for each query. It replaces the scores by the probabilities
 * `P = exp(scale * score - logSumExp)` and, if `withGrad`, the products of values and cotangents `dP`
 * by `scale * P * (dP - delta)`. Columns up to the next whole vector are computed with the rest.
 */
export function emitScoreGrad(
  module: ModuleBuilder,
  relaxedSimd: boolean,
  withGrad: boolean,
): number {
  return module.once(`score_grad_${relaxedSimd}_${withGrad}`, () => {
    const f = module.function("score_grad", {
      params: ["address", "address", "i32", "i32", "i32", "address", "address", "f32"],
      results: [],
    });
    const code = new VectorCode(f, relaxedSimd);
    const [scores, products, rows, rowBytes, columns] = [0, 1, 2, 3, 4].map((at) =>
      f.param(at)
    ) as [Local, Local, Local, Local, Local];
    const [row, column, at] = [f.local("i32"), f.local("i32"), f.local("i32")];
    const [scale, probability] = [f.local("v128"), f.local("v128")];
    f.get(f.param(7));
    f.f32x4.splat();
    f.set(scale);
    const loadFrom = (base: Local) => () => {
      f.get(base);
      f.get(at);
      f.address.plus();
      f.v128.load();
    };
    const storeTo = (base: Local, value: () => void) => {
      f.get(base);
      f.get(at);
      f.address.plus();
      value();
      f.v128.store();
    };
    const getScale = () => f.get(scale);
    countedLoop(f, row, rows, 1, () => {
      f.i32.const(0);
      f.set(column);
      f.i32.const(0);
      f.set(at);
      whileBelow(f, column, columns, () => {
        const score = code.mul(loadFrom(scores), getScale);
        exp(code, code.sub(score, loadFrom(f.param(5))));
        f.set(probability);
        storeTo(scores, () => f.get(probability));
        if (withGrad) {
          const difference = code.sub(loadFrom(products), loadFrom(f.param(6)));
          const scaled = code.mul(() => f.get(probability), getScale);
          storeTo(products, code.mul(scaled, difference));
        }
        increment(f, at, 16);
        increment(f, column, 4);
      });
      for (const base of [scores, products]) {
        f.get(base);
        f.get(rowBytes);
        f.address.plus();
        f.set(base);
      }
    });
    return f.index;
  });
}

/** Emits the copy of `count` strided elements to a contiguous array. */
export function emitLoadColumn(
  f: FunctionBuilder,
  column: {
    readonly target: Local;
    readonly source: Local;
    readonly count: Local;
    /** Elements between neighbours of the source. */
    readonly stride: number;
  },
): void {
  const [from, to, done] = [f.local("address"), f.local("address"), f.local("i32")];
  f.get(column.source);
  f.set(from);
  f.get(column.target);
  f.set(to);
  countedLoop(f, done, column.count, 1, () => {
    f.get(to);
    f.get(from);
    f.f32.load();
    f.f32.store();
    increment(f, from, 4 * column.stride);
    increment(f, to, 4);
  });
}

/** Strides of a matrix in elements. */
interface Strides {
  readonly rowStride: number;
  readonly columnStride: number;
}

/** Emits `target[i] = sum over c of left[i, c] * right[i, c]`. */
export function emitRowDots(
  f: FunctionBuilder,
  dots: {
    readonly target: Local;
    readonly count: Local;
    readonly columns: number;
    readonly left: Local;
    readonly leftStrides: Strides;
    readonly right: Local;
    readonly rightStrides: Strides;
  },
): void {
  const { leftStrides, rightStrides } = dots;
  const contiguous = leftStrides.columnStride === 1 && rightStrides.columnStride === 1;
  const vectors = contiguous ? dots.columns >> 2 : 0;
  const [left, right, target] = [f.local("address"), f.local("address"), f.local("address")];
  const [row, counter, sum] = [f.local("i32"), f.local("i32"), f.local("v128")];
  f.get(dots.target);
  f.set(target);
  const addProducts = (count: number, load: () => void, steps: readonly [number, number]) => {
    countedLoop(f, counter, constant(f, count), 1, () => {
      f.get(sum);
      f.get(left);
      load();
      f.get(right);
      load();
      f.f32x4.mul();
      f.f32x4.add();
      f.set(sum);
      increment(f, left, steps[0]);
      increment(f, right, steps[1]);
    });
  };
  countedLoop(f, row, dots.count, 1, () => {
    f.f32x4.constSplat(0);
    f.set(sum);
    startRow(f, left, dots.left, row, leftStrides.rowStride);
    startRow(f, right, dots.right, row, rightStrides.rowStride);
    addProducts(vectors, () => f.v128.load(), [16, 16]);
    addProducts(dots.columns - 4 * vectors, () => f.v128.load32_zero(), [
      4 * leftStrides.columnStride,
      4 * rightStrides.columnStride,
    ]);
    f.get(target);
    for (const lane of [0, 1, 2, 3]) {
      f.get(sum);
      f.f32x4.extract_lane(lane);
      if (lane > 0) f.f32.add();
    }
    f.f32.store();
    increment(f, target, 4);
  });
}

function startRow(f: FunctionBuilder, into: Local, base: Local, row: Local, stride: number): void {
  f.get(row);
  f.address.times(4 * stride);
  f.get(base);
  f.address.add();
  f.set(into);
}
