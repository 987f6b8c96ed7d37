/** The table of ops on WASM, forward and gradient, against the f64 reference. */
import type { WasmOptions } from "../../backends/wasm/backend.ts";
import { conformanceCases, errorAgainst } from "../support/conformance.ts";
import { runOnWasm } from "../support/run_wasm.ts";

const VARIANTS: readonly (WasmOptions & { readonly name: string })[] = [
  { name: "one thread", threads: 1 },
  { name: "two threads", threads: 2 },
  { name: "one thread without relaxed SIMD", threads: 1, relaxedSimd: false },
];

for (const { name, ...options } of VARIANTS) {
  Deno.test(`every op on WASM with ${name}, forward and gradient`, async (test) => {
    for (const one of conformanceCases()) {
      await test.step(one.name, async () => {
        const found = await runOnWasm(one, options);
        for (const [path, wanted] of one.expected) {
          const error = errorAgainst(found.get(path) ?? [], wanted.data);
          if (error <= one.tolerance) continue;
          throw new Error(`Output "${path}" is off by ${error}, allowed is ${one.tolerance}`);
        }
      });
    }
  });
}
