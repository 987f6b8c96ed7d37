import { compile, wasm } from "../../backends/mod.ts";
import { fastest, measureMicrokernels } from "../../backends/wasm/microkernel_choice.ts";
import { type MicrokernelName, MICROKERNELS } from "../../backends/wasm/templates/microkernel.ts";
import { contract, neg, spec, trace } from "../../graph/mod.ts";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "../support/assert.ts";

const NAMES = Object.keys(MICROKERNELS) as MicrokernelName[];

const product = trace(
  { a: spec("f32", [7, 5]), b: spec("f32", [5, 19]) },
  ({ a, b }) => contract("i k, k j -> i j", a, b),
);

const a = Float32Array.from({ length: 35 }, (_, index) => index - 17);
const b = Float32Array.from({ length: 95 }, (_, index) => (index % 11) - 5);
const expected = Array.from({ length: 7 * 19 }, (_, at) => {
  const [i, j] = [Math.floor(at / 19), at % 19];
  return [0, 1, 2, 3, 4].reduce(
    (sum, k) => sum + (a[5 * i + k] ?? NaN) * (b[19 * k + j] ?? NaN),
    0,
  );
});

Deno.test("wasm: a microkernel can be named, and is reported", async () => {
  for (const microkernel of NAMES) {
    using program = await compile(product, { backend: wasm({ microkernel, threads: 1 }) });
    assert(program.describe().endsWith(`, ${microkernel} microkernel`), program.describe());
    assertEquals([...(await program.run({ a, b })).data], expected);
  }
});

Deno.test("wasm: an unknown microkernel is refused with those that there are", () => {
  const microkernel = "9x9" as MicrokernelName;
  assertThrows(
    () => wasm({ microkernel }),
    RangeError,
    `No microkernel 9x9; there are ${NAMES.join(", ")}`,
  );
});

Deno.test("wasm: the microkernel is measured once, and the measurement reported", async () => {
  for (const relaxedSimd of [true, false]) {
    const choose = async () => await (await measureMicrokernels(relaxedSimd)).choose();
    const [first, again] = await Promise.all([choose(), choose()]);
    assert(first === again);
    using program = await compile(product, { backend: wasm({ relaxedSimd, threads: 1 }) });
    assertStringIncludes(program.describe(), `${first.name} microkernel (GFLOP/s measured: `);
    assert(Object.values(first.rates ?? {}).every((rate) => rate > 0));
  }
});

Deno.test("wasm: a program without products has no microkernel", async () => {
  using program = await compile(trace({ x: spec("f32", [3]) }, ({ x }) => neg(x)), {
    backend: wasm({ threads: 1 }),
  });
  assert(!program.describe().includes("microkernel"), program.describe());
});

Deno.test("wasm: another microkernel than the usual must be clearly faster, in final code", () => {
  const choose = (rates: Partial<Record<MicrokernelName, readonly [number, number]>>) =>
    fastest(
      NAMES.flatMap((name) => {
        const [firstRate, bestRate] = rates[name] ?? [];
        return firstRate === undefined || bestRate === undefined
          ? []
          : [{ name, firstRate, bestRate }];
      }),
      "6x8",
    );
  assertEquals(choose({ "6x8": [5, 50], "6x16": [6, 30], "4x16": [6, 54] }), "6x8");
  assertEquals(choose({ "6x8": [5, 50], "6x16": [6, 100], "4x16": [6, 80] }), "6x16");
  assertEquals(choose({ "6x8": [5, 5], "6x16": [6, 100] }), "6x8", "the usual is not final");
  assertEquals(choose({ "6x8": [5, 50], "6x16": [60, 60] }), "6x8", "the other is not final");
  assertEquals(choose({ "6x8": [5, 5], "6x16": [6, 6] }), "6x8", "neither is final");
  assertEquals(choose({ "6x8": [50, 50], "6x16": [95, 100] }), "6x16", "there is one code only");
});
