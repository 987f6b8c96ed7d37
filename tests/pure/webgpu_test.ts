/** What WebGPU kernels are made of, without a device. */
import {
  DEFAULT_LIMITS,
  type GpuCapabilities,
  gpuCapabilities,
} from "../../backends/webgpu/capabilities.ts";
import { webgpuShaders } from "../../backends/webgpu/shaders.ts";
import { fits, TILES } from "../../backends/webgpu/templates/tile.ts";
import { axisIndices, Strides } from "../../backends/webgpu/wgsl/strides.ts";
import { gradients } from "../../compiler/autodiff.ts";
import * as g from "../../graph/mod.ts";
import { adam, inferenceGraph, trainingStep, vit, vitVariant } from "../../models/mod.ts";
import { assert, assertEquals } from "../support/assert.ts";
import fc from "../support/fast_check.ts";
import { moduleOf } from "../support/lowered.ts";

Deno.test("webgpu: tiles fit the least device", () => {
  const subgroups = { directive: true, minSize: 8, maxSize: 8 };
  for (const tile of Object.values(TILES)) {
    assert(fits(tile, { limits: DEFAULT_LIMITS, subgroups }));
  }
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

function shadersOf(outputs: Record<string, g.Node>, capabilities = gpuCapabilities()): string[] {
  return webgpuShaders(moduleOf(outputs), { capabilities }).map(({ wgsl }) => wgsl);
}

const GOLDEN: Readonly<Record<string, () => Record<string, g.Node>>> = {
  add_scaled: () => ({ y: g.add(g.mul(g.input("x", "f32", [3, 5]), 2), 1) }),
  softmax: () => ({ y: g.softmax(g.input("x", "f32", [7, 200])) }),
  column_sums: () => ({ y: g.sum(g.input("x", "f32", [500, 48]), [0]) }),
  half_floats: () => ({ y: g.cast(g.cast(g.input("x", "f16", [6]), "f32"), "bf16") }),
  row_sums_in_subgroups: () => {
    const x = g.input("x", "f32", [7, 200]);
    return { total: g.sum(x, [1]), most: g.max(x, [1]) };
  },
  norm_in_subgroups: () => ({ y: g.layerNorm(g.input("x", "f32", [259, 80])) }),
  half_floats_of_a_type: () => ({ y: g.mul(g.input("x", "f16", [6]), 3) }),
  qk_norm: () => {
    const scale = g.input("scale", "f32", [8]);
    const q = g.layerNorm(g.input("q", "f32", [2, 40, 8]), { scale });
    const y = g.attention(q, g.input("k", "f32", [2, 64, 8]), g.input("v", "f32", [2, 64, 4]));
    return gradients(g.sum(y), { scale });
  },
  dense_relu: () => ({
    y: g.maximum(
      g.add(
        g.contract("b i, i o -> b o", g.input("x", "f32", [4, 6]), g.input("w", "f32", [6, 10])),
        g.input("b", "f32", [10]),
      ),
      0,
    ),
  }),
  product_of_half_floats: () => ({
    y: g.contract(
      "b i, i o -> b o",
      g.cast(g.input("x", "f16", [8, 16]), "f32"),
      g.cast(g.input("w", "bf16", [16, 8]), "f32"),
    ),
  }),
  dense_in_software: () => dense(64, 256),
  dense_on_gpu: () => dense(2048, 1024),
};

/** A layer on a driver in software or on a GPU. */
function dense(rows: number, columns: number): Record<string, g.Node> {
  const [x, w] = [g.input("x", "f32", [rows, 64]), g.input("w", "f32", [64, columns])];
  const [bias, residual] = [g.input("b", "f32", [columns]), g.input("r", "f32", [rows, columns])];
  return { y: g.add(g.add(g.contract("b i, i o -> b o", x, w), bias), residual) };
}

/** Devices that have more than the least. */
const DEVICES: Readonly<Record<string, GpuCapabilities>> = {
  half_floats_of_a_type: gpuCapabilities({ f16: true }),
  product_of_half_floats: gpuCapabilities({ f16: true }),
  norm_in_subgroups: gpuCapabilities({
    subgroups: { directive: false, minSize: 32, maxSize: 32 },
  }),
  dense_in_software: gpuCapabilities({
    software: true,
    subgroups: { directive: true, minSize: 8, maxSize: 8 },
  }),
  row_sums_in_subgroups: gpuCapabilities({
    subgroups: { directive: true, minSize: 8, maxSize: 32 },
  }),
};

for (const [name, build] of Object.entries(GOLDEN)) {
  Deno.test(`webgpu: the shaders of ${name}, for a device that is not here`, async () => {
    // Where nodes were made depends on where this repository is.
    const text = shadersOf(build(), DEVICES[name]).join("\n").replaceAll(/ at file:\S+/g, "");
    const path = new URL(`../golden/wgsl/${name}.wgsl`, import.meta.url);
    if (Deno.env.get("FOVEA_UPDATE_GOLDEN") === "wgsl") await Deno.writeTextFile(path, text);
    assertEquals(text, await Deno.readTextFile(path));
  });
}

Deno.test("webgpu: a shader begins with its kernel's nodes, where they are in the model, and the user's lines", () => {
  const x = g.input("x", "f32", [3, 5]);
  const y = g.withScope("encoder", () => g.withScope(2, () => g.gelu(g.mul(x, 2))));
  const [text = ""] = shadersOf({ y });
  const [title, ...lines] = text.split("\n\n")[0]?.split("\n") ?? [];
  assert(/^\/\/ rows_mul\w+$/.test(title ?? ""), title);
  assert(lines.length > 2);
  for (const line of lines) {
    assert(/^\/\/ {3}\w+ in encoder\/2 at file:.*webgpu_test\.ts:\d+:\d+$/.test(line), line);
  }
});

Deno.test("webgpu: twelve blocks have the shaders of two, forward and in training", () => {
  const shaders = (depth: number, isTrained: boolean) => {
    const model = vit(vitVariant("Ti/16", { depth }));
    const schedule = { kind: "constant", learningRate: 1e-3 } as const;
    const optimizer = adam({ schedule, clipNorm: 1, weightDecay: 0.1 });
    const bind = { batch: 2 };
    return isTrained
      ? webgpuShaders(trainingStep({ model, optimizer }), { bind, donate: { state: "state" } })
      : webgpuShaders(inferenceGraph(model), { bind });
  };
  for (const isTrained of [false, true]) {
    assertEquals(shaders(12, isTrained).length, shaders(2, isTrained).length);
  }
});
