/** A limit to memory holds for all that a program takes on a GPU, which is more than its own arena. */
import { gpuCapabilities, type GpuLimits } from "../../backends/webgpu/capabilities.ts";
import { assembleGpu } from "../../backends/webgpu/assemble.ts";
import { gpuTarget, withMemory } from "../../backends/webgpu/target.ts";
import { gradients } from "../../compiler/autodiff.ts";
import type { GraphModule } from "../../compiler/module.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import * as g from "../../graph/mod.ts";
import { adam, trainingStep, vit } from "../../models/mod.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import fc from "../support/fast_check.ts";
import { moduleOf } from "../support/lowered.ts";
import {
  qkNormForms,
  qkNormGraph,
  trainedBlocks,
  withGradients,
} from "../support/qk_norm_graphs.ts";
import { buildGraph, recipes } from "../support/random_graphs.ts";

/** Devices on which programs take little, much, and very much memory beside their own. */
const DEVICES: readonly Partial<GpuLimits>[] = [
  {},
  { maxStorageBuffersPerShaderStage: 6, maxStorageBufferBindingSize: 2048 },
  {
    maxStorageBuffersPerShaderStage: 4,
    maxStorageBufferBindingSize: 4096,
    maxBufferSize: 8192,
    minStorageBufferOffsetAlignment: 32,
  },
];

interface Taken {
  /** Bytes of the arena on the device. */
  readonly device: number;
  /** Bytes of the program's own. */
  readonly own: number;
  readonly recomputes: boolean;
}

function taken(
  module: GraphModule,
  limits: Partial<GpuLimits>,
  memoryLimit?: number,
  isAudited = false,
): Taken {
  const capabilities = gpuCapabilities({ limits });
  const target = gpuTarget(capabilities, { memoryLimit }, isAudited);
  const lowered = lowerGraph(module, { target, memoryLimit });
  const { program, audit } = withMemory(lowered, capabilities, isAudited);
  const { arenaBytes } = assembleGpu(program, capabilities, { audit });
  const recomputes = lowered.recomputed.regions.length > 0;
  return { device: arenaBytes, own: lowered.arenaBytes, recomputes };
}

/** The number in the message of the error that a limit gives. */
function smallestLimit(attempt: () => unknown): number {
  const { message } = assertThrows(attempt, RangeError, "would work is");
  return Number(/smallest memoryLimit that would work is (\d+)/.exec(message)?.[1]);
}

/** Checks that the smallest limit there is works and is kept. */
function checkSmallest(module: GraphModule, limits: Partial<GpuLimits>, isAudited = false): Taken {
  const smallest = smallestLimit(() => taken(module, limits, 1, isAudited));
  const found = taken(module, limits, smallest, isAudited);
  assert(found.device <= smallest, `${found.device} bytes of ${smallest}`);
  assert(found.own < found.device, "nothing beside the program's own");
  assertEquals(smallestLimit(() => taken(module, limits, smallest - 1, isAudited)), smallest);
  return found;
}

Deno.test("webgpu: random programs keep a limit with all that they take beside their own memory", () => {
  let recomputing = 0;
  const cases = fc.record({
    recipe: recipes(14),
    limits: fc.constantFrom(...DEVICES),
    isAudited: fc.boolean(),
  });
  fc.assert(
    fc.property(cases, ({ recipe, limits, isAudited }) => {
      const { inputs, outputs } = buildGraph(recipe);
      const loss = [...outputs.values()].map((node) => g.mean(g.sin(node)))
        .reduce((a, b) => g.add(a, b));
      const module = moduleOf({ loss, ...gradients(loss, Object.fromEntries(inputs)) });
      if (checkSmallest(module, limits, isAudited).recomputes) recomputing++;
    }),
    { numRuns: 40 },
  );
  assert(recomputing > 0, "No program had anything to recompute");
});

Deno.test("webgpu: attention of normalised rows keeps a limit with its workspace", () => {
  const cases = fc.record({
    form: qkNormForms,
    limits: fc.constantFrom(...DEVICES),
  });
  fc.assert(
    fc.property(cases, ({ form, limits }) => {
      checkSmallest(moduleOf(withGradients(qkNormGraph(form))), limits);
    }),
    { numRuns: 20 },
  );
});

Deno.test("webgpu: a limit between a program's own memory and all that it takes is one to keep", () => {
  const module = moduleOf(trainedBlocks(2, 16));
  const plain = taken(module, {});
  assert(!plain.recomputes && plain.device > plain.own);
  const limit = Math.floor((plain.own + plain.device) / 2);
  const limited = taken(module, {}, limit);
  assert(limited.recomputes, "nothing was recomputed");
  assert(limited.device <= limit, `${limited.device} bytes in ${limit}`);
  assertEquals(taken(module, {}, plain.device), plain);
});

Deno.test("webgpu: a training step's limit is kept where its kernels are cut", () => {
  const model = vit({
    imageSize: 16,
    patchSize: 4,
    channels: 1,
    width: 16,
    depth: 3,
    heads: 2,
    mlpWidth: 48,
    classes: 3,
    qkNorm: "layer",
  });
  const schedule = { kind: "constant", learningRate: 1e-3 } as const;
  const step = trainingStep({ model, optimizer: adam({ schedule, clipNorm: 1 }) });
  const limits = { maxStorageBufferBindingSize: 2 ** 14, maxStorageBuffersPerShaderStage: 6 };
  const capabilities = gpuCapabilities({ limits });
  const options = { bind: { batch: 2 }, donate: { state: "state" } };
  const bytesIn = (memoryLimit?: number) => {
    const target = gpuTarget(capabilities, { memoryLimit });
    const lowered = lowerGraph(step, { ...options, target, memoryLimit });
    const { program } = withMemory(lowered, capabilities, false);
    return assembleGpu(program, capabilities).arenaBytes;
  };
  const smallest = smallestLimit(() => bytesIn(1));
  const whole = bytesIn();
  assert(smallest < whole);
  for (const share of [0, 0.3, 0.7]) {
    const limit = Math.ceil(smallest + share * (whole - smallest));
    const bytes = bytesIn(limit);
    assert(bytes <= limit, `${bytes} bytes in ${limit}`);
  }
});

Deno.test("webgpu: kernels are not grouped where that takes what the device needs beside the arena", () => {
  // Products that are larger than all inputs together, each with a sum that could wait for the others'.
  const sums = Array.from({ length: 5 }, (_, at) => {
    const a = g.input(`a${at}`, "f32", [256, 2]);
    const b = g.input(`b${at}`, "f32", [2, 1024]);
    return [`y${at}`, g.sum(g.exp(g.contract("m k, k n -> m n", a, b)), 0)] as const;
  });
  const module = moduleOf(Object.fromEntries(sums));
  const grouped = taken(module, {});
  const limited = taken(module, {}, grouped.own);
  assert(limited.device <= grouped.own && !limited.recomputes);
});
