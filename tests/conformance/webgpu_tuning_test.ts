/** Tiles and attention's forms, found by running them. */
import { assembleGpu } from "../../backends/webgpu/assemble.ts";
import { backendOn } from "../../backends/webgpu/backend.ts";
import { gpuCapabilities } from "../../backends/webgpu/capabilities.ts";
import { reference } from "../../backends/reference/backend.ts";
import { sharedDevice } from "../../backends/webgpu/device.ts";
import { TILES } from "../../backends/webgpu/templates/tile.ts";

import { timerOn } from "../../backends/webgpu/time_dispatches.ts";
import {
  memoryTuning,
  type Tuned,
  tuneTiles,
  type TuningStore,
} from "../../backends/webgpu/tuning.ts";
import { gradients } from "../../compiler/autodiff.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import { staticShape } from "../../graph/shape.ts";
import * as g from "../../graph/mod.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";
import { moduleOf } from "../support/lowered.ts";
import { type RunnableGraph, runOn } from "../support/run_graph.ts";

function product(rows: number, k: number, columns: number): g.Node {
  const [x, w] = [g.input("x", "f32", [rows, k]), g.input("w", "f32", [k, columns])];
  return g.maximum(g.contract("b i, i o -> b o", x, w), 0);
}

function runnable(rows: number, k: number, columns: number): RunnableGraph {
  return valued({ y: product(rows, k, columns) });
}

function valued(results: Record<string, g.Node>): RunnableGraph {
  const { inputs, outputs } = moduleOf(results);
  const values = new Map([...inputs].map(([path, { shape }]) => {
    const sizes = staticShape(shape);
    const length = sizes.reduce((total, size) => total * size, 1);
    const data = Float64Array.from({ length }, (_, at) => Math.fround(Math.sin(at + path.length)));
    return [path, { dtype: "f32" as const, shape: sizes, data }];
  }));
  return { inputs, outputs, values };
}

function lowered(y: g.Node) {
  const capabilities = gpuCapabilities();
  return lowerGraph(moduleOf({ y }), { target: { alignment: capabilities.alignment } });
}

/** A store that counts what is added. */
function counting(): TuningStore & { readonly added: [string, Tuned][] } {
  const store = memoryTuning();
  const added: [string, Tuned][] = [];
  return {
    added,
    get: (adapter, kernel) => store.get(adapter, kernel),
    add: async (adapter, found) => {
      added.push(...found);
      await store.add(adapter, found);
    },
  };
}

Deno.test("webgpu: a program's tiles are those it is given", () => {
  const program = lowered(product(64, 200, 64));
  const capabilities = gpuCapabilities();
  const places = program.kernels.flatMap(({ kind }, at) => kind === "matmul" ? [at] : []);
  for (const name of ["large", "deep", "wideDirect"] as const) {
    const { modules } = assembleGpu(
      program,
      capabilities,
      { tiles: new Map(places.map((at) => [at, name])) },
    );
    const { rows, columns, ownRows, ownColumns, slices } = TILES[name];
    const invocations = rows / ownRows * (columns / ownColumns) * slices;
    assert(modules.some(({ wgsl }) => wgsl.includes(`@workgroup_size(${invocations}, 1)`)), name);
  }
});

gpuTest("WebGPU's tiles are measured once, and programs with them are right", async () => {
  const gpu = await sharedDevice();
  const store = counting();
  const tuned = backendOn(gpu, { tuning: store });
  const small = runnable(37, 50, 29);
  const results = [
    await runOn(tuned, small),
    await runOn(backendOn(gpu), small),
    await runOn(reference(), small),
  ].map((outputs) => outputs.get("y"));
  const [first, second, expected] = results;
  assert(first !== undefined && expected !== undefined);
  assertEquals(first, second);
  expected.forEach((value, at) => assert(Math.abs((first[at] ?? NaN) - value) < 1e-5));
  if (!gpu.capabilities.timestamps) return;
  assertEquals(store.added.length, 1);
  await runOn(tuned, runnable(37, 50, 29));
  assertEquals(store.added.length, 1);
  await runOn(tuned, runnable(37, 50, 30));
  assertEquals(store.added.length, 2);
});

gpuTest("WebGPU measures no tiles where it cannot", async () => {
  const gpu = await sharedDevice();
  const program = lowered(product(37, 50, 29));
  for (
    const capabilities of [
      { ...gpu.capabilities, timestamps: false },
      { ...gpu.capabilities, limits: { ...gpu.capabilities.limits, maxBufferSize: 1024 } },
    ]
  ) {
    const store = counting();
    const time = timerOn(gpu, capabilities);
    assertEquals(await tuneTiles(time, program, capabilities, store), new Map());
    assertEquals(store.added, []);
  }
});

gpuTest("WebGPU measures attention's forms once, and programs with them are right", async () => {
  const gpu = await sharedDevice();
  const store = counting();
  const [q, k, v] = ["q", "k", "v"].map((name) => g.input(name, "f32", [3, 17, 16]));
  if (q === undefined || k === undefined || v === undefined) throw new TypeError("There are three");
  const y = g.attention(q, k, v);
  const graph = valued({ y, ...gradients(g.sum(g.mul(y, y)), { q, k, v }) });
  const expected = await runOn(reference(), graph);
  for (let time = 0; time < 2; time++) {
    const results = await runOn(backendOn(gpu, { tuning: store }), graph);
    for (const [path, values] of expected) {
      values.forEach((value, at) =>
        assert(Math.abs((results.get(path)?.[at] ?? NaN) - value) < 1e-5, path)
      );
    }
  }
  const forms = store.added.filter(([, found]) => found === "fused" || found === "plain");
  assertEquals(forms.length, gpu.capabilities.timestamps ? 1 : 0);
});
