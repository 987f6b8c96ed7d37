/** The table of ops on WASM. */
import { wasm, type WasmOptions } from "../../backends/wasm/backend.ts";
import { checkEveryOp, checkSecondOrder } from "../support/ops_suite.ts";

const VARIANTS: readonly (WasmOptions & { readonly name: string })[] = [
  { name: "one thread", threads: 1 },
  { name: "two threads", threads: 2 },
  { name: "one thread without relaxed SIMD", threads: 1, relaxedSimd: false },
  { name: "one thread and 64-bit addresses", threads: 1, relaxedSimd: false, memory64: true },
  { name: "two threads and 64-bit addresses", threads: 2, memory64: true },
];

for (const { name, ...options } of VARIANTS) {
  Deno.test(
    `every op on WASM with ${name}, forward and gradient`,
    (test) => checkEveryOp(test, wasm(options)),
  );
}

Deno.test(
  "the gradient of every op's gradient on WASM",
  (test) => checkSecondOrder(test, wasm({ threads: 1 })),
);
