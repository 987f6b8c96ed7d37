/** What the running engine's WebAssembly can do. */
import { OutOfMemoryError } from "../errors.ts";
import type { AddressType } from "./address_instructions.ts";
import { type MemoryType, ModuleBuilder } from "./encoder.ts";
import type { FunctionBuilder } from "./function_builder.ts";
import { allocate } from "./memory.ts";

/** WebAssembly features that the code generator may use. */
export interface WasmFeatures {
  /** 128-bit vectors. */
  readonly simd: boolean;
  /** Relaxed SIMD: fused multiply-add. */
  readonly relaxedSimd: boolean;
  /** Shared memory and atomics. */
  readonly threads: boolean;
  /** 64-bit addresses. */
  readonly memory64: boolean;
}

function accepts(
  memory: MemoryType,
  body: (f: FunctionBuilder) => void,
  addresses: AddressType = "i32",
): boolean {
  const module = new ModuleBuilder(addresses);
  module.importMemory("env", "memory", memory);
  body(module.function("probe", { params: [], results: [] }));
  return WebAssembly.validate(module.build());
}

/** Whether memories take 64-bit addresses as the standard writes them; drafts of it did not. */
function makes64(): boolean {
  try {
    allocate({ pages: 0, shared: false, addressType: "i64" });
  } catch (error) {
    if (error instanceof TypeError) return false;
    // Refused for want of address space, but understood.
    if (!(error instanceof OutOfMemoryError)) throw error;
  }
  return true;
}

let known: WasmFeatures | undefined;

/** Asks the engine, once, by validating a tiny module for each feature. */
export function wasmFeatures(): WasmFeatures {
  return known ??= askEngine();
}

function askEngine(): WasmFeatures {
  const plain: MemoryType = { pages: 1, shared: false };
  return {
    simd: accepts(plain, (f) => {
      f.f32x4.constSplat(1);
      f.f32x4.neg();
      f.drop();
    }),
    relaxedSimd: accepts(plain, (f) => {
      for (let operand = 0; operand < 3; operand++) f.f32x4.constSplat(1);
      f.f32x4.relaxed_madd();
      f.drop();
    }),
    threads: accepts({ pages: 1, shared: true }, (f) => {
      f.i32.const(0);
      f.i32.const(1);
      f.atomic.rmw_add();
      f.drop();
    }),
    memory64: accepts(plain, (f) => {
      f.i64.const(0n);
      f.i32.load();
      f.drop();
    }, "i64") && makes64(),
  };
}
