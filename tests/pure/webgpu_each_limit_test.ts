/**
 * Each of a GPU's limits by itself: random programs keep it where it is tight, and some of them would
 * break it if it were not looked at. `webgpu_limits_test.ts` has all of them at once.
 */
import { assembleGpu, type GpuProgram } from "../../backends/webgpu/assemble.ts";
import {
  DEFAULT_LIMITS,
  type GpuCapabilities,
  gpuCapabilities,
  type GpuLimits,
} from "../../backends/webgpu/capabilities.ts";
import { gpuTarget, withMemory } from "../../backends/webgpu/target.ts";
import type { GraphModule } from "../../compiler/module.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import * as g from "../../graph/mod.ts";
import { assert } from "../support/assert.ts";
import { attentionWithGradients } from "../support/attention_graphs.ts";
import fc from "../support/fast_check.ts";
import { checkLimits } from "../support/gpu_limits.ts";
import { moduleOf } from "../support/lowered.ts";
import { qkNormForms, qkNormGraph, withGradients } from "../support/qk_norm_graphs.ts";
import { buildGraph, recipes } from "../support/random_graphs.ts";

/** What a large device has. */
const AMPLE: GpuLimits = {
  ...DEFAULT_LIMITS,
  maxStorageBuffersPerShaderStage: 16,
  minStorageBufferOffsetAlignment: 32,
  maxComputeWorkgroupStorageSize: 65536,
  maxComputeInvocationsPerWorkgroup: 1024,
  maxComputeWorkgroupSizeX: 1024,
  maxComputeWorkgroupSizeY: 1024,
};

/** For each limit, values that are too little for what is done on a large device. */
const TIGHT: Readonly<Record<keyof GpuLimits, (share: number, arenaBytes: number) => number>> = {
  maxStorageBuffersPerShaderStage: between(2, 8),
  // All of a device's bindings hold at least twice what a program has.
  maxStorageBufferBindingSize: (share, arenaBytes) => Math.ceil((1 + share) * arenaBytes / 8) + 64,
  maxBufferSize: (share, arenaBytes) => Math.ceil((1 + share) * arenaBytes / 8) + 64,
  minStorageBufferOffsetAlignment: (share) => 64 << Math.floor(2.999 * share),
  maxComputeWorkgroupStorageSize: between(16384, 24576),
  maxComputeInvocationsPerWorkgroup: between(64, 255),
  maxComputeWorkgroupSizeX: between(64, 255),
  maxComputeWorkgroupSizeY: between(1, 15),
  maxComputeWorkgroupsPerDimension: between(12, 60),
};

function between(least: number, most: number): (share: number) => number {
  return (share) => Math.round(least + share * (most - least));
}

const extent = fc.integer({ min: 1, max: 70 });

/** Reductions of many values at once, of rows or of columns. */
const sums = fc.record({
  count: fc.constantFrom(1, 2, 7, 18, 25, 33, 40),
  rows: fc.constantFrom(8, 1100),
  columns: fc.constantFrom(8, 300, 1100, 1100),
  axis: fc.nat(1),
}).map(({ count, rows, columns, axis }): GraphModule => {
  const x = g.input("x", "f32", [rows, columns]);
  const all = Array.from({ length: count }, (_, at) => g.sum(g.sin(g.mul(x, at + 1.5)), axis));
  return moduleOf({ y: all.reduce((a, b) => g.mul(a, b)) });
});

const matmuls = fc.record({
  batch: fc.integer({ min: 1, max: 4 }),
  m: extent,
  k: extent,
  n: extent,
})
  .map(({ batch, m, k, n }): GraphModule => {
    const product = g.matmul(g.input("a", "f32", [batch, m, k]), g.input("b", "f32", [k, n]));
    return moduleOf({ y: g.gelu(g.add(product, g.input("bias", "f32", [n]))) });
  });

const attention = fc.record({
  batch: fc.integer({ min: 1, max: 3 }),
  tokens: extent,
  depth: fc.integer({ min: 1, max: 20 }),
}).map(({ batch, tokens, depth }): GraphModule =>
  moduleOf(attentionWithGradients(batch, tokens, depth))
);

const programs: fc.Arbitrary<GraphModule> = fc.oneof(
  { weight: 3, arbitrary: recipes(15, "mixed").map(buildGraph) },
  { weight: 1, arbitrary: qkNormForms.map((form) => moduleOf(withGradients(qkNormGraph(form)))) },
  { weight: 4, arbitrary: sums },
  { weight: 1, arbitrary: matmuls },
  { weight: 1, arbitrary: attention },
);

/** What devices differ in beside limits. */
const devices = fc.constantFrom<Parameters<typeof gpuCapabilities>[0]>(
  {},
  { software: true },
  { f16: true, subgroups: { directive: true, minSize: 32, maxSize: 32 } },
);

function assembled(graph: GraphModule, capabilities: GpuCapabilities): GpuProgram {
  const lowered = lowerGraph(graph, { target: gpuTarget(capabilities) });
  return assembleGpu(withMemory(lowered, capabilities, false).program, capabilities);
}

function isKept(program: GpuProgram, limits: GpuLimits): boolean {
  try {
    checkLimits(program, limits);
    return true;
  } catch {
    return false;
  }
}

for (const [name, valueOf] of Object.entries(TIGHT)) {
  Deno.test(`webgpu: random programs keep ${name}`, () => {
    let wouldBreak = 0;
    const shares = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(programs, devices, shares, (graph, device, share) => {
        const ample = assembled(graph, gpuCapabilities({ ...device, limits: AMPLE }));
        checkLimits(ample, AMPLE);
        const limits = { ...AMPLE, [name]: valueOf(share, ample.arenaBytes) };
        if (!isKept(ample, limits)) wouldBreak++;
        checkLimits(assembled(graph, gpuCapabilities({ ...device, limits })), limits);
      }),
      { numRuns: 150 },
    );

    assert(wouldBreak > 0, "No program comes near the limit");
  });
}
