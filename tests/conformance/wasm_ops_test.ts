/** The table of ops on WASM. */
import { wasm, type WasmOptions } from "../../backends/wasm/backend.ts";
import { checkEveryOp } from "../support/ops_suite.ts";

const VARIANTS: readonly (WasmOptions & { readonly name: string })[] = [
  { name: "one thread", threads: 1 },
  { name: "two threads", threads: 2 },
  { name: "one thread without relaxed SIMD", threads: 1, relaxedSimd: false },
];

for (const { name, ...options } of VARIANTS) {
  Deno.test(
    `every op on WASM with ${name}, forward and gradient`,
    (test) => checkEveryOp(test, wasm(options)),
  );
}
