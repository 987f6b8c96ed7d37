/** Compiles kernels made of loops to WebAssembly functions. */
import type { LoopBuffer, LoopKernel, Size, Statement } from "../../../compiler/loop_ir.ts";
import { bytesPerElement } from "../../../graph/dtype.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { localPlus } from "../templates/control_flow.ts";
import { type EmittedKernel, kernelFunction, ScratchLayout } from "../templates/template.ts";
import { Emitter } from "./emitter.ts";
import { Resolver } from "./resolve.ts";
import { emitStatements } from "./statements.ts";

/** How loops are emitted. */
export interface EmitOptions {
  /** Use the fused multiply-add of relaxed SIMD: faster, but its rounding depends on the machine. */
  readonly relaxedSimd: boolean;
}

/** A function that statements are emitted into. */
export interface StatementTarget {
  readonly module: ModuleBuilder;
  readonly f: FunctionBuilder;
  readonly buffers: readonly LoopBuffer[];
  /** The local with each buffer's byte address. */
  readonly addresses: readonly Local[];
  /** Scalars that the statements may refer to; an i32 or an f32, as the local is. */
  readonly variables: ReadonlyMap<string, Local>;
}

/**
 * Emits statements into a function that is being written. Vector constants are added to the start of
 * the function; the stack is left as it was. Variables that the statements define are not visible
 * afterwards.
 */
export function emitInto(
  target: StatementTarget,
  statements: readonly Statement[],
  options: EmitOptions,
): void {
  const emitter = new Emitter({ ...target, ...options });
  const { table, names } = emitter;
  for (const [name, local] of target.variables) {
    names.define(name, 0);
    emitter.scalars.set(name, local);
  }
  const resolver = new Resolver(table, names, [...target.variables.keys()]);
  const resolved = resolver.statements(statements, 0);
  emitter.enter(() => emitStatements(emitter, resolved, 0));
}

/**
 * Emits a kernel as one phase whose units are its parallel iterations: see
 * {@linkcode EmittedKernel} for the function's parameters.
 *
 * A reduction's sums are of several partial sums, in an order that the kernel alone decides.
 */
export function emitLoopKernel(
  module: ModuleBuilder,
  kernel: LoopKernel,
  options: EmitOptions,
): EmittedKernel<Size> {
  const { sizes = [] } = kernel;
  const fn = kernelFunction(module, kernel.name, kernel.buffers, sizes);
  const { f } = fn;
  const layout = new ScratchLayout();
  const addresses = kernel.buffers.map(({ access, dtype, elements }, index) => {
    if (access !== "scratch") return fn.buffer(index);
    if (typeof elements !== "number") {
      throw new TypeError(`Kernel ${kernel.name} has scratch of ${elements} elements`);
    }
    return localPlus(f, fn.privateScratch, layout.reserve(elements * bytesPerElement(dtype)));
  });
  const bound = (name: string) => ({ kind: "var", type: "i32", name }) as const;
  const parallel: Statement = {
    kind: "loop",
    range: {
      variable: kernel.parallel.variable,
      start: bound("@low"),
      end: bound("@high"),
    },
    vectorize: false,
    body: kernel.body,
  };
  const variables = new Map([["@low", fn.lo], ["@high", fn.hi]]);
  sizes.forEach((size, at) => variables.set(size, fn.sizes[at] ?? fn.lo));
  const target = { module, f, buffers: kernel.buffers, addresses, variables };
  emitInto(target, [parallel], options);
  return {
    phases: [{ functionIndex: f.index, units: kernel.parallel.extent }],
    privateScratchBytes: layout.bytes,
    sharedScratchBytes: 0,
  };
}
