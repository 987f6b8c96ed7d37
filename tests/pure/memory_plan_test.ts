import { assembleGpu } from "../../backends/webgpu/assemble.ts";
import { gpuCapabilities } from "../../backends/webgpu/capabilities.ts";
import { gpuTarget, withMemory } from "../../backends/webgpu/target.ts";
import { lowerGraph, type Target } from "../../compiler/pipeline.ts";
import type { Program } from "../../compiler/program.ts";
import {
  adam,
  inferenceGraph,
  trainingStep,
  vit,
  vitVariant,
  type VitVariantName,
} from "../../models/mod.ts";
import { assert } from "../support/assert.ts";

const TARGET = { alignment: 64 };

function forward(name: VitVariantName, batch: number, target: Target = TARGET): Program {
  return lowerGraph(inferenceGraph(vit(vitVariant(name))), { bind: { batch }, target });
}

function training(
  name: VitVariantName,
  checkpoint: boolean,
  memoryLimit?: number,
  target: Target = TARGET,
): Program {
  const schedule = { kind: "constant", learningRate: 1e-3 } as const;
  const graph = trainingStep({
    model: vit(vitVariant(name)),
    optimizer: adam({ schedule, clipNorm: 1 }),
    checkpoint,
  });
  const donate = { state: "state" };
  return lowerGraph(graph, { bind: { batch: 8 }, donate, target, memoryLimit });
}

/** Bytes of what is given and what is kept from run to run: no plan can do without. */
function inputBytes(program: Program): number {
  const bytes = program.inputs.map(({ buffer }) => program.buffers[buffer]?.bytes ?? 0);
  return bytes.reduce((a, b) => a + b, 0);
}

function assertTight({ arenaBytes, lowerBoundBytes }: Program): void {
  assert(arenaBytes <= 1.1 * lowerBoundBytes, `${arenaBytes} bytes, at least ${lowerBoundBytes}`);
}

Deno.test("ViT-B/16's forward pass is placed within a tenth of the lower bound", () => {
  const program = forward("B/16", 1);
  assertTight(program);
  assert(program.arenaBytes < 1.05 * inputBytes(program));
  assertTight(forward("B/16", 8));
});

Deno.test("ViT-S/16's training step is placed within a tenth of the lower bound", () => {
  assertTight(training("S/16", false));
});

Deno.test("ViT-Ti/16's training step: within a tenth of the bound, checkpoints take 0.4 of the memory", () => {
  const [plain, checkpointed] = [training("Ti/16", false), training("Ti/16", true)];
  assertTight(plain);
  assertTight(checkpointed);
  const share = checkpointed.arenaBytes / plain.arenaBytes;
  assert(share < 0.4, `${share} of the memory`);
  const [kept, recomputed] = [plain, checkpointed].map((program) =>
    program.arenaBytes - inputBytes(program)
  );
  assert((recomputed ?? 0) < 0.2 * (kept ?? 0), `${recomputed} of ${kept} bytes of intermediates`);
  const limited = training("Ti/16", false, 0.5 * plain.arenaBytes);
  assert(limited.arenaBytes <= 0.5 * plain.arenaBytes);
  assert(limited.recomputed.fraction < 0.18, `${limited.recomputed.fraction} of the FLOPs`);
  // The second product of each MLP is not needed again; all else of the forward pass is.
  const { fraction } = checkpointed.recomputed;
  assert(fraction > 0.18 && fraction < 0.24, `${fraction} of the FLOPs`);
});

Deno.test("a GPU's arena, all that kernels take behind the program's memory included, is as tight", () => {
  const capabilities = gpuCapabilities();
  const target = gpuTarget(capabilities);
  for (
    const lowered of [
      forward("B/16", 1, target),
      forward("B/16", 8, target),
      training("Ti/16", false, undefined, target),
      training("S/16", false, undefined, target),
    ]
  ) {
    const { program } = withMemory(lowered, capabilities, false);
    const { arenaBytes } = assembleGpu(program, capabilities);
    assertTight({ ...lowered, arenaBytes });
  }
});
