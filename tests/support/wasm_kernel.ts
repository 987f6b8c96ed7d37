/** Runs one emitted kernel by itself, for tests. */
import type { KernelBuffer, LoopKernel } from "../../compiler/loop_ir.ts";
import { withSizes } from "../../compiler/sizes.ts";
import { bytesPerElement } from "../../graph/dtype.ts";
import type { BufferData } from "../../backends/reference/storage.ts";
import { emitLoopKernel } from "../../backends/wasm/emit/loop_kernel.ts";
import type { AddressType } from "../../backends/wasm/address_instructions.ts";
import { ModuleBuilder } from "../../backends/wasm/encoder.ts";
import { allocate } from "../../backends/wasm/memory.ts";

const ALIGNMENT = 64;

/** A kernel with memory of its own. */
export interface RunnableKernel {
  /** Runs parallel iterations `low` to `high`; all of them by default. */
  run(low?: number, high?: number): void;
  /** The memory of each bound buffer, in order. */
  readonly data: readonly BufferData[];
  /** Bytes of the module. */
  readonly size: number;
}

function viewOf(
  memory: ArrayBufferLike,
  { dtype, elements }: KernelBuffer,
  at: number,
): BufferData {
  switch (dtype) {
    case "f32":
      return new Float32Array(memory, at, elements);
    case "i32":
      return new Int32Array(memory, at, elements);
    case "u32":
    case "bool":
      return new Uint32Array(memory, at, elements);
    case "f16":
    case "bf16":
      return new Uint16Array(memory, at, elements);
  }
}

/**
 * Compiles the kernel alone in a module and lays its buffers out in a memory, for these values of its
 * sizes.
 */
export function compileKernel(
  kernel: LoopKernel,
  relaxedSimd: boolean,
  sizes: readonly number[] = [],
  addressType: AddressType = "i32",
): RunnableKernel {
  const plain = withSizes(kernel, sizes);
  const module = new ModuleBuilder(addressType);
  const emitted = emitLoopKernel(module, kernel, { relaxedSimd });
  // The first buffer is near the memory's start, where an address that is off traps.
  let next = 0;
  const place = (bytes: number): number => {
    const at = next;
    next = Math.ceil((next + bytes) / ALIGNMENT) * ALIGNMENT;
    return at;
  };
  const bound = plain.buffers.filter(({ access }) => access !== "scratch");
  const addresses = bound.map(({ elements, dtype }) => place(elements * bytesPerElement(dtype)));
  const scratch = place(emitted.privateScratchBytes);
  const pages = Math.ceil(next / 65536) + 1;
  module.importMemory("env", "memory", { pages, shared: false });
  const functions = emitted.phases.map(({ functionIndex }, phase) => {
    module.export(`phase${phase}`, functionIndex);
    return `phase${phase}`;
  });
  const bytes = module.build();
  const memory = allocate({ pages, shared: false, addressType });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return {
    run(low = 0, high = plain.parallel.extent) {
      for (const name of functions) {
        // Exported above, with addresses and i32 parameters and no result.
        const call = instance.exports[name] as (...parameters: (number | bigint)[]) => void;
        const at = (address: number) => addressType === "i32" ? address : BigInt(address);
        call(low, high, ...addresses.map(at), ...sizes, at(scratch), at(0));
      }
    },
    data: bound.map((buffer, index) => viewOf(memory.buffer, buffer, addresses[index] ?? 0)),
    size: bytes.length,
  };
}
