/** How tuning chooses, with times that a test makes up. */
import { assembleGpu } from "../../backends/webgpu/assemble.ts";
import { gpuCapabilities } from "../../backends/webgpu/capabilities.ts";
import {
  ATTENTION_TILES,
  attentionInvocations,
} from "../../backends/webgpu/templates/attention_division.ts";
import { TILES } from "../../backends/webgpu/templates/tile.ts";
import type { TileName } from "../../backends/webgpu/templates/tile_names.ts";
import type { DispatchTimer } from "../../backends/webgpu/time_dispatches.ts";
import { memoryTuning, tuneTiles, type TuningStore } from "../../backends/webgpu/tuning.ts";
import { gradients } from "../../compiler/autodiff.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import type { Program } from "../../compiler/program.ts";
import * as g from "../../graph/mod.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";
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

function attention(tokens: number, isTrained: boolean): Record<string, g.Node> {
  const [q, k, v] = ["q", "k", "v"].map((name) => g.input(name, "f32", [2, tokens, 16]));
  if (q === undefined || k === undefined || v === undefined) throw new TypeError("There are three");
  const y = g.attention(q, k, v);
  return isTrained ? { y, ...gradients(g.sum(g.mul(y, y)), { q, k, v }) } : { y };
}

Deno.test("webgpu: tuning takes attention's fastest tile, forward and backward", async () => {
  const store = memoryTuning();
  const { time, calls } = timerFor(attentionInvocations(ATTENTION_TILES.attention64));
  const program = lowered(attention(100, true));
  // Two tiles of the gradient's are more than the least workgroup memory.
  const limits = { ...capabilities.limits, maxComputeWorkgroupStorageSize: 2 ** 16 };
  const device = { ...capabilities, limits };
  const tiles = await tuneTiles(time, program, device, store);
  assertEquals([...tiles.values()], ["attention64", "attention64"]);
  assertEquals(calls, [2, 2]);
  assertEquals(await tuneTiles(time, program, device, store), tiles);
  assertEquals(calls.length, 2);
  const { modules } = assembleGpu(program, device, { tiles });
  const attending = modules.filter(({ kernel }) => kernel.startsWith("attention"));
  assertEquals(attending.length, 3);
  assert(attending.every(({ wgsl }) => wgsl.includes("@workgroup_size(256, 1)")));
});

Deno.test("webgpu: attention's tile is what its sizes suggest, by what a device is", () => {
  const tileOn = (tokens: number, software: boolean) => {
    const program = lowered(attention(tokens, false));
    const { modules } = assembleGpu(program, { ...capabilities, software });
    return modules.map(({ wgsl }) => Number(/@workgroup_size\((\d+), 1\)/.exec(wgsl)?.[1]));
  };
  for (const tokens of [17, 65, 197]) assertEquals(tileOn(tokens, false), [64]);
  assertEquals(tileOn(17, true), [25]);
  assertEquals(tileOn(197, true), [100]);
});

Deno.test("webgpu: a kernel in no tile of its kind, or that the device has no room for, is an error", () => {
  const program = lowered(attention(100, false));
  const tiles = (tile: TileName) => ({ tiles: new Map([[0, tile]]) });
  assertThrows(() => assembleGpu(program, capabilities, tiles("deep")), RangeError, '"deep"');
  const assemble = () => assembleGpu(program, capabilities, tiles("attention64"));
  assertThrows(assemble, RangeError, "256 invocations");
  const matmul = lowered({ y: product(64) });
  const other = () => assembleGpu(matmul, capabilities, tiles("attention64"));
  assertThrows(other, RangeError, '"attention64"');
});

Deno.test("webgpu: what cannot be timed is not kept", async () => {
  const store = memoryTuning();
  const program = lowered({ y: product(64) });
  assertEquals(await chosen(program, () => Promise.resolve(undefined), store), []);
  const { time, calls } = timerFor(64);
  assertEquals((await chosen(program, time, store)).length, 1);
  assertEquals(calls.length, 1);
});
