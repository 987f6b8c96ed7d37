/** How threads share a step's units: each has some of its own, and whoever is done takes more. */
import { compile, wasm } from "../../backends/mod.ts";
import {
  COMMAND,
  encodeCommands,
  layoutMemory,
  planCommands,
} from "../../backends/wasm/commands.ts";
import { emitKernel } from "../../backends/wasm/emit_kernel.ts";
import { ModuleBuilder } from "../../backends/wasm/encoder.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import { contract, gelu, spec, trace } from "../../graph/mod.ts";
import { assert, assertEquals } from "../support/assert.ts";
import fc from "../support/fast_check.ts";

interface Sizes {
  readonly m: number;
  readonly k: number;
  readonly n: number;
}

function productGraph({ m, k, n }: Sizes) {
  return trace(
    { a: spec("f32", [m, k]), b: spec("f32", [k, n]) },
    ({ a, b }) => gelu(contract("m k, k n -> m n", a, b)),
  );
}

/** Commands of a product and how many units and, where they are shared as they come, which grain. */
function planned(sizes: Sizes, threads: number) {
  const module = new ModuleBuilder();
  const program = lowerGraph(productGraph(sizes), { target: { alignment: 64 } });
  const emitted = program.kernels.map((kernel) =>
    emitKernel(module, kernel, { relaxedSimd: false })
  );
  const commands = planCommands(program, emitted, threads);
  const layout = layoutMemory(program, emitted, commands, threads);
  const { words } = encodeCommands(program, commands, layout, "i32");
  return { phases: emitted.flatMap(({ phases }) => phases), commands, words };
}

const anySizes = fc.record({
  m: fc.integer({ min: 1, max: 600 }),
  k: fc.integer({ min: 1, max: 900 }),
  n: fc.integer({ min: 1, max: 900 }),
});

Deno.test("shares: every unit of a product is in one share, and none cuts a grain", () => {
  fc.assert(fc.property(anySizes, fc.integer({ min: 1, max: 9 }), (sizes, threads) => {
    const { phases, commands, words } = planned(sizes, threads);
    assertEquals(commands.length, phases.length);
    let at = 0;
    commands.forEach(({ bounds }, index) => {
      const { units, grain = 1 } = phases[index] ?? { units: NaN };
      assertEquals([bounds[0], bounds.at(-1)], [0, units]);
      assert(bounds.every((bound, share) => share === 0 || bound >= (bounds[share - 1] ?? NaN)));
      if (bounds.length > threads + 1) {
        assert(bounds.every((bound) => bound % grain === 0 || bound === units), `${bounds}`);
      }
      assertEquals(words[at + COMMAND.shares / 4], bounds.length - 1);
      const first = at + (words[at + COMMAND.bounds / 4] ?? NaN) / 4;
      assertEquals([...words.subarray(first, first + bounds.length)], bounds);
      at += (words[at + COMMAND.words / 4] ?? NaN) / 4;
    });
    assertEquals(at, words.length);
  }));
});

Deno.test("shares: a large product leaves units over for threads that are done early", () => {
  const { commands } = planned({ m: 197, k: 768, n: 3072 }, 2);
  const bounds = commands[0]?.bounds ?? [];
  const units = bounds.at(-1) ?? NaN;
  const own = [0, 1].map((thread) => (bounds[thread + 1] ?? NaN) - (bounds[thread] ?? NaN));
  assertEquals(own[0], own[1]);
  assert((own[0] ?? 0) <= 0.4 * units, `${own} of ${units} units`);
  assert(units - (bounds.at(-2) ?? 0) === 1, `the last share is the smallest: ${bounds}`);
});

Deno.test("shares: results are the same bits on any number of threads, in every run", async () => {
  const sizes = { m: 150, k: 200, n: 640 };
  const values = (count: number, step: number) =>
    Float32Array.from({ length: count }, (_, index) => Math.sin(step * index));
  const inputs = { a: values(sizes.m * sizes.k, 0.7), b: values(sizes.k * sizes.n, 0.3) };
  using alone = await compile(productGraph(sizes), { backend: wasm({ threads: 1 }) });
  const wanted = (await alone.run(inputs)).data;
  for (const threads of [2, 3]) {
    using program = await compile(productGraph(sizes), { backend: wasm({ threads }) });
    for (let run = 0; run < 10; run++) {
      const scaled = Float32Array.from(inputs.a, (value) => run % 2 === 0 ? value : 2 * value);
      const { data } = await program.run({ ...inputs, a: scaled });
      if (run % 2 === 0) assertEquals(data, wanted, `${threads} threads, run ${run}`);
    }
  }
});
