/** QK-norm and attention in all their forms on a backend, against the reference. */
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import type { Node } from "../../graph/mod.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { assert } from "./assert.ts";
import fc from "./fast_check.ts";
import { moduleOf } from "./lowered.ts";
import {
  type QkNormForm,
  qkNormForms,
  qkNormGraph,
  trainedBlocks,
  withGradients,
} from "./qk_norm_graphs.ts";
import { relativeError } from "./random_graphs.ts";
import type { RunGraph } from "./random_suite.ts";
import type { RunnableGraph } from "./run_graph.ts";

/** Of each result's norm: twice what was seen at most, where a sum of hundreds of rows cancels. */
const TOLERANCE = 1e-5;

const OFF = { off: ["fold_qk_norm"] } as const;

/** A graph of these outputs, with numbers for its inputs: scales are around 1. */
function runnable(nodes: Record<string, Node>): RunnableGraph {
  const { inputs, outputs } = moduleOf(nodes);
  let state = 1;
  const uniform = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1;
  const values = new Map([...inputs].map(([path, { dtype, shape: dims }]) => {
    const shape = staticShape(dims);
    const isScale = path.toLowerCase().endsWith("scale");
    const data = Float64Array.from(
      { length: staticSize(shape) },
      () => Math.fround((isScale ? 1 : 0) + uniform() / 2),
    );
    return [path, { dtype, shape, data }];
  }));
  return { inputs, outputs, values };
}

/** How norms and attention are computed. */
const WAYS = {
  folded: { attention: "fused" },
  apart: { attention: "fused", fusion: OFF },
  plain: { attention: "plain" },
} as const;

async function check(
  run: RunGraph,
  ways: QkNormTests["ways"],
  graph: RunnableGraph,
): Promise<void> {
  const expected = evaluateGraph(graph.outputs.values(), graph.values);
  for (const way of ways) {
    const found = await run({ ...graph, ...WAYS[way] });
    for (const [path, node] of graph.outputs) {
      const error = relativeError(found.get(path) ?? [], expected.get(node)?.data ?? []);
      assert(error < TOLERANCE, `${path}, ${way}: off by ${error}`);
    }
  }
}

const NORM = { center: true, scale: true, bias: false };

const LARGE: readonly QkNormForm[] = [
  // One tile of keys on WASM, a few blocks of queries; fewer batch entries than make units of their own.
  { batch: [2], queries: 197, keys: 197, depth: 38, valueDepth: 38, isSelf: true },
  // Many tiles of keys.
  { batch: [1, 1], queries: 75, keys: 700, depth: 64, valueDepth: 32, isSelf: false },
  // The attention pooling's single query; enough entries for units of their own.
  { batch: [2, 3], queries: 1, keys: 141, depth: 123, valueDepth: 16, isSelf: false },
  // Heads as wide as ViT-22B's.
  { batch: [1, 2], queries: 49, keys: 49, depth: 128, valueDepth: 128, isSelf: true },
  // Heads of more columns than a workgroup on WebGPU has of results that go through no norm.
  { batch: [1], queries: 33, keys: 5, depth: 132, valueDepth: 9, isSelf: false },
].map((form) => ({ ...form, query: { ...NORM, bias: true }, key: NORM, headsInside: true }));

/** How much is tested. */
export interface QkNormTests {
  readonly ways: readonly (keyof typeof WAYS)[];
  /** How many random graphs. */
  readonly numRuns: number;
  /** Whether graphs of more than one tile, too. */
  readonly large: boolean;
}

/** The tests of a backend. */
export function qkNormTests(
  device: string,
  run: RunGraph,
  { ways, numRuns, large }: QkNormTests,
  addTest: (name: string, test: () => Promise<void>) => void,
): void {
  const checkForm = (form: QkNormForm) =>
    check(run, ways, runnable(withGradients(qkNormGraph(form))));
  addTest(
    `QK-norm on ${device}: random graphs, forward and gradient`,
    () => fc.assert(fc.asyncProperty(qkNormForms, checkForm), { numRuns }),
  );
  for (const form of large ? LARGE : []) {
    const { batch, queries, keys, depth } = form;
    addTest(
      `QK-norm on ${device}: [${batch}] entries, ${queries} queries, ${keys} keys of ${depth} columns`,
      () => checkForm(form),
    );
  }
  addTest(
    `QK-norm on ${device}: ViT-22B's blocks, loss and gradients`,
    () => check(run, ways, runnable(trainedBlocks(2, 8))),
  );
}
