/** Checks that a program for a GPU keeps the limits of a device that is not here. */
import type { GpuDispatch, GpuModule, GpuProgram } from "../../backends/webgpu/assemble.ts";
import { segmentBytes } from "../../backends/webgpu/bindings.ts";
import type { GpuLimits } from "../../backends/webgpu/capabilities.ts";
import { assert, assertEquals } from "./assert.ts";

/** Every shader and every dispatch. */
export function checkLimits({ modules, dispatches }: GpuProgram, limits: GpuLimits): void {
  for (const module of modules) checkShader(module, limits);
  for (const dispatch of dispatches) {
    const module = modules[dispatch.module];
    assert(module !== undefined);
    checkDispatch(dispatch, module, limits);
  }
}

/** Ranges in one buffer of the arena each, within a binding's size, where a binding may begin. */
export function checkRanges(
  ranges: readonly { offset: number; bytes: number }[],
  limits: GpuLimits,
): void {
  const segment = segmentBytes(limits);
  assert(segment <= limits.maxBufferSize);
  assert(ranges.length <= limits.maxStorageBuffersPerShaderStage);
  const sorted = [...ranges].sort((a, b) => a.offset - b.offset);
  sorted.forEach(({ offset, bytes }, at) => {
    assertEquals(offset % limits.minStorageBufferOffsetAlignment, 0);
    assert(bytes > 0 && bytes <= limits.maxStorageBufferBindingSize);
    assertEquals(Math.floor(offset / segment), Math.floor((offset + bytes - 1) / segment));
    const next = sorted[at + 1];
    assert(next === undefined || offset + bytes <= next.offset);
  });
}

const SIZES: Readonly<Record<string, number>> = {
  f32: 4,
  i32: 4,
  u32: 4,
  bool: 4,
  f16: 2,
  "vec2<f32>": 8,
  "vec4<f32>": 16,
};

function checkShader({ wgsl, bindings }: GpuModule, limits: GpuLimits): void {
  const [, x = NaN, y = NaN] = (/@workgroup_size\((\d+), (\d+)\)/.exec(wgsl) ?? []).map(Number);
  assert(x >= 1 && x <= limits.maxComputeWorkgroupSizeX, `${x} invocations along x`);
  assert(y >= 1 && y <= limits.maxComputeWorkgroupSizeY, `${y} invocations along y`);
  assert(x * y <= limits.maxComputeInvocationsPerWorkgroup, `${x} x ${y} invocations`);
  const shared = [...wgsl.matchAll(/^var<workgroup> \w+: array<(.*), (\d+)>;$/gm)];
  assertEquals(shared.length, wgsl.match(/var<workgroup>/g)?.length ?? 0);
  const bytes = shared.reduce(
    (sum, [, type = "", count = ""]) => sum + (SIZES[type] ?? NaN) * Number(count),
    0,
  );
  assert(bytes <= limits.maxComputeWorkgroupStorageSize, `${bytes} bytes of workgroup memory`);
  const declared = [
    ...wgsl.matchAll(/@binding\((\d+)\) var<storage, read_write> \w+: array<(.*), (\d+)>;/g),
  ];
  assertEquals(declared.map(([, binding]) => Number(binding)), bindings.map((_, at) => at));
  declared.forEach(([, , type = "", count = ""], at) => {
    const size = SIZES[type.replace(/^atomic<(.*)>$/, "$1")] ?? NaN;
    assert(size * Number(count) <= (bindings[at] ?? 0), `${count} of ${type} in binding ${at}`);
  });
}

function checkDispatch({ grid, ranges }: GpuDispatch, module: GpuModule, limits: GpuLimits): void {
  const most = limits.maxComputeWorkgroupsPerDimension;
  assert(grid.every((size) => size >= 1 && size <= most), `a grid of ${grid}`);
  checkRanges(ranges, limits);
  assertEquals(module.bindings, ranges.map(({ bytes }) => bytes));
}
