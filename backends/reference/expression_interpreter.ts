/** Loop IR expressions as JavaScript closures. */
import type { Expr, KernelBuffer } from "../../compiler/loop_ir.ts";
import {
  binaryFunction,
  bitcastFunction,
  castFunction,
  threefry2x32,
  unaryFunction,
} from "./scalar_functions.ts";
import { type BufferData, readElement, roundToStorage } from "./storage.ts";

/** A buffer bound to its memory. */
export interface BoundBuffer {
  readonly declared: KernelBuffer;
  readonly data: BufferData;
}

/** Computes a value from the variables' current values. */
export type Evaluate = () => number;

/** The variables and buffers of one kernel run. */
export class Environment {
  readonly kernel: string;
  readonly buffers: readonly BoundBuffer[];
  readonly #variables = new Map<string, { value: number }>();
  readonly #compiled = new Map<Expr, Evaluate>();
  /** Counts evaluations from a root, between which variables may change. */
  #generation = 0;

  constructor(kernel: string, buffers: readonly BoundBuffer[]) {
    this.kernel = kernel;
    this.buffers = buffers;
  }

  /** The variable's cell; statements write it, expressions read it. */
  variable(name: string): { value: number } {
    const known = this.#variables.get(name);
    if (known !== undefined) return known;
    const cell = { value: NaN };
    this.#variables.set(name, cell);
    return cell;
  }

  /** A whole expression; subexpressions that it shares are evaluated once. */
  root(expr: Expr): Evaluate {
    const evaluate = this.#shared(expr);
    return () => {
      this.#generation++;
      return evaluate();
    };
  }

  /** The buffer at this position of the kernel's list. */
  buffer(index: number): BoundBuffer {
    const bound = this.buffers[index];
    if (bound === undefined) {
      throw new RangeError(
        `Kernel ${this.kernel} has ${this.buffers.length} buffers; it names number ${index}`,
      );
    }
    return bound;
  }

  /** Throws unless `index` is an element of the buffer. */
  check(bound: BoundBuffer, index: number, access: string): void {
    const { name, elements } = bound.declared;
    if (!Number.isInteger(index) || index < 0 || index >= elements) {
      throw new RangeError(
        `Kernel ${this.kernel} ${access} ${name}[${index}], which has ${elements} elements`,
      );
    }
  }

  #shared(expr: Expr): Evaluate {
    const known = this.#compiled.get(expr);
    if (known !== undefined) return known;
    const compute = this.#compile(expr);
    let generation = -1;
    let value = NaN;
    const evaluate = expr.kind === "const" || expr.kind === "var" ? compute : () => {
      if (generation === this.#generation) return value;
      const result = compute();
      generation = this.#generation;
      value = result;
      return result;
    };
    this.#compiled.set(expr, evaluate);
    return evaluate;
  }

  #compile(expr: Expr): Evaluate {
    switch (expr.kind) {
      case "const":
        return () => expr.value;
      case "var":
        return this.#read(expr.name);
      case "unary": {
        const f = unaryFunction(expr.op, expr.type);
        const a = this.#shared(expr.a);
        return () => f(a());
      }
      case "binary": {
        const f = binaryFunction(expr.op, expr.a.type);
        const a = this.#shared(expr.a);
        const b = this.#shared(expr.b);
        return () => f(a(), b());
      }
      case "select": {
        const condition = this.#shared(expr.condition);
        const a = this.#shared(expr.a);
        const b = this.#shared(expr.b);
        return () => {
          const whenTrue = a();
          const whenFalse = b();
          return condition() !== 0 ? whenTrue : whenFalse;
        };
      }
      case "guarded": {
        const condition = this.#shared(expr.condition);
        const a = this.#shared(expr.a);
        const b = this.#shared(expr.b);
        return () => condition() !== 0 ? a() : b();
      }
      case "cast":
      case "bitcast": {
        const make = expr.kind === "cast" ? castFunction : bitcastFunction;
        const f = make(expr.a.type, expr.type);
        const a = this.#shared(expr.a);
        return () => f(a());
      }
      case "roundTo": {
        const a = this.#shared(expr.a);
        return () => roundToStorage(a(), expr.storage);
      }
      case "load":
        return this.#load(expr.buffer, this.#shared(expr.index));
      case "threefry": {
        const [key0, key1, counter0, counter1] = [
          this.#shared(expr.key0),
          this.#shared(expr.key1),
          this.#shared(expr.counter0),
          this.#shared(expr.counter1),
        ];
        return () => {
          const [first, second] = threefry2x32(key0(), key1(), counter0(), counter1());
          if (expr.word === "xor") return (first ^ second) >>> 0;
          return expr.word === "first" ? first : second;
        };
      }
    }
  }

  #read(name: string): Evaluate {
    const cell = this.#variables.get(name);
    if (cell === undefined) {
      throw new TypeError(`Kernel ${this.kernel} reads the variable ${name} before it is set`);
    }
    return () => cell.value;
  }

  #load(buffer: number, index: Evaluate): Evaluate {
    const bound = this.buffer(buffer);
    const { data, declared } = bound;
    return () => {
      const at = index();
      this.check(bound, at, "loads");
      return readElement(data, declared.dtype, at);
    };
  }
}
