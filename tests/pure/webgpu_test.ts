/** What WebGPU kernels are made of, without a device. */
import { memberBindings } from "../../backends/webgpu/bindings.ts";
import { DEFAULT_LIMITS, gpuCapabilities } from "../../backends/webgpu/capabilities.ts";
import { assembleGpu } from "../../backends/webgpu/assemble.ts";
import { fits, TILES } from "../../backends/webgpu/templates/tile.ts";
import { gridOf, groupNumber } from "../../backends/webgpu/wgsl/module.ts";
import { axisIndices, Strides } from "../../backends/webgpu/wgsl/strides.ts";
import type { KernelBuffer } from "../../compiler/loop_ir.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import type { Program } from "../../compiler/program.ts";
import * as g from "../../graph/mod.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import fc from "../support/fast_check.ts";
import { moduleOf } from "../support/lowered.ts";

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

Deno.test("webgpu: bindings do not meet, are few enough, and hold their buffers", () => {
  const place = fc.record({
    offset: fc.nat(40).map((slot) => slot * 256),
    elements: fc.nat(200),
  });
  const limit = fc.integer({ min: 1, max: 12 });
  fc.assert(fc.property(fc.array(place, { minLength: 1, maxLength: 20 }), limit, (places, most) => {
    const { program, kernel, member } = bindingCase(places);
    const limits = { ...DEFAULT_LIMITS, maxStorageBuffersPerShaderStage: most };
    const { layout, ranges } = memberBindings(program, kernel, member, limits);
    assert(ranges.length <= most);
    assertEquals(layout.bindings, ranges.map(({ bytes }) => bytes));
    const sorted = [...ranges].sort((a, b) => a.offset - b.offset);
    sorted.forEach((range, at) => {
      assertEquals(range.offset % 256, 0);
      const next = sorted[at + 1];
      assert(next === undefined || range.offset + range.bytes <= next.offset);
    });
    places.forEach(({ offset, elements }, at) => {
      const bound = layout.places[at];
      const range = ranges[bound?.binding ?? -1];
      if (bound === undefined || range === undefined) throw new RangeError(`No binding for ${at}`);
      if (elements > 0) assertEquals(range.offset + bound.offset, offset);
      assert(bound.offset + 4 * elements <= range.bytes);
    });
  }));
});

Deno.test("webgpu: a binding beyond the device's limit is refused", () => {
  const { program, kernel, member } = bindingCase([{ offset: 0, elements: 65 }]);
  const limits = { ...DEFAULT_LIMITS, maxStorageBufferBindingSize: 256 };
  assertThrows(
    () => memberBindings(program, kernel, member, limits),
    RangeError,
    "binds 260 bytes as one",
  );
});

Deno.test("webgpu: tiles fit the least device", () => {
  for (const tile of Object.values(TILES)) assert(fits(tile, DEFAULT_LIMITS));
});

/** Whole-number WGSL text as JavaScript computes it. */
function evaluate(text: string, flat: number): number {
  const quotients = text.replaceAll(/flat \/ \d+/g, "Math.floor($&)");
  return Number(new Function("flat", `return ${quotients}`)(flat));
}

Deno.test("webgpu: flat numbers lead to the strided places of their axes", () => {
  const axis = fc.record({ extent: fc.integer({ min: 1, max: 4 }), stride: fc.nat(9) });
  fc.assert(fc.property(fc.array(axis, { maxLength: 4 }), (axes) => {
    const extents = axes.map(({ extent }) => extent);
    const strides = axes.map(({ stride }) => stride);
    const total = extents.reduce((product, extent) => product * extent, 1);
    for (let flat = 0; flat < total; flat++) {
      let rest = flat;
      const index = extents.map(() => 0);
      for (let at = extents.length - 1; at >= 0; at--) {
        index[at] = rest % (extents[at] ?? 1);
        rest = Math.floor(rest / (extents[at] ?? 1));
      }
      const place = index.reduce((sum, value, at) => sum + value * (strides[at] ?? 0), 0);
      assertEquals(evaluate(new Strides(axes).offset("flat"), flat), place);
      const texts = axisIndices("flat", extents);
      assertEquals(texts.map((text) => evaluate(text, flat)), index);
    }
  }));
});

function shadersOf(outputs: Record<string, g.Node>): string[] {
  const capabilities = gpuCapabilities();
  const { alignment } = capabilities;
  const program = lowerGraph(moduleOf(outputs), { target: { alignment } });
  return assembleGpu(program, capabilities).modules.map(({ wgsl }) => wgsl);
}

const GOLDEN: Readonly<Record<string, () => Record<string, g.Node>>> = {
  add_scaled: () => ({ y: g.add(g.mul(g.input("x", "f32", [3, 5]), 2), 1) }),
  softmax: () => ({ y: g.softmax(g.input("x", "f32", [7, 200])) }),
  column_sums: () => ({ y: g.sum(g.input("x", "f32", [500, 48]), [0]) }),
  half_floats: () => ({ y: g.cast(g.cast(g.input("x", "f16", [6]), "f32"), "bf16") }),
  dense_relu: () => ({
    y: g.maximum(
      g.add(
        g.contract("b i, i o -> b o", g.input("x", "f32", [4, 6]), g.input("w", "f32", [6, 10])),
        g.input("b", "f32", [10]),
      ),
      0,
    ),
  }),
};

for (const [name, build] of Object.entries(GOLDEN)) {
  Deno.test(`webgpu: the shaders of ${name}, for a device that is not here`, async () => {
    // Where nodes were made depends on where this repository is.
    const text = shadersOf(build()).join("\n").replaceAll(/ at file:\S+/g, "");
    const path = new URL(`../golden/wgsl/${name}.wgsl`, import.meta.url);
    if (Deno.env.get("FOVEA_UPDATE_GOLDEN") === "wgsl") await Deno.writeTextFile(path, text);
    assertEquals(text, await Deno.readTextFile(path));
  });
}
