/**
 * A plain interpreter of kernels: slow, sequential, f64 inside. It judges the schedulers and the
 * backends' code generators.
 */
import type {
  Accumulator,
  CombineOp,
  Kernel,
  KernelBuffer,
  LoopRange,
  ScalarType,
  Statement,
} from "../../compiler/loop_ir.ts";
import { type PlainLoopKernel, withSizes } from "../../compiler/sizes.ts";
import { isHalf } from "../../graph/dtype.ts";
import { interpretAttention, interpretAttentionGrad } from "./attention_interpreter.ts";
import { type BoundBuffer, Environment } from "./expression_interpreter.ts";
import { interpretMatmul } from "./matmul_interpreter.ts";
import { type BufferData, readElement, scratchData, writeElement } from "./storage.ts";

/** Runs something once, with the variables as they are. */
export type Run = () => void;

/**
 * Runs a kernel. `data` has one array for each buffer that is not scratch, in the kernel's order; see
 * {@linkcode BufferData} for the element types. `sizes` are the values of its sizes, where it has
 * any. Throws a RangeError when the kernel reads or writes outside a buffer, and a TypeError when it
 * writes one that it declares as read.
 */
export function interpretKernel(
  kernel: Kernel,
  data: readonly BufferData[],
  sizes: readonly number[] = [],
): void {
  if (kernel.kind === "loops") {
    const plain = withSizes(kernel, sizes);
    return interpretLoops(plain, bindBuffers(plain, plain.buffers, data));
  }
  const buffers = bindBuffers(kernel, kernel.buffers, data);
  switch (kernel.kind) {
    case "matmul":
      return interpretMatmul(kernel, buffers);
    case "attention":
      return interpretAttention(kernel, buffers);
    case "attentionGrad":
      return interpretAttentionGrad(kernel, buffers);
  }
}

function bindBuffers(
  kernel: Kernel,
  buffers: readonly KernelBuffer[],
  data: readonly BufferData[],
): BoundBuffer[] {
  let next = 0;
  const bound = buffers.map((declared): BoundBuffer => {
    if (declared.access === "scratch") {
      return { declared, data: scratchData(declared.dtype, declared.elements) };
    }
    const given = data[next++];
    if (given === undefined) {
      throw new RangeError(`Kernel ${kernel.name} got no memory for its buffer ${declared.name}`);
    }
    checkData(kernel, declared, given);
    return { declared, data: given };
  });
  if (next !== data.length) {
    throw new RangeError(`Kernel ${kernel.name} has ${next} buffers to bind, got ${data.length}`);
  }
  return bound;
}

function checkData(kernel: Kernel, declared: KernelBuffer, data: BufferData): void {
  const { name, dtype, elements } = declared;
  if (data.length < elements) {
    throw new RangeError(
      `Buffer ${name} of kernel ${kernel.name} has ${elements} elements, its memory ${data.length}`,
    );
  }
  const holdsHalves = isHalf(dtype);
  if (data instanceof Uint16Array ? !holdsHalves : holdsHalves && !(data instanceof Float64Array)) {
    throw new TypeError(
      `Buffer ${name} of kernel ${kernel.name} is ${dtype}, its memory ${data.constructor.name}`,
    );
  }
}

function interpretLoops(kernel: PlainLoopKernel, buffers: readonly BoundBuffer[]): void {
  const environment = new Environment(kernel.name, buffers);
  const { variable, extent } = kernel.parallel;
  const cell = environment.variable(variable);
  const body = compileStatements(environment, kernel.body);
  const scratch = buffers.filter(({ declared }) => declared.access === "scratch");
  for (let iteration = 0; iteration < extent; iteration++) {
    // What one iteration leaves in its scratch, the next must not see.
    for (const { data, declared } of scratch) data.fill(declared.dtype === "f32" ? NaN : 0);
    cell.value = iteration;
    body();
  }
}

/** Statements as one closure, run in order. */
export function compileStatements(environment: Environment, body: readonly Statement[]): Run {
  const runs = body.map((statement) => compileStatement(environment, statement));
  return () => {
    for (const run of runs) run();
  };
}

function compileStatement(environment: Environment, statement: Statement): Run {
  switch (statement.kind) {
    case "let": {
      const value = environment.root(statement.value);
      const cell = environment.variable(statement.name);
      return () => {
        cell.value = value();
      };
    }
    case "store":
    case "accumulate":
      return compileStore(environment, statement);
    case "loop": {
      const loop = compileRange(environment, statement.range);
      const body = compileStatements(environment, statement.body);
      return () => loop(body);
    }
    case "reduce":
      return compileReduce(environment, statement);
  }
}

function compileStore(
  environment: Environment,
  statement: Statement & { readonly kind: "store" | "accumulate" },
): Run {
  const index = environment.root(statement.index);
  const value = environment.root(statement.value);
  const bound = environment.buffer(statement.buffer);
  const { data, declared } = bound;
  if (declared.access === "read") {
    throw new TypeError(`Kernel ${environment.kernel} writes ${declared.name}, declared as read`);
  }
  const accumulate = statement.kind === "accumulate";
  return () => {
    const at = index();
    environment.check(bound, at, "stores");
    const before = accumulate ? readElement(data, declared.dtype, at) : 0;
    writeElement(data, declared.dtype, at, accumulate ? before + value() : value());
  };
}

function compileRange(environment: Environment, range: LoopRange): (body: Run) => void {
  const start = environment.root(range.start);
  const end = environment.root(range.end);
  const cell = environment.variable(range.variable);
  return (body) => {
    const last = end();
    for (let value = start(); value < last; value++) {
      cell.value = value;
      body();
    }
  };
}

type Reduce = Statement & { readonly kind: "reduce" };

function compileReduce(environment: Environment, statement: Reduce): Run {
  const loops = statement.ranges.map((range) => compileRange(environment, range));
  const body = compileStatements(environment, statement.body);
  const folds = statement.accumulators.map((accumulator) => compileFold(environment, accumulator));
  const innermost = () => {
    body();
    for (const fold of folds) fold.step();
  };
  const nest = loops.reduceRight<Run>((inner, loop) => () => loop(inner), innermost);
  return () => {
    for (const fold of folds) fold.start();
    nest();
    for (const fold of folds) fold.finish();
  };
}

interface Fold {
  start(): void;
  step(): void;
  finish(): void;
}

function compileFold(environment: Environment, accumulator: Accumulator): Fold {
  const value = environment.root(accumulator.value);
  const result = environment.variable(accumulator.name);
  const { op, type } = accumulator;
  if (op === "argmax") return argmaxFold(value, result);
  const combine = combineFunction(op, type);
  let total = 0;
  return {
    start() {
      total = foldIdentity(op, type);
    },
    step() {
      total = combine(total, value());
    },
    finish() {
      result.value = total;
    },
  };
}

function argmaxFold(value: () => number, result: { value: number }): Fold {
  let best = -Infinity;
  let bestIndex = 0;
  let index = 0;
  return {
    start() {
      best = -Infinity;
      bestIndex = 0;
      index = 0;
    },
    step() {
      const candidate = value();
      if (candidate > best || (Number.isNaN(candidate) && !Number.isNaN(best))) {
        best = candidate;
        bestIndex = index;
      }
      index++;
    },
    finish() {
      result.value = bestIndex;
    },
  };
}

function combineFunction(
  op: Exclude<CombineOp, "argmax">,
  type: ScalarType,
): (a: number, b: number) => number {
  if (op === "max") return Math.max;
  if (op === "min") return Math.min;
  switch (type) {
    case "f32":
      return (a, b) => a + b;
    case "i32":
      return (a, b) => (a + b) | 0;
    case "u32":
      return (a, b) => (a + b) >>> 0;
    case "bool":
      return (a, b) => a | b;
  }
}

/** What an empty reduction gives: zero, or the type's least (for max) or greatest value. */
function foldIdentity(op: Exclude<CombineOp, "argmax">, type: ScalarType): number {
  if (op === "sum") return 0;
  const range: Readonly<Record<ScalarType, readonly [number, number]>> = {
    f32: [-Infinity, Infinity],
    i32: [-(2 ** 31), 2 ** 31 - 1],
    u32: [0, 2 ** 32 - 1],
    bool: [0, 1],
  };
  const [least, greatest] = range[type];
  return op === "max" ? least : greatest;
}
