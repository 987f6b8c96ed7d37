/** How tuning chooses, with times that a test makes up. */
import { gpuCapabilities } from "../../backends/webgpu/capabilities.ts";
import { TILES } from "../../backends/webgpu/templates/tile.ts";
import type { DispatchTimer } from "../../backends/webgpu/time_dispatches.ts";
import { memoryTuning, tuneTiles, type TuningStore } from "../../backends/webgpu/tuning.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import type { Program } from "../../compiler/program.ts";
import * as g from "../../graph/mod.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { moduleOf } from "../support/lowered.ts";

const capabilities = gpuCapabilities({ adapter: "made up" });

function lowered(outputs: Record<string, g.Node>): Program {
  return lowerGraph(moduleOf(outputs), { target: { alignment: capabilities.alignment } });
}

function product(rows: number): g.Node {
  const [x, w] = [g.input("x", "f32", [rows, 200]), g.input("w", "f32", [200, 64])];
  return g.contract("b i, i o -> b o", x, w);
}

/** A timer to which the candidate of so many invocations is the fastest, and how often it was asked. */
function timerFor(invocations: number): { readonly time: DispatchTimer; readonly calls: number[] } {
  const calls: number[] = [];
  const time: DispatchTimer = (_, candidates) => {
    calls.push(candidates.length);
    return Promise.resolve(
      candidates.map((dispatches) =>
        dispatches.some(({ wgsl }) => wgsl.includes(`@workgroup_size(${invocations}, 1)`)) ? 1 : 2
      ),
    );
  };
  return { time, calls };
}

async function chosen(program: Program, time: DispatchTimer, store: TuningStore) {
  return [...(await tuneTiles(time, program, capabilities, store)).values()];
}

Deno.test("webgpu: tuning takes the fastest, once for each kernel and adapter", async () => {
  const store = memoryTuning();
  const { rows, columns, ownRows, ownColumns, slices } = TILES.deep;
  const { time, calls } = timerFor(rows / ownRows * (columns / ownColumns) * slices);
  const program = lowered({ y: product(64) });
  const [first] = await chosen(program, time, store);
  assert(first !== undefined);
  assert(["deep", "large", "medium"].includes(first), first);
  assertEquals(calls.length, 1);
  assert((calls[0] ?? 0) > 2);
  assertEquals(await chosen(program, time, store), [first]);
  assertEquals(calls.length, 1);
  assertEquals(store.get("another", "any"), undefined);
  await chosen(lowered({ y: product(65) }), time, store);
  assertEquals(calls.length, 2);
});

Deno.test("webgpu: what cannot be timed is not kept", async () => {
  const store = memoryTuning();
  const program = lowered({ y: product(64) });
  assertEquals(await chosen(program, () => Promise.resolve(undefined), store), []);
  const { time, calls } = timerFor(64);
  assertEquals((await chosen(program, time, store)).length, 1);
  assertEquals(calls.length, 1);
});
