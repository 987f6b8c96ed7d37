/** Kernels that a GPU cannot bind as they are: the pieces that they are cut into, without a device. */
import { assembleGpu } from "../../backends/webgpu/assemble.ts";
import { gpuCapabilities, type GpuLimits } from "../../backends/webgpu/capabilities.ts";
import { Intervals } from "../../backends/webgpu/pieces/intervals.ts";
import { gpuTarget } from "../../backends/webgpu/target.ts";
import { withWorkspaces } from "../../backends/webgpu/workspace.ts";
import type { Piece } from "../../backends/webgpu/pieces/placement.ts";
import { gradients } from "../../compiler/autodiff.ts";
import type { BinaryOp, Expr } from "../../compiler/loop_ir.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import { binaryFunction } from "../../backends/reference/scalar_functions.ts";
import { adam } from "../../models/optimizers.ts";
import { trainingStep } from "../../models/training_step.ts";
import { vitVariant, type VitVariantName } from "../../models/variants.ts";
import { vit } from "../../models/vit.ts";
import type { VitConfig } from "../../models/config.ts";
import * as g from "../../graph/mod.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import fc from "../support/fast_check.ts";
import { graphsOfHalves } from "../support/half_graphs.ts";
import { piecesOf, runInPieces } from "../support/interpret_pieces.ts";
import { binary, variable, whole } from "../support/loop_ir.ts";
import { moduleOf } from "../support/lowered.ts";
import { checkRun } from "../support/attention_graphs.ts";
import { randomGraphTests, type RunGraph } from "../support/random_suite.ts";

const CASES: Readonly<Record<string, Partial<GpuLimits>>> = {
  "eight bindings of 1,024 bytes": {
    maxStorageBuffersPerShaderStage: 8,
    maxStorageBufferBindingSize: 1024,
    minStorageBufferOffsetAlignment: 32,
  },
  "four bindings of 2,048 bytes and buffers of 3,072": {
    maxStorageBuffersPerShaderStage: 4,
    maxStorageBufferBindingSize: 2048,
    maxBufferSize: 3072,
    minStorageBufferOffsetAlignment: 64,
  },
  "three bindings of 4,096 bytes and buffers of 4,608": {
    maxStorageBuffersPerShaderStage: 3,
    maxStorageBufferBindingSize: 4096,
    maxBufferSize: 4608,
  },
};

for (const [name, limits] of Object.entries(CASES)) {
  const capabilities = gpuCapabilities({ limits });
  randomGraphTests(
    `the interpreter, cut for ${name}`,
    (graph) => Promise.resolve(runInPieces(graph, capabilities)),
    { f32: 100, mixed: 100, gradients: 60 },
  );
}

/** The pieces of the one kernel that computes the outputs. */
function piecesFor(
  outputs: Record<string, g.Tensor>,
  limits: Partial<GpuLimits>,
): readonly Piece[] {
  const capabilities = gpuCapabilities({
    limits: { minStorageBufferOffsetAlignment: 32, ...limits },
  });
  const target = gpuTarget(capabilities);
  const program = lowerGraph(moduleOf(outputs), { target });
  assertEquals(program.steps.length, 1);
  return piecesOf(program, capabilities).pieces;
}

function partsFor(outputs: Record<string, g.Tensor>, limits: Partial<GpuLimits>): string[] {
  return piecesFor(outputs, limits).map(({ part }) => part);
}

Deno.test("webgpu: a kernel that can be bound is one piece", () => {
  const y = g.add(g.input("x", "f32", [1024]), 1);
  assertEquals(partsFor({ y }, {}), [""]);
});

Deno.test("webgpu: items are cut where each touches little", () => {
  const [a, b] = [g.input("a", "f32", [64, 1024]), g.input("b", "f32", [64, 1024])];
  const limits = { maxStorageBufferBindingSize: 2 ** 16 };
  const pieces = piecesFor({ y: g.mul(a, b) }, limits);
  assert(pieces.length >= 2 && pieces.length <= 4, `${pieces.length} pieces`);
  const fours = { ...limits, maxStorageBuffersPerShaderStage: 3 };
  assertEquals(new Set(partsFor({ y: g.mul(a, b) }, fours)).size >= 4, true);
});

Deno.test("webgpu: products are cut by parts first, by the length of sums where nothing else helps", () => {
  const x = g.input("x", "f32", [64, 256]);
  const weight = (name: string) => g.input(name, "f32", [256, 256]);
  const [q, k] = ["q", "k"].map((name) => g.contract("n d, d e -> n e", x, weight(name)));
  assert(q !== undefined && k !== undefined);
  const limits = { maxStorageBufferBindingSize: 2 ** 16 };
  assertEquals(partsFor({ q, k }, limits), ["parts to 1", "not parts to 1"]);
  const tight = { maxStorageBufferBindingSize: 2 ** 16, maxStorageBuffersPerShaderStage: 4 };
  const parts = partsFor({ q }, tight);
  assert(parts.some((part) => part.startsWith("sums to 128")), parts.join("\n"));
});

Deno.test("webgpu: what lies far apart is copied next to each other, and back", () => {
  const count = 10;
  const all = Array.from({ length: count }, (_, at) => g.input(`x${at}`, "f32", [64, 96]));
  const sum = all.map((x) => g.slice(x, [0, 0], [1, 96])).reduce((a, b) => g.add(a, b));
  const limits = { maxStorageBufferBindingSize: 2 ** 14, maxStorageBuffersPerShaderStage: 4 };
  const parts = partsFor({ sum }, limits);
  assert(parts.includes("copied to where it is bound"), parts.join("\n"));
});

Deno.test("webgpu: rows of any length are cut, between what an item does and within", () => {
  const x = g.input("x", "f32", [1, 8192]);
  const limits = { maxStorageBufferBindingSize: 2 ** 12, maxStorageBuffersPerShaderStage: 4 };
  const pieces = piecesFor({ y: g.softmax(x) }, limits);
  assert(
    pieces.some(({ part }) => part.includes("up to acc0")),
    pieces.map(({ part }) => part).join(),
  );
});

Deno.test("webgpu: rows that take turns at far places are cut though halves touch as much", async () => {
  const limits = {
    maxStorageBufferBindingSize: 1024,
    minStorageBufferOffsetAlignment: 32,
  };
  const run: RunGraph = (graph) => Promise.resolve(runInPieces(graph, gpuCapabilities({ limits })));
  // Each column's elements are a binding's reach or more from its neighbour's.
  const x = g.input("x", "f32", [8, 17, 34]);
  const y = g.max(g.slice(g.transpose(x, [1, 0, 2]), [0, 0, 17], [17, 8, 34]), 2);
  await checkRun(run, { y }, 1e-6);
  const parts = partsFor({ y }, limits);
  assert(parts.some((part) => part.includes("r to 5; ")), parts.join("\n"));
});

Deno.test("webgpu: both ends of what is larger than all bindings are read at once", async () => {
  const limits = {
    maxStorageBufferBindingSize: 4096,
    maxStorageBuffersPerShaderStage: 5,
    minStorageBufferOffsetAlignment: 32,
  };
  const run: RunGraph = (graph) => Promise.resolve(runInPieces(graph, gpuCapabilities({ limits })));
  const x = g.input("x", "f32", [64, 96]);
  const [head, tail] = [g.slice(x, [0, 0], [32, 96]), g.slice(x, [32, 0], [64, 96])];
  const cases: Record<string, g.Node> = {
    "a sum of two halves": g.add(head, tail),
    "a product with what is rolled": g.mul(x, g.concat([tail, head], 0)),
    "products of two halves": g.contract("n d, n e -> d e", head, tail),
    "attention of rows to themselves": g.attention(
      g.reshape(x, [1, 1, 192, 32]),
      g.reshape(x, [1, 1, 192, 32]),
      g.reshape(x, [1, 1, 192, 32]),
    ),
  };
  for (const [name, y] of Object.entries(cases)) {
    await checkRun(run, { y }, 1e-6);
    const pieces = piecesFor({ y }, limits);
    assert(pieces.length > 1, `${name}: ${pieces.length} pieces`);
  }
});

Deno.test("webgpu: half floats that templates read are cut as f32 are", async () => {
  const limits = { maxStorageBufferBindingSize: 1024, minStorageBufferOffsetAlignment: 32 };
  const capabilities = gpuCapabilities({ limits });
  const graphs = Object.entries(graphsOfHalves());
  let count = 0;
  for (const [name, y] of graphs) {
    await checkRun((graph) => Promise.resolve(runInPieces(graph, capabilities)), { y }, 1e-6);
    const program = lowerGraph(moduleOf({ y }), { target: gpuTarget(capabilities) });
    assert(program.explanation?.count("widen_on_load"), name);
    count += piecesOf(program, capabilities).pieces.length;
  }
  assert(count > 2 * graphs.length, `${count} pieces`);
});

Deno.test("webgpu: sums into places that are read from memory are cut by the places", async () => {
  const cases = fc.record({
    size: fc.integer({ min: 1, max: 300 }),
    columns: fc.integer({ min: 1, max: 20 }),
    picks: fc.array(fc.nat(), { minLength: 1, maxLength: 200, size: "max" }),
    most: fc.integer({ min: 3, max: 6 }),
  });
  const names = new Set<string>();
  await fc.assert(
    fc.asyncProperty(cases, async ({ size, columns, picks, most }) => {
      const limits = {
        maxStorageBufferBindingSize: 2048,
        maxStorageBuffersPerShaderStage: most,
        minStorageBufferOffsetAlignment: 32,
      };
      const capabilities = gpuCapabilities({ limits });
      const updates = g.input("updates", "f32", [picks.length, columns]);
      const indices = g.constant(Int32Array.from(picks, (pick) => pick % size));
      const y = g.scatterAdd(updates, indices, 0, size);
      await checkRun((graph) => Promise.resolve(runInPieces(graph, capabilities)), { y }, 1e-6);
      for (const part of partsFor({ y }, limits)) names.add(part.replaceAll(/\d+/g, "N"));
    }),
    { numRuns: 60 },
  );
  for (const cut of ["row to N", "p to N"]) {
    assert([...names].some((name) => name.includes(cut)), [...names].join("\n"));
  }
});

Deno.test("webgpu: attention of which a few rows are too much is refused by name", () => {
  const x = g.input("x", "f32", [1, 1, 16, 64]);
  const limits = { maxStorageBufferBindingSize: 128, maxStorageBuffersPerShaderStage: 4 };
  assertThrows(
    () => piecesFor({ y: g.attention(x, x, x) }, limits),
    RangeError,
    "Kernel attention_attention_1x16x16x64 takes",
  );
});

const OPS: readonly BinaryOp[] = ["add", "sub", "mul", "min", "max", "div", "rem"];
const NAMES = ["a", "b", "c"] as const;

const indexExpr = fc.letrec<{ expr: Expr; leaf: Expr; node: Expr }>((tie) => ({
  expr: fc.oneof({ maxDepth: 5 }, tie("leaf"), tie("node")),
  leaf: fc.oneof(
    fc.constantFrom(...NAMES).map((name) => variable(name)),
    fc.integer({ min: 0, max: 40 }).map(whole),
  ),
  node: fc.record({
    op: fc.constantFrom(...OPS),
    a: tie("expr"),
    b: tie("expr"),
    by: fc.integer({ min: 1, max: 9 }),
  }).map(({ op, a, b, by }) =>
    op === "div" || op === "rem"
      ? binary(op, binary("max", a, whole(0)), whole(by))
      : binary(op, a, op === "mul" ? whole(by) : b)
  ),
})).expr;

function evaluate(expr: Expr, values: Readonly<Record<string, number>>): number {
  if (expr.kind === "const") return expr.value;
  if (expr.kind === "var") return values[expr.name] ?? NaN;
  if (expr.kind !== "binary") throw new TypeError(`No ${expr.kind} here`);
  return binaryFunction(expr.op, "i32")(evaluate(expr.a, values), evaluate(expr.b, values));
}

Deno.test("webgpu: a table that is larger than all bindings, read at any of its rows, is refused by name", () => {
  const table = g.input("table", "f32", [128, 64]);
  const rows = g.gather(table, g.input("rows", "i32", [4]));
  const limits = { maxStorageBufferBindingSize: 4096, maxStorageBuffersPerShaderStage: 4 };
  assertThrows(
    () => piecesFor({ rows }, limits),
    RangeError,
    "bindings of at most 4096 bytes: the device has 4",
  );
});

Deno.test("webgpu: an index has no value outside of its interval", () => {
  const range = fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 60 }))
    .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
  const cases = fc.record({
    expr: indexExpr,
    ranges: fc.tuple(range, range, range),
    at: fc.tuple(fc.nat(60), fc.nat(60), fc.nat(60)),
  });
  fc.assert(
    fc.property(cases, ({ expr, ranges, at }) => {
      const intervals = new Intervals();
      const values: Record<string, number> = {};
      NAMES.forEach((name, index) => {
        const [low, high] = ranges[index] ?? [0, 0];
        intervals.bind(name, [low, high]);
        values[name] = low + (at[index] ?? 0) % (high - low + 1);
      });
      const [low, high] = intervals.of(expr);
      const value = evaluate(expr, values);
      assert(low <= value && value <= high, `${value} is not in ${low}..${high}`);
    }),
    { numRuns: 1000 },
  );
});

Deno.test("webgpu: a place that is taken apart and put together again is known exactly", () => {
  const intervals = new Intervals();
  intervals.bind("r", [30, 41]);
  const r = variable("r");
  intervals.define("q", binary("div", r, whole(12)));
  intervals.define("m", binary("rem", r, whole(12)));
  const place = binary(
    "add",
    binary("mul", variable("q"), whole(204)),
    binary("mul", variable("m"), whole(17)),
  );
  assertEquals(intervals.of(place), [510, 697]);
  assertEquals(intervals.of(variable("m")), [0, 11]);
});

/** Training steps that take more bindings, or larger ones, than every device has. */
const LARGE: readonly (readonly [VitVariantName, Partial<VitConfig>, batch: number])[] = [
  ["Ti/16", { block: "parallel", norm: "rms", qkNorm: "rms", pool: "map" }, 64],
  ["B/16", { depth: 1 }, 128],
  ["22B/14", { depth: 1 }, 4],
  ["22B/14", { depth: 1 }, 32],
  ["B/16", { depth: 1, qkNorm: "layer", imageSize: 1024 }, 32],
];
/** Less than WebGPU grants. */
const FEW: Partial<GpuLimits> = {
  maxStorageBuffersPerShaderStage: 4,
  maxComputeInvocationsPerWorkgroup: 128,
  maxComputeWorkgroupSizeX: 128,
  maxComputeWorkgroupSizeY: 128,
};

const of = ({ imageSize }: Partial<VitConfig>) =>
  imageSize === undefined ? "" : ` of ${imageSize} pixels`;

for (const [name, changes, batch] of LARGE) {
  Deno.test(`webgpu: a training step of ViT-${name}${of(changes)}, batch ${batch}, keeps the limits of every device`, () => {
    const schedule = { kind: "constant", learningRate: 1e-3 } as const;
    const graph = trainingStep({
      model: vit(vitVariant(name, changes)),
      optimizer: adam({ schedule, clipNorm: 1, weightDecay: 0.1 }),
    });
    const target = { alignment: 256 };
    const lowered = lowerGraph(graph, { bind: { batch }, donate: { state: "state" }, target });
    const program = withWorkspaces(lowered, target);
    for (const few of [{}, FEW]) {
      const { limits, ...capabilities } = gpuCapabilities({ limits: few });
      const { dispatches, arenaBytes } = assembleGpu(program, { ...capabilities, limits });
      assert(arenaBytes < 1.1 * program.arenaBytes, `${arenaBytes} of ${program.arenaBytes} bytes`);
      for (const { ranges } of dispatches) {
        assert(ranges.length <= limits.maxStorageBuffersPerShaderStage);
        for (const { offset, bytes } of ranges) {
          const last = offset + bytes - 1;
          assert(bytes <= limits.maxStorageBufferBindingSize);
          assertEquals(offset % limits.minStorageBufferOffsetAlignment, 0);
          const segment = limits.maxBufferSize;
          assertEquals(Math.floor(offset / segment), Math.floor(last / segment));
        }
      }
    }
  });
}

Deno.test("webgpu: attention's gradient is cut into the queries' and the keys'", () => {
  const inputs = Object.fromEntries(
    ["q", "k", "v"].map((name) => [name, g.input(name, "f32", [1, 1, 40, 16])]),
  );
  const { q, k, v } = inputs;
  assert(q !== undefined && k !== undefined && v !== undefined);
  const loss = g.sum(g.sin(g.attention(q, k, v)));
  const program = lowerGraph(moduleOf(gradients(loss, inputs)), {
    target: { alignment: 256 },
    attention: "fused",
  });
  const limits = {
    maxStorageBuffersPerShaderStage: 7,
    maxStorageBufferBindingSize: 2816,
  };
  const { pieces } = piecesOf(program, gpuCapabilities({ limits }));
  const grads = pieces.filter(({ kernel }) => kernel.kind === "attentionGrad");
  assert(
    grads.some(({ part }) => part.includes("the queries' gradient")),
    grads.map(({ part }) => part).join("\n"),
  );
});
