/** Accumulators of reductions, as scalars and as vectors of partial results. */
import type { Accumulator, Expr, ScalarType } from "../../../compiler/loop_ir.ts";
import type { Local } from "../encoder.ts";
import type { Push } from "../vector_code.ts";
import type { Emitter } from "./emitter.ts";
import { extractLane } from "./memory_access.ts";
import { scalarBinary, scalarConstant, valueType } from "./scalar_operations.ts";
import { vectorBinary } from "./vector_operations.ts";

/** What an accumulator is before the first value. */
export function identity({ op, type }: Accumulator): number {
  if (op === "sum" || op === "argmax") return 0;
  const range: Readonly<Record<ScalarType, readonly [number, number]>> = {
    f32: [-Infinity, Infinity],
    i32: [-0x80000000, 0x7fffffff],
    u32: [0, 0xffffffff],
    bool: [0, 1],
  };
  return range[type][op === "max" ? 0 : 1];
}

/** The operation that adds a value to an accumulator other than argmax. */
function operation({ op, type }: Accumulator): "add" | "max" | "min" | "or" {
  if (op === "argmax") throw new TypeError("argmax is no binary operation");
  if (op !== "sum") return op;
  return type === "bool" ? "or" : "add";
}

/** An accumulator in one scalar; argmax has its value beside its index. */
export class ScalarFold {
  readonly accumulator: Accumulator;
  readonly result: Local;
  /** The largest value so far, for argmax. */
  readonly best: Local | undefined;
  readonly #emitter: Emitter;

  constructor(emitter: Emitter, accumulator: Accumulator) {
    this.accumulator = accumulator;
    this.#emitter = emitter;
    this.result = emitter.code.temporary(valueType(accumulator.type));
    this.best = accumulator.op === "argmax" ? emitter.code.temporary("f32") : undefined;
  }

  start(): void {
    const { f } = this.#emitter;
    scalarConstant(f, this.accumulator.type, identity(this.accumulator));
    f.set(this.result);
    if (this.best === undefined) return;
    f.f32.const(-Infinity);
    f.set(this.best);
  }

  /** Takes in this iteration's value; `position` is its flat index. */
  step(position: Local): void {
    const { f } = this.#emitter;
    const value = this.#emitter.operand(this.accumulator.value);
    if (this.best === undefined) return this.include(value);
    this.includeIndexed(value, () => f.get(position), false);
  }

  /** Takes in a value, pushed perhaps more than once. */
  include(value: Push): void {
    const { f, module } = this.#emitter;
    const { type } = this.accumulator;
    scalarBinary(f, module, operation(this.accumulator), type, () => f.get(this.result), value);
    f.set(this.result);
  }

  /** Takes in a candidate for argmax. Where `unordered`, of equal ones the smallest index wins. */
  includeIndexed(value: Push, index: Push, unordered: boolean): void {
    const { f } = this.#emitter;
    const { best, result } = this;
    if (best === undefined) throw new TypeError("Only argmax has an index");
    const pushBest = (): void => f.get(best);
    const isNaN = (x: Push, instruction: () => void): void => {
      x();
      x();
      instruction();
    };
    value();
    pushBest();
    f.f32.gt();
    isNaN(value, f.f32.ne);
    isNaN(pushBest, f.f32.eq);
    f.i32.and();
    f.i32.or();
    if (unordered) {
      value();
      pushBest();
      f.f32.eq();
      isNaN(value, f.f32.ne);
      isNaN(pushBest, f.f32.ne);
      f.i32.and();
      f.i32.or();
      index();
      f.get(result);
      f.i32.lt_s();
      f.i32.and();
      f.i32.or();
    }
    f.if(() => {
      value();
      f.set(best);
      index();
      f.set(result);
    });
  }
}

/** An accumulator in vectors: one for each vector of a step, so that they do not wait for each other. */
export class LaneFold {
  readonly accumulator: Accumulator;
  readonly #emitter: Emitter;
  readonly #results: readonly Local[];
  /** Where a NaN was seen (for max and min of f32), or the largest values (for argmax). */
  readonly #beside: readonly Local[];

  constructor(emitter: Emitter, accumulator: Accumulator, count: number) {
    this.accumulator = accumulator;
    this.#emitter = emitter;
    const vectors = (): Local[] =>
      Array.from({ length: count }, () => emitter.code.temporary("v128"));
    this.#results = vectors();
    this.#beside = this.#needsMore() ? vectors() : [];
  }

  start(): void {
    const { code, f } = this.#emitter;
    const { op, type } = this.accumulator;
    const first = identity(this.accumulator);
    for (const local of this.#results) {
      if (type === "f32") code.f32(first)();
      else code.i32(type === "bool" ? -first : first | 0)();
      f.set(local);
    }
    for (const local of this.#beside) {
      if (op === "argmax") code.f32(-Infinity)();
      else code.i32(0)();
      f.set(local);
    }
  }

  /**
   * Takes in the values of this step's vectors; `position` is the flat index, that of the first lane
   * where lanes are iterations of this reduction (`lanesCount`).
   */
  step(position: Local, lanesCount: boolean): void {
    const count = this.#emitter.lanes?.count ?? 0;
    for (let u = 0; u < count; u++) this.#stepVector(u, position, lanesCount);
  }

  /** Folds all lanes into a scalar, always in the same order. */
  combineInto(total: ScalarFold): void {
    const { code, f } = this.#emitter;
    const { op, type } = this.accumulator;
    if (op === "argmax") return this.#combineIndices(total);
    const all = code.keep(() => this.#joined(this.#results));
    for (let lane = 0; lane < 4; lane++) {
      const value = code.keep(() => extractLane(code, type, all, lane), valueType(type));
      total.include(value);
    }
    if (this.#beside.length === 0) return;
    this.#orOf(this.#beside);
    f.v128.any_true();
    f.if(() => {
      f.f32.const(NaN);
      f.set(total.result);
    });
  }

  /** The results, lane by lane. */
  finish(): readonly Local[] {
    const { code, f } = this.#emitter;
    if (this.accumulator.op === "argmax") return this.#results;
    this.#beside.forEach((sawNaN, u) => {
      const result = this.#result(u);
      code.choose(() => f.get(sawNaN), code.f32(NaN), () => f.get(result))();
      f.set(result);
    });
    return this.#results;
  }

  #needsMore(): boolean {
    const { op, type } = this.accumulator;
    return op === "argmax" || (type === "f32" && op !== "sum");
  }

  #result(u: number): Local {
    const local = this.#results[u];
    if (local === undefined) throw new RangeError(`The accumulator has no vector ${u}`);
    return local;
  }

  #stepVector(u: number, position: Local, lanesCount: boolean): void {
    const { code, f } = this.#emitter;
    const { op, type, value } = this.accumulator;
    const result = this.#result(u);
    const current = (): void => f.get(result);
    if (op === "argmax") return this.#stepIndexed(u, position, lanesCount);
    if (op === "sum" && type === "f32") {
      this.#sum(value, u, current);
    } else if (type === "f32") {
      const x = this.#emitter.vectorOperand(value, u);
      const sawNaN = this.#beside[u];
      if (sawNaN === undefined) throw new RangeError(`The accumulator has no vector ${u}`);
      code.or(() => f.get(sawNaN), code.apply(f.f32x4.ne, x, x))();
      f.set(sawNaN);
      code.apply(op === "max" ? f.f32x4.pmax : f.f32x4.pmin, current, x)();
    } else {
      const x = (): void => this.#emitter.pushVector(value, u);
      vectorBinary(code, operation(this.accumulator), type, current, x);
    }
    f.set(result);
  }

  #sum(value: Expr, u: number, current: Push): void {
    const { code } = this.#emitter;
    const push = (part: Expr): Push => () => this.#emitter.pushVector(part, u);
    if (value.kind === "binary" && value.op === "mul" && this.#emitter.isVarying(value)) {
      return code.multiplyAdd(push(value.a), push(value.b), current)();
    }
    code.add(current, push(value))();
  }

  #stepIndexed(u: number, position: Local, lanesCount: boolean): void {
    const { code, f } = this.#emitter;
    const result = this.#result(u);
    const best = this.#beside[u];
    if (best === undefined) throw new RangeError(`The accumulator has no vector ${u}`);
    const x = this.#emitter.vectorOperand(this.accumulator.value, u);
    const pushBest = (): void => f.get(best);
    const firstNaN = code.and(
      code.apply(f.f32x4.ne, x, x),
      code.apply(f.f32x4.eq, pushBest, pushBest),
    );
    const better = code.keep(code.or(code.apply(f.f32x4.gt, x, pushBest), firstNaN));
    code.choose(better, x, pushBest)();
    f.set(best);
    const first = code.apply(f.i32x4.splat, () => f.get(position));
    const lanes = code.lanes([4 * u, 4 * u + 1, 4 * u + 2, 4 * u + 3]);
    const index = lanesCount ? code.apply(f.i32x4.add, first, lanes) : first;
    code.choose(better, index, () => f.get(result))();
    f.set(result);
  }

  #joined(locals: readonly Local[]): void {
    const { code, f } = this.#emitter;
    const [first, ...others] = locals;
    if (first === undefined) return;
    f.get(first);
    for (const other of others) {
      const left = code.keep(() => {});
      const op = operation(this.accumulator);
      if (this.#beside.length > 0) {
        code.apply(op === "max" ? f.f32x4.pmax : f.f32x4.pmin, left, () => f.get(other))();
      } else {
        vectorBinary(code, op, this.accumulator.type, left, () => f.get(other));
      }
    }
  }

  #orOf(locals: readonly Local[]): void {
    const { f } = this.#emitter;
    locals.forEach((local, at) => {
      f.get(local);
      if (at > 0) f.v128.or();
    });
  }

  #combineIndices(total: ScalarFold): void {
    const { code, f } = this.#emitter;
    this.#results.forEach((indices, u) => {
      const values = this.#beside[u];
      if (values === undefined) return;
      for (let lane = 0; lane < 4; lane++) {
        const value = code.keep(() => {
          f.get(values);
          f.f32x4.extract_lane(lane);
        }, "f32");
        const index = code.keep(() => {
          f.get(indices);
          f.i32x4.extract_lane(lane);
        }, "i32");
        total.includeIndexed(value, index, true);
      }
    });
  }
}
