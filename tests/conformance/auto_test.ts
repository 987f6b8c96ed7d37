/** Choosing a backend by measurement. */
import { auto, fastestOf } from "../../backends/auto.ts";
import type { Backend } from "../../backends/backend.ts";
import { compile } from "../../backends/compile.ts";
import { reference } from "../../backends/reference/backend.ts";
import { wasm } from "../../backends/wasm/backend.ts";
import { GpuUnavailableError } from "../../backends/webgpu/errors.ts";
import { add, spec, sum, trace } from "../../graph/mod.ts";
import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";

const graph = trace(
  { total: spec("f32", [2]), x: spec("f32", [2]), word: spec("bf16", [3]), at: spec("u32", []) },
  ({ total, x, at, word }) => {
    const next = add(total, x);
    return { total: next, sum: sum(next), at: add(at, 1), word };
  },
);

/** A backend whose runs take this long by a clock that only runs move. */
function pacedBackend(clock: { now: number }, pace: number): { backend: Backend; ended: string[] } {
  const inner = reference();
  const ended: string[] = [];
  const backend: Backend = {
    capabilities: inner.capabilities,
    prepare: async (graph, options) => {
      const executable = await inner.prepare(graph, options);
      const run = executable.run.bind(executable);
      const dispose = executable[Symbol.dispose].bind(executable);
      executable.run = async (outputs) => {
        clock.now += pace;
        return await run(outputs);
      };
      executable[Symbol.dispose] = () => {
        ended.push("disposed");
        dispose();
      };
      return executable;
    },
  };
  return { backend, ended };
}

async function useProgram(backend: Backend): Promise<string> {
  using program = await compile(graph, { backend, donate: { total: "total" } });
  await assertRejects(() => program.run(), TypeError, "Missing inputs");
  const word = Uint16Array.of(1, 2, 3);
  program.set({ total: Float32Array.of(1, 2), word, at: 4 });
  for (const expected of [13, 23]) {
    const result = await program.run({ x: Float32Array.of(10, 0) });
    assertEquals([...result.sum.data], [expected]);
    assertEquals([...result.at.data], [5]);
    assertEquals(result.word.data, word);
  }
  assertEquals([...(await program.get("total")).data], [21, 2]);
  return program.describe();
}

for (const [first, second] of [[3, 8], [8, 3]] as const) {
  Deno.test(`auto: of runs of ${first} and ${second} ms the shorter is chosen`, async () => {
    const clock = { now: 0 };
    const [one, two] = [pacedBackend(clock, first), pacedBackend(clock, second)];
    const backend = fastestOf(
      [{ name: "one", backend: () => one.backend }, { name: "two", backend: () => two.backend }],
      one.backend.capabilities,
      () => clock.now,
    );
    using program = await compile(graph, { backend, donate: { total: "total" } });
    assertStringIncludes(program.describe(), `one ${first}.00 ms a run, two ${second}.00 ms a run`);
    const [kept, other] = first < second ? [one, two] : [two, one];
    assertEquals([kept.ended.length, other.ended.length], [0, 1]);
    const before = clock.now;
    const [total, x, word] = [new Float32Array(2), new Float32Array(2), new Uint16Array(3)];
    await program.run({ total, x, word, at: 0 });
    assertEquals(clock.now - before, Math.min(first, second));
    assertMatch(await useProgram(backend), /^reference/);
  });
}

Deno.test("auto: without a GPU it is WASM, and says why", async () => {
  const missing = () => Promise.reject(new GpuUnavailableError("there is no adapter"));
  const backend = fastestOf(
    [{ name: "wasm", backend: () => wasm({ threads: 1 }) }, { name: "webgpu", backend: missing }],
    wasm({ threads: 1 }).capabilities,
  );
  const description = await useProgram(backend);
  assertMatch(
    description,
    /^wasm: one thread.*; chosen by measurement: wasm .* ms a run, webgpu cannot: there is no adapter$/,
  );
});

Deno.test("auto: what no backend takes is refused as the first refuses it", async () => {
  const limits = { memoryLimit: 1, backend: auto({ wasm: { threads: 1 } }) };
  await assertRejects(() => compile(graph, limits), RangeError);
});

Deno.test("auto: a failure that is no refusal is passed on", async () => {
  const broken = () => Promise.reject(new TypeError("broken"));
  const backend = fastestOf(
    [{ name: "wasm", backend: () => wasm({ threads: 1 }) }, { name: "webgpu", backend: broken }],
    wasm({ threads: 1 }).capabilities,
  );
  await assertRejects(() => compile(graph, { backend }), TypeError, "broken");
});

gpuTest("auto: measures WASM and WebGPU and says what they took", async () => {
  const description = await useProgram(auto({ wasm: { threads: 1 } }));
  assertMatch(
    description,
    /^(wasm|webgpu): .*; chosen by measurement: wasm \S+ ms a run, webgpu \S+ ms a run$/,
  );
});
