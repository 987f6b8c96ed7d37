/** Attention that a GPU cannot bind as it is: cut along any axis, against the reference. */
import { assembleGpu } from "../../backends/webgpu/assemble.ts";
import { gpuCapabilities, type GpuLimits } from "../../backends/webgpu/capabilities.ts";
import { gpuTarget } from "../../backends/webgpu/target.ts";
import { withWorkspaces } from "../../backends/webgpu/workspace.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import type { Node } from "../../graph/mod.ts";
import { assert } from "../support/assert.ts";
import { attentionWithGradients, checkRun } from "../support/attention_graphs.ts";
import fc from "../support/fast_check.ts";
import { piecesOf, runInPieces } from "../support/interpret_pieces.ts";
import { moduleOf } from "../support/lowered.ts";
import { qkNormForms, qkNormGraph, withGradients } from "../support/qk_norm_graphs.ts";

/** The interpreter computes in f64, but what pieces hand on is f32. */
const TOLERANCE = 2e-5;

/** The parts that the graph's attention is cut into, after a check of its numbers. */
async function checkInPieces(
  outputs: Record<string, Node>,
  limits: Partial<GpuLimits>,
): Promise<string[]> {
  const capabilities = gpuCapabilities({ limits });
  await checkRun(
    (graph) => Promise.resolve(runInPieces(graph, capabilities)),
    outputs,
    TOLERANCE,
  );
  const target = gpuTarget(capabilities);
  const program = withWorkspaces(lowerGraph(moduleOf(outputs), { target }), target);
  // The shaders can be written, too.
  assembleGpu(program, capabilities);
  return piecesOf(program, capabilities).pieces
    .flatMap(({ kernel, part }) => kernel.name.startsWith("attention") ? [part] : []);
}

/** One entry's keys are more than all of these. */
const SMALL = {
  maxStorageBufferBindingSize: 1024,
  maxStorageBuffersPerShaderStage: 5,
  minStorageBufferOffsetAlignment: 32,
};

Deno.test("webgpu: attention is cut by keys where one entry's are more than all bindings", async () => {
  const { y } = attentionWithGradients(1, 90, 16);
  assert(y !== undefined);
  const parts = await checkInPieces({ y }, SMALL);
  assert(parts.some((part) => /sum 1 of keys to \d+$/.test(part)), parts.join("\n"));
});

Deno.test("webgpu: attention's gradient is cut by what its results are summed over", async () => {
  const parts = await checkInPieces(attentionWithGradients(1, 90, 16), SMALL);
  for (const axis of ["keys", "queries"]) {
    const sum = new RegExp(`sum 1 of ${axis} to \\d+$`);
    assert(parts.some((part) => sum.test(part)), parts.join("\n"));
  }
});

Deno.test("webgpu: gradients of norms' vectors are added up over batch entries", async () => {
  const norm = { center: true, scale: true, bias: true };
  const form = {
    batch: [4, 2],
    queries: 40,
    keys: 40,
    depth: 16,
    valueDepth: 16,
    isSelf: true,
    query: norm,
    key: norm,
    headsInside: true,
  };
  const parts = await checkInPieces(withGradients(qkNormGraph(form)), {
    maxStorageBufferBindingSize: 8192,
    minStorageBufferOffsetAlignment: 32,
  });
  assert(parts.some((part) => /sum \d of batch axis/.test(part)), parts.join("\n"));
});

/** From what is cut often to what is hardly cut. */
const someLimits = fc.record({
  maxStorageBuffersPerShaderStage: fc.integer({ min: 4, max: 10 }),
  maxStorageBufferBindingSize: fc.integer({ min: 1024, max: 8192 }),
  maxBufferSize: fc.integer({ min: 8192, max: 32768 }),
  minStorageBufferOffsetAlignment: fc.constantFrom(32, 64, 128, 256),
});

Deno.test("webgpu: attention of any sizes is cut for any limits", async () => {
  const sizes = fc.record({
    batch: fc.integer({ min: 1, max: 3 }),
    tokens: fc.integer({ min: 1, max: 40 }),
    depth: fc.integer({ min: 1, max: 20 }),
  });
  await fc.assert(
    fc.asyncProperty(sizes, someLimits, async ({ batch, tokens, depth }, limits) => {
      await checkInPieces(attentionWithGradients(batch, tokens, depth), limits);
    }),
    { numRuns: 30 },
  );
});

Deno.test("webgpu: attention of normalised rows is cut for any limits", async () => {
  await fc.assert(
    fc.asyncProperty(qkNormForms, someLimits, async (form, limits) => {
      await checkInPieces(withGradients(qkNormGraph(form)), limits);
    }),
    { numRuns: 40 },
  );
});
