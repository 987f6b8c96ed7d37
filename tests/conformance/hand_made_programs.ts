/** Small programs whose kernels are written by hand, for tests of the WASM runtime alone. */
import type { KernelBuffer, LoopKernel } from "../../compiler/loop_ir.ts";
import type { Program } from "../../compiler/program.ts";
import type { FunctionBuilder, Local } from "../../backends/wasm/encoder.ts";
import type { EmitKernel } from "../../backends/wasm/assemble.ts";
import type { Node } from "../../graph/node.ts";

/** Body of a kernel over one work unit. */
type UnitBody = (f: FunctionBuilder, unit: Local, buffers: readonly Local[]) => void;

/** A kernel over `extent` units, of f32 buffers of that many elements. */
export function unitKernel(
  name: string,
  extent: number,
  access: readonly KernelBuffer["access"][],
): LoopKernel {
  const buffers = access.map((kind, index): KernelBuffer => ({
    name: `b${index}`,
    dtype: "f32",
    elements: extent,
    access: kind,
  }));
  return { kind: "loops", name, buffers, parallel: { variable: "i", extent }, body: [] };
}

/** Emits the kernels by their names, each as one function that loops over its units. */
export function emitUnits(bodies: Readonly<Record<string, UnitBody>>): EmitKernel {
  return (module, kernel) => {
    const body = bodies[kernel.name];
    if (body === undefined || kernel.kind !== "loops") throw new TypeError(kernel.name);
    const addresses = Array.from({ length: kernel.buffers.length + 2 }, () => "address" as const);
    const params = ["i32", "i32", ...addresses] as const;
    const f = module.function(kernel.name, { params, results: [] });
    const buffers = kernel.buffers.map((_, index) => f.param(index + 2));
    const [unit, hi] = [f.param(0), f.param(1)];
    f.loop((next) => {
      body(f, unit, buffers);
      f.get(unit);
      f.i32.const(1);
      f.i32.add();
      f.tee(unit);
      f.get(hi);
      f.i32.lt_u();
      f.brIf(next);
    });
    const phases = [{ functionIndex: f.index, units: kernel.parallel.extent }];
    return { phases, privateScratchBytes: 0, sharedScratchBytes: 0 };
  };
}

function pushAddress(f: FunctionBuilder, buffer: Local, index: () => void): void {
  f.get(buffer);
  index();
  f.address.plus(4);
}

/** `out[i] = 0.5 * (in[i] + in[n - 1 - i]) + 1`: every thread reads what the others wrote. */
export function mirrorBody(extent: number): UnitBody {
  return (f, unit, [from, to]) => {
    if (from === undefined || to === undefined) throw new TypeError("mirror takes two buffers");
    pushAddress(f, to, () => f.get(unit));
    pushAddress(f, from, () => f.get(unit));
    f.f32.load();
    pushAddress(f, from, () => {
      f.i32.const(extent - 1);
      f.get(unit);
      f.i32.sub();
    });
    f.f32.load();
    f.f32.add();
    f.f32.const(0.5);
    f.f32.mul();
    f.f32.const(1);
    f.f32.add();
    f.f32.store();
  };
}

/** What `mirrorBody` computes. */
export function mirrored(values: Float32Array): Float32Array {
  const last = values.length - 1;
  return values.map((value, index) =>
    Math.fround(Math.fround(Math.fround(value + (values[last - index] ?? NaN)) * 0.5) + 1)
  );
}

/** Loads far out of bounds in one unit and does nothing in the others. */
export function trapBody(trappingUnit: number): UnitBody {
  return (f, unit) => {
    f.get(unit);
    f.i32.const(trappingUnit);
    f.i32.eq();
    f.if(() => {
      f.address.const(-16);
      f.f32.load();
      f.drop();
    });
  };
}

/** A program that runs `steps` mirrors over a buffer pair: input `x`, output `y`. */
export function mirrorProgram(extent: number, steps: number): Program {
  const bytes = Math.ceil(extent * 4 / 64) * 64;
  return {
    kernels: [unitKernel("mirror", extent, ["read", "write"])],
    // The input keeps its buffer; the others take turns.
    steps: Array.from({ length: steps }, (_, step) => ({
      kernel: 0,
      members: [{ buffers: [step === 0 ? 0 : 1 + (step - 1) % 2, 1 + step % 2], sizes: [] }],
      nodes: [],
    })),
    buffers: ["x", "even", "odd"].map((name, index) => ({
      name,
      dtype: "f32",
      elements: extent,
      offset: index * bytes,
      bytes: extent * 4,
    })),
    inputs: [{ path: "x", dtype: "f32", shape: [extent], buffer: 0 }],
    outputs: [{ path: "y", dtype: "f32", shape: [extent], buffer: 1 + (steps - 1) % 2 }],
    constants: [],
    arenaBytes: 3 * bytes,
    lowerBoundBytes: 3 * bytes,
    peak: [],
    recomputed: { flops: 0, fraction: 0, regions: [] },
  };
}

/** A program of `units` units in which one unit of the second of two steps traps. */
export function trapProgram(units: number, nodes: readonly Node[]): Program {
  const program = mirrorProgram(units, 1);
  return {
    ...program,
    kernels: [...program.kernels, unitKernel("trap", units, ["update"])],
    steps: [...program.steps, { kernel: 1, members: [{ buffers: [1], sizes: [] }], nodes }],
  };
}
