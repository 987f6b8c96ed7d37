/** A GPU's limits: what programs are cut into keeps all of them, without a device. */
import { assembleGpu } from "../../backends/webgpu/assemble.ts";
import { memberBindings } from "../../backends/webgpu/bindings.ts";
import {
  DEFAULT_LIMITS,
  gpuCapabilities,
  type GpuLimits,
} from "../../backends/webgpu/capabilities.ts";
import { gpuTarget } from "../../backends/webgpu/target.ts";
import { withWorkspaces } from "../../backends/webgpu/workspace.ts";
import { gridOf, groupNumber } from "../../backends/webgpu/wgsl/module.ts";
import { gradients } from "../../compiler/autodiff.ts";
import type { KernelBuffer } from "../../compiler/loop_ir.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import type { Program } from "../../compiler/program.ts";
import * as g from "../../graph/mod.ts";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "../support/assert.ts";
import fc from "../support/fast_check.ts";
import { checkLimits, checkRanges } from "../support/gpu_limits.ts";
import { moduleOf } from "../support/lowered.ts";
import { qkNormForms, qkNormGraph, withGradients } from "../support/qk_norm_graphs.ts";
import { buildGraph, recipes } from "../support/random_graphs.ts";

Deno.test("webgpu: a grid covers its workgroups within the limit", () => {
  const cases = fc.record({
    most: fc.integer({ min: 1, max: 70000 }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  fc.assert(fc.property(cases, ({ most, share }) => {
    const workgroups = Math.floor(share ** 4 * Math.min(most ** 3, 2 ** 31));
    const limits = { ...DEFAULT_LIMITS, maxComputeWorkgroupsPerDimension: most };
    const grid = gridOf(workgroups, limits);
    assert(grid.every((size) => size >= 1 && size <= most), `${grid}`);
    const covered = grid[0] * grid[1] * grid[2];
    assert(covered >= workgroups, `${grid} covers ${covered} of ${workgroups}`);
  }));
  const limits = { ...DEFAULT_LIMITS, maxComputeWorkgroupsPerDimension: 4 };
  assertThrows(() => gridOf(65, limits), RangeError, "Cannot dispatch 65 workgroups");
  assertEquals(groupNumber(gridOf(17, limits)), "((group.z * 3u + group.y) * 3u + group.x)");
});

/** A program with buffers at these places, and a kernel that binds all of them. */
function bindingCase(places: readonly { offset: number; elements: number }[]) {
  const buffers = places.map(({ elements }, at): KernelBuffer => ({
    name: `b${at}`,
    dtype: "f32",
    elements,
    access: "read",
  }));
  const arenaBytes = 256 * 64;
  const program: Program = {
    kernels: [],
    steps: [],
    buffers: places.map(({ offset, elements }) => ({
      name: "",
      dtype: "f32",
      elements,
      offset,
      bytes: 4 * elements,
    })),
    inputs: [],
    outputs: [],
    constants: [],
    arenaBytes,
    lowerBoundBytes: arenaBytes,
    peak: [],
    recomputed: { flops: 0, fraction: 0, regions: [] },
  };
  const kernel = {
    kind: "loops" as const,
    name: "kernel",
    buffers,
    parallel: { variable: "u", extent: 1 },
    body: [],
  };
  return { program, kernel, member: { buffers: places.map((_, at) => at), sizes: [] } };
}

Deno.test("webgpu: bindings keep the limits, do not meet, and hold their buffers", () => {
  const cases = fc.record({
    places: fc.array(
      fc.record({ offset: fc.nat(40).map((slot) => slot * 256), elements: fc.nat(600) }),
      { minLength: 1, maxLength: 20 },
    ),
    most: fc.integer({ min: 7, max: 12 }),
    alignment: fc.constantFrom(32, 64, 128, 256),
    // The arena has 16,384 bytes: with these sizes seven bindings can cover it.
    binding: fc.integer({ min: 4400, max: 20000 }),
    buffer: fc.integer({ min: 8800, max: 40000 }),
  });
  fc.assert(fc.property(cases, ({ places, most, alignment, binding, buffer }) => {
    const { program, kernel, member } = bindingCase(places);
    const limits = {
      ...DEFAULT_LIMITS,
      maxStorageBuffersPerShaderStage: most,
      minStorageBufferOffsetAlignment: alignment,
      maxStorageBufferBindingSize: binding,
      maxBufferSize: buffer,
    };
    const { layout, ranges } = memberBindings(program, kernel, member, limits);
    checkRanges(ranges, limits);
    assertEquals(layout.regions.flat(), ranges.map(({ bytes }) => bytes));
    const starts: number[] = [];
    let first = 0;
    for (const parts of layout.regions) {
      starts.push(ranges[first]?.offset ?? NaN);
      parts.slice(1).forEach((_, at) => {
        const [one, next] = ranges.slice(first + at, first + at + 2);
        assertEquals((one?.offset ?? NaN) + (one?.bytes ?? NaN), next?.offset);
      });
      first += parts.length;
    }
    places.forEach(({ offset, elements }, at) => {
      const { region = -1, offset: inside = NaN } = layout.places[at] ?? {};
      const bytes = (layout.regions[region] ?? []).reduce((sum, part) => sum + part, 0);
      if (elements > 0) assertEquals((starts[region] ?? NaN) + inside, offset);
      assert(inside + 4 * elements <= bytes);
    });
  }));
});

Deno.test("webgpu: a buffer larger than a binding takes several, as few as can be", () => {
  const { program, kernel, member } = bindingCase([{ offset: 0, elements: 300 }]);
  const limits = { ...DEFAULT_LIMITS, maxStorageBufferBindingSize: 600 };
  const { layout, ranges } = memberBindings(program, kernel, member, limits);
  assertEquals(layout.regions, [[512, 512, 176]]);
  assertEquals(ranges.map(({ offset }) => offset), [0, 512, 1024]);
});

Deno.test("webgpu: a kernel that takes too many bindings is refused", () => {
  const { program, kernel, member } = bindingCase([{ offset: 0, elements: 300 }]);
  const limits = {
    ...DEFAULT_LIMITS,
    maxStorageBufferBindingSize: 512,
    maxStorageBuffersPerShaderStage: 2,
  };
  assertThrows(
    () => memberBindings(program, kernel, member, limits),
    RangeError,
    "Kernel kernel takes 3 bindings of at most 512 bytes: the device has 2",
  );
});

/** Limits below and above what every device has. */
const someLimits = fc.record({
  storageBuffers: fc.integer({ min: 4, max: 16 }),
  alignment: fc.constantFrom(32, 64, 128, 256),
  /** Of the arena's size. */
  bindingShare: fc.double({ min: 0.15, max: 1.5, noNaN: true }),
  bufferShare: fc.double({ min: 0.15, max: 1.5, noNaN: true }),
  workgroups: fc.integer({ min: 12, max: 65535 }),
  storage: fc.constantFrom(16384, 32768, 65536),
  invocations: fc.constantFrom(128, 256, 512, 1024),
  sizeX: fc.constantFrom(64, 128, 256, 1024),
  sizeY: fc.constantFrom(64, 128, 256, 1024),
  // What one item touches can be all there is.
}).filter(({ storageBuffers, bindingShare, bufferShare }) =>
  storageBuffers * Math.min(bindingShare, bufferShare) >= 1.25
);

function checkProgram(
  graph: Parameters<typeof lowerGraph>[0],
  chosen: typeof someLimits extends fc.Arbitrary<infer T> ? T : never,
): void {
  const least = gpuCapabilities({ limits: { minStorageBufferOffsetAlignment: chosen.alignment } });
  const { alignment } = least;
  const program = withWorkspaces(lowerGraph(graph, { target: gpuTarget(least) }), least);
  const share = (part: number) => Math.ceil(program.arenaBytes * part) + 2 * alignment;
  const limits: GpuLimits = {
    maxBufferSize: share(chosen.bufferShare),
    maxStorageBufferBindingSize: share(chosen.bindingShare),
    maxStorageBuffersPerShaderStage: chosen.storageBuffers,
    minStorageBufferOffsetAlignment: chosen.alignment,
    maxComputeWorkgroupStorageSize: chosen.storage,
    maxComputeInvocationsPerWorkgroup: chosen.invocations,
    maxComputeWorkgroupSizeX: chosen.sizeX,
    maxComputeWorkgroupSizeY: chosen.sizeY,
    maxComputeWorkgroupsPerDimension: chosen.workgroups,
  };
  checkLimits(assembleGpu(program, gpuCapabilities({ limits })), limits);
}

Deno.test("webgpu: random programs keep random limits", () => {
  fc.assert(
    fc.property(recipes(15, "mixed"), someLimits, (recipe, limits) => {
      checkProgram(buildGraph(recipe), limits);
    }),
    { numRuns: 60 },
  );
});

Deno.test("webgpu: matmuls, attention and their gradients keep random limits", () => {
  const size = fc.integer({ min: 1, max: 70 });
  const sizes = fc.record({ batch: fc.integer({ min: 1, max: 3 }), n: size, d: size });
  fc.assert(
    fc.property(sizes, someLimits, ({ batch, n, d }, limits) => {
      const x = g.input("x", "f32", [batch, n, d]);
      const w = g.input("w", "f32", [d, d]);
      const q = g.contract("b n d, d e -> b n e", x, w);
      const y = g.reshape(
        g.attention(
          g.reshape(q, [batch, 1, n, d]),
          g.reshape(x, [batch, 1, n, d]),
          g.reshape(x, [batch, 1, n, d]),
        ),
        [batch, n, d],
      );
      const loss = g.mean(g.sin(g.add(y, q)));
      checkProgram(moduleOf({ loss, ...gradients(loss, { x, w }) }), limits);
    }),
    { numRuns: 40 },
  );
});

Deno.test("webgpu: attention of normalised rows and its gradient keep random limits", () => {
  fc.assert(
    fc.property(qkNormForms, someLimits, (form, limits) => {
      checkProgram(moduleOf(withGradients(qkNormGraph(form))), limits);
    }),
    { numRuns: 40 },
  );
});

Deno.test("webgpu: what lies in several bindings is found by its place", () => {
  const capabilities = gpuCapabilities({ limits: { maxStorageBufferBindingSize: 512 } });
  const { alignment } = capabilities;
  const half = g.cast(g.add(g.input("x", "f32", [200]), 1), "bf16");
  const program = lowerGraph(moduleOf({ y: half }), { target: { alignment } });
  const [module] = assembleGpu(program, capabilities).modules;
  assertStringIncludes(module?.code ?? "", "if (place < 128) { return in1[place]; }");
  assertStringIncludes(module?.code ?? "", "return in1_1[place - 128];");
});
