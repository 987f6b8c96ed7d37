/** Emits one template kernel, runs it as a program would, and compares it with the interpreter. */
import type { Kernel } from "../../compiler/loop_ir.ts";
import { interpretKernel } from "../../backends/reference/loop_interpreter.ts";
import { emitKernel } from "../../backends/wasm/emit_kernel.ts";
import type { AddressType } from "../../backends/wasm/address_instructions.ts";
import { ModuleBuilder } from "../../backends/wasm/encoder.ts";
import { wasmFeatures } from "../../backends/wasm/features.ts";
import { allocate } from "../../backends/wasm/memory.ts";
import type { EmittedKernel, TemplateOptions } from "../../backends/wasm/templates/template.ts";

const PAGE_BYTES = 65536;
const GUARD_BYTES = 64;
const MEMORY64 = wasmFeatures().memory64;

/** A kernel that a template emits. */
export type TemplateKernel = Exclude<Kernel, { readonly kind: "loops" }>;

/** Runs the units of a phase; each call does the units from `lo` up to `hi`. */
export type UnitSplit = (units: number, run: (lo: number, hi: number) => void) => void;

/** All units in one call. */
export const inOneCall: UnitSplit = (units, run) => run(0, units);

/** One call for each unit, the last unit first. */
export const oneByOneBackwards: UnitSplit = (units, run) => {
  for (let unit = units - 1; unit >= 0; unit--) run(unit, unit + 1);
};

/** Two calls. */
export const inTwoCalls: UnitSplit = (units, run) => {
  const middle = Math.ceil(units / 3);
  run(middle, units);
  run(0, middle);
};

/** An instantiated kernel with its buffers. */
export interface LoadedTemplate {
  readonly emitted: EmittedKernel;
  readonly arrays: readonly Float32Array[];
  run(split?: UnitSplit): void;
}

/** Compiles a kernel of f32 buffers into a memory that is just large enough, full of NaN. */
export function loadTemplate(
  kernel: TemplateKernel,
  options: TemplateOptions,
  addressType: AddressType = "i32",
): LoadedTemplate {
  const module = new ModuleBuilder(addressType);
  const emitted = emitKernel(module, kernel, options);
  let end = GUARD_BYTES;
  const reserve = (bytes: number) => {
    const start = end;
    end += Math.ceil(bytes / 64) * 64;
    return start;
  };
  const shared = reserve(emitted.sharedScratchBytes);
  const scratch = reserve(emitted.privateScratchBytes);
  const addresses = kernel.buffers.map((buffer) => reserve(4 * buffer.elements));
  const pages = Math.ceil(end / PAGE_BYTES);
  module.importMemory("env", "memory", { pages, shared: false });
  emitted.phases.forEach((phase, index) => module.export(`phase${index}`, phase.functionIndex));
  const memory = allocate({ pages, shared: false, addressType });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.build()), {
    env: { memory },
  });
  new Float32Array(memory.buffer).fill(NaN);
  const arrays = kernel.buffers.map((buffer, index) =>
    new Float32Array(memory.buffer, addresses[index], buffer.elements)
  );
  const run = (split: UnitSplit = inOneCall) => {
    emitted.phases.forEach((phase, index) => {
      const call = instance.exports[`phase${index}`];
      if (typeof call !== "function") throw new TypeError(`Phase ${index} is not exported`);
      const places = [...addresses, scratch, shared]
        .map((address) => addressType === "i32" ? address : BigInt(address));
      split(phase.units, (lo, hi) => call(lo, hi, ...places));
    });
  };
  return { emitted, arrays, run };
}

/** A written buffer of the kernel, as computed and as it should be. */
export interface Comparison {
  readonly name: string;
  readonly actual: Float32Array;
  readonly expected: Float32Array;
}

/**
 * Fills the read buffers by `fill` and runs the kernel on WebAssembly, divided in several ways and
 * with addresses of both widths, which must agree bit for bit, and in the interpreter.
 */
export function compareTemplate(
  kernel: TemplateKernel,
  options: TemplateOptions,
  fill: (index: number, element: number) => number,
): Comparison[] {
  const loaded = loadTemplate(kernel, options);
  loaded.arrays.forEach((array, index) => {
    if (kernel.buffers[index]?.access === "write") return;
    array.forEach((_, element) => array[element] = fill(index, element));
  });
  const start = loaded.arrays.map((array) => array.slice());
  loaded.run();
  const results = loaded.arrays.map((array) => array.slice());
  const again = ({ arrays, run }: LoadedTemplate, split: UnitSplit, by: string): void => {
    arrays.forEach((array, index) => array.set(start[index] ?? []));
    run(split);
    arrays.forEach((array, index) => checkSame(kernel, index, array, results[index], by));
  };
  for (const split of [oneByOneBackwards, inTwoCalls]) {
    again(loaded, split, "how units are divided");
  }
  if (MEMORY64) again(loadTemplate(kernel, options, "i64"), inTwoCalls, "the width of addresses");
  const expected = start.map((array) => array.slice());
  interpretKernel(kernel, expected);
  return kernel.buffers.flatMap((buffer, index) => {
    const [actual, wanted] = [results[index], expected[index]];
    if (actual === undefined || wanted === undefined) return [];
    return [{ name: buffer.name, actual, expected: wanted }];
  });
}

function checkSame(
  kernel: TemplateKernel,
  index: number,
  array: Float32Array,
  wanted: Float32Array | undefined,
  by: string,
): void {
  if (wanted === undefined) throw new RangeError(`Kernel ${kernel.name} has no buffer ${index}`);
  const bits = (values: Float32Array) =>
    new Uint32Array(values.buffer, values.byteOffset, values.length);
  const [first, second] = [bits(array), bits(wanted)];
  const at = first.findIndex((word, element) => word !== second[element]);
  if (at < 0) return;
  const name = kernel.buffers[index]?.name;
  throw new Error(
    `Buffer ${name} of ${kernel.name} depends on ${by}: element ${at} is ${array[at]} or ` +
      `${wanted[at]}`,
  );
}

/**
 * Norm of the difference over the norm of what was expected, whose elements count as at least `typical`:
 * a sum of many terms may come out near zero, but its rounding errors do not. NaN where only one of
 * the two is NaN.
 */
export function relativeError({ actual, expected }: Comparison, typical = 0): number {
  let difference = 0;
  let size = 0;
  expected.forEach((wanted, at) => {
    const got = actual[at] ?? NaN;
    if (Number.isFinite(wanted)) size += Math.max(Math.abs(wanted), typical) ** 2;
    if (!Object.is(got, wanted)) difference += (got - wanted) ** 2;
  });
  return difference === 0 ? 0 : Math.sqrt(difference / size);
}

/**
 * What flows back to a norm's vectors is summed over all rows, and may cancel: how large sums of as many
 * terms of the rows' size are.
 */
export function typicalNormSum(
  kernel: TemplateKernel,
  name: string,
  comparisons: readonly Comparison[],
): number {
  const rows = { query: "dq", key: "dk" }[/^(query|key)NormGrad/.exec(name)?.[1] ?? ""];
  const cotangents = comparisons.find((comparison) => comparison.name === rows)?.expected;
  if (rows === undefined || cotangents === undefined || kernel.kind !== "attentionGrad") return 0;
  const total = stored(cotangents).reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt(total / kernel.depth);
}

/** The elements that the kernel stores: the others are NaN from the start. */
export function stored(values: Float32Array): Float32Array {
  return values.filter((value) => !Number.isNaN(value));
}
