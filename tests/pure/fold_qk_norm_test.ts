/** Norms of queries and keys inside of attention: counted, explained, and against the reference. */
import { gradients } from "../../compiler/autodiff.ts";
import { checkpoint } from "../../compiler/checkpoint.ts";
import type { LowerOptions } from "../../compiler/pipeline.ts";
import type { Program } from "../../compiler/program.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { assertLowersRight } from "../support/compare_lowered.ts";
import fc from "../support/fast_check.ts";
import { kernelsRun, lowered } from "../support/lowered.ts";
import {
  type QkNormForm,
  qkNormForms,
  qkNormGraph,
  trainedBlocks,
  withGradients,
} from "../support/qk_norm_graphs.ts";

const RULE = "fold_qk_norm";
const OFF = { fusion: { off: [RULE] } } as const;

function kinds(program: Program): string[] {
  return kernelsRun(program).map(({ kind }) => kind).sort();
}

function applied(program: Program): number {
  return program.explanation?.count(RULE) ?? NaN;
}

/** Lowers with and without the rule, both against the reference. */
function bothWays(outputs: Record<string, Node>, options: Partial<LowerOptions> = {}) {
  return {
    folded: assertLowersRight(outputs, {}, options),
    apart: assertLowersRight(outputs, {}, { ...options, ...OFF }),
  };
}

const VIT_22B: QkNormForm = {
  batch: [2, 3],
  queries: 7,
  keys: 7,
  depth: 6,
  valueDepth: 6,
  isSelf: true,
  query: { center: true, scale: true, bias: false },
  key: { center: true, scale: true, bias: false },
  headsInside: true,
};

Deno.test("QK-norm is no kernel of its own, forward", () => {
  const { y } = qkNormGraph(VIT_22B);
  const { folded, apart } = bothWays({ y });
  assertEquals(kinds(folded), ["attention", "matmul"]);
  assertEquals(kinds(apart), ["attention", "loops", "loops", "matmul"]);
  assertEquals([applied(folded), applied(apart)], [2, 0]);
  // Neither the queries nor the keys are written and read once more.
  const saved = folded.explanation?.rules.filter(({ rule }) => rule === RULE)
    .map(({ bytesSaved }) => bytesSaved);
  assertEquals(saved, [1, 1].map(() => 2 * 4 * (2 * 7 * 3 * 6)));
});

Deno.test("QK-norm is no kernel of its own, backward: scales' gradients included", () => {
  const outputs = withGradients(qkNormGraph(VIT_22B));
  const { folded, apart } = bothWays(outputs);
  const loops = (program: Program) => kinds(program).filter((kind) => kind === "loops").length;
  // What is left is the loss's own.
  assertEquals(loops(folded), 1);
  assertEquals(loops(apart), 6);
  assertEquals(applied(folded), 2);
});

for (const center of [true, false]) {
  for (const [scale, bias] of [[true, true], [true, false], [false, true], [false, false]]) {
    const norm = { center, scale: scale === true, bias: bias === true };
    const name = `${center ? "layer" : "rms"} norm${scale ? ", scale" : ""}${bias ? ", bias" : ""}`;
    Deno.test(`norms are folded into cross attention: ${name}`, () => {
      const form = { ...VIT_22B, isSelf: false, queries: 1, keys: 5, valueDepth: 3, key: norm };
      for (const query of [norm, undefined]) {
        const graph = qkNormGraph({ ...form, query });
        const { folded, apart } = bothWays(withGradients(graph));
        assertEquals(applied(folded), graph.norms);
        assert(folded.steps.length < apart.steps.length);
      }
    });
  }
}

Deno.test("whatever their form, norms of queries and keys are folded and results are right", () => {
  fc.assert(
    fc.property(qkNormForms, (form) => {
      const graph = qkNormGraph(form);
      assertEquals(applied(assertLowersRight({ y: graph.y })), graph.norms);
      assertEquals(applied(assertLowersRight(withGradients(graph))), graph.norms);
    }),
    { numRuns: 60 },
  );
});

const x = g.input("x", "f32", [2, 3, 5, 8]);
const k = g.input("k", "f32", [2, 3, 5, 8]);
const v = g.input("v", "f32", [2, 3, 5, 8]);
const scale = g.input("scale", "f32", [8]);

/** Graphs whose norm stays where it is, and why. */
const REFUSED: Readonly<Record<string, { outputs: Record<string, Node>; why: string }>> = {
  "the normalised rows are an output": (() => {
    const q = g.layerNorm(x, { scale });
    return { outputs: { y: g.attention(q, k, v), q }, why: "its result is an output" };
  })(),
  "the normalised rows are an output, rearranged": (() => {
    const q = g.transpose(g.layerNorm(x, { scale }), [1, 0, 2, 3]);
    const swap = (node: Node) => g.transpose(node, [1, 0, 2, 3]);
    return { outputs: { y: g.attention(q, swap(k), swap(v)), q }, why: "its result is an output" };
  })(),
  "the normalised rows are needed elsewhere": (() => {
    const q = g.layerNorm(x, { scale });
    return {
      outputs: { y: g.add(g.attention(q, k, v), q) },
      why: "its result is used by add as well",
    };
  })(),
  "the normalised rows are the values, too": (() => {
    const q = g.layerNorm(x, { scale });
    return {
      outputs: { y: g.attention(q, k, q) },
      why: "its result is used by attention as well",
    };
  })(),
  "rows are repeated on the way": (() => {
    const one = g.layerNorm(g.input("one", "f32", [5, 8]), { scale });
    return {
      outputs: { y: g.attention(g.broadcastTo(one, [2, 3, 5, 8]), k, v) },
      why: "its result goes through broadcast",
    };
  })(),
  "rows are cut up on the way": (() => {
    const wide = g.layerNorm(g.input("wide", "f32", [2, 3, 5, 16]));
    const cut = g.reshape(wide, [2, 3, 10, 8]);
    return { outputs: { y: g.attention(cut, k, v) }, why: "its result goes through reshape" };
  })(),
  "what flows back to the normalised rows is an output": (() => {
    const q = g.layerNorm(x, { scale });
    const y = g.attention(q, k, v);
    const slopes = gradients(g.sum(g.sin(y)), { q, x });
    return { outputs: { ...slopes }, why: "the cotangent of its result is an output" };
  })(),
  "queries and keys are the same normalised rows, with gradients": (() => {
    const q = g.layerNorm(x, { scale });
    const slopes = gradients(g.sum(g.sin(g.attention(q, q, v))), { x });
    return {
      outputs: { ...slopes },
      why: "the cotangent of its result is used by add, which is no gradient of it",
    };
  })(),
};

for (const [name, { outputs, why }] of Object.entries(REFUSED)) {
  Deno.test(`a norm stays a kernel of its own where ${name}`, () => {
    const program = assertLowersRight(outputs);
    assertEquals(applied(program), 0);
    const notes = program.explanation?.rules.filter(({ rule }) => rule === RULE);
    assertEquals(
      notes?.map(({ outcome, node, detail }) => [outcome, node.op, detail]),
      [["refused", "layerNorm", why]],
    );
  });
}

Deno.test("one normalised operand as queries and as keys is folded forward", () => {
  const q = g.layerNorm(x, { scale, center: false });
  const { folded } = bothWays({ y: g.attention(q, q, v) });
  assertEquals(kinds(folded), ["attention"]);
});

Deno.test("norms are folded inside of a checkpoint, in both computations", () => {
  const attend = checkpoint((q: Node, k: Node) =>
    g.attention(g.layerNorm(q, { scale }), g.layerNorm(k, { scale, center: false }), v)
  );
  const outputs = gradients(g.sum(g.sin(attend(g.exp(x), g.sin(k)))), { x, k, v, scale });
  const { folded, apart } = bothWays(outputs);
  assertEquals(applied(folded), 4);
  assert(folded.recomputed.flops > 0 && folded.steps.length < apart.steps.length);
});

Deno.test("a ViT-22B's blocks have no kernels for QK-norm, in training neither", () => {
  const { folded, apart } = bothWays(trainedBlocks(2, 8));
  // In each of two blocks: two forward, two back to the rows, and one back to both scales.
  assertEquals(applied(folded), 4);
  assertEquals(kinds(apart).length - kinds(folded).length, 10);
});

Deno.test("a memory limit and folded norms go together", () => {
  const outputs = trainedBlocks(4, 16);
  const { arenaBytes } = lowered(outputs);
  const program = assertLowersRight(outputs, {}, { memoryLimit: Math.floor(arenaBytes * 0.9) });
  assert(program.recomputed.flops > 0);
  assertEquals(applied(program), 4);
});
