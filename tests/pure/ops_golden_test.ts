import { evaluate } from "../../backends/reference/evaluate.ts";
import { gradients } from "../../compiler/autodiff.ts";
import * as graph from "../../graph/mod.ts";
import { makeNode, type Node } from "../../graph/node.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import { attentionLogSumExpRecord } from "../../graph/ops/attention.ts";
import { erf } from "../../graph/ops/special.ts";
import { readSafetensors } from "../../models/safetensors_file.ts";
import { assert, assertEquals } from "../support/assert.ts";

const GOLDEN = new URL("../golden/", import.meta.url);
const { tensors } = await readSafetensors(new URL("ops.safetensors", GOLDEN));

interface Block {
  readonly key: [number, number];
  readonly counter: [number, number];
  readonly answer: [number, number];
}

interface RandomGolden {
  readonly published: readonly Block[];
  readonly block: readonly Block[];
  readonly bits: readonly { readonly key: [number, number]; readonly bits: number[] }[];
  readonly foldIn: readonly {
    readonly key: [number, number];
    readonly data: number;
    readonly answer: number[];
  }[];
  readonly split: readonly { readonly key: [number, number]; readonly answer: number[][] }[];
}

const random: RandomGolden = JSON.parse(await Deno.readTextFile(new URL("random.json", GOLDEN)));

function golden(name: string): ReferenceTensor {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new TypeError(`No golden tensor "${name}"`);
  return { dtype: "f32", shape: tensor.shape, data: Float64Array.from(tensor.data, Number) };
}

function assertClose(got: Float64Array, want: Float64Array, tolerance: number, what: string): void {
  assertEquals(got.length, want.length);
  const scale = want.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  got.forEach((value, index) => {
    const wanted = want[index] ?? NaN;
    const fits = Math.abs(value - wanted) <= tolerance * Math.max(scale, 1e-30);
    assert(fits, `${what}[${index}] is ${value}, wanted ${wanted}`);
  });
}

/** Compares an op's value and gradients with those stored under a name. */
function compare(
  name: string,
  inputs: readonly string[],
  build: (...inputs: Node[]) => Node,
): void {
  const values = new Map(inputs.map((input) => [input, golden(`${name}/inputs/${input}`)]));
  const nodes = inputs.map((input) => graph.input(input, "f32", values.get(input)?.shape ?? []));
  const output = build(...nodes);
  const cotangent = golden(`${name}/cotangent`);
  values.set("cotangent", cotangent);
  assertClose(evaluate(output, values).data, golden(`${name}/output`).data, 1e-12, name);
  const given = graph.input("cotangent", "f32", cotangent.shape);
  const slopes = gradients(graph.sum(graph.mul(output, given)), nodes);
  slopes.forEach((slope, index) => {
    const path = `${name}/gradients/${inputs[index]}`;
    // Constants in the rules, such as 1 / n, are rounded to f32.
    assertClose(evaluate(slope, values).data, golden(path).data, 3e-7, path);
  });
}

const { layerNorm, softmax, logSoftmax, attention } = graph;

Deno.test("golden: layer norms", () => {
  const all = ["x", "scale", "bias"];
  compare("layer_norm", all, (x, scale, bias) => layerNorm(x ?? missing(), { scale, bias }));
  compare("layer_norm_plain", ["x"], (x) => layerNorm(x ?? missing()));
  compare("layer_norm_offset", all, (x, scale, bias) => layerNorm(x ?? missing(), { scale, bias }));
  compare(
    "rms_norm",
    ["x", "scale"],
    (x, scale) => layerNorm(x ?? missing(), { scale, center: false }),
  );
});

function missing(): never {
  throw new TypeError("An operand is missing");
}

Deno.test("golden: softmaxes", () => {
  compare("softmax", ["x"], (x) => softmax(x ?? missing()));
  compare("log_softmax", ["x"], (x) => logSoftmax(x ?? missing()));
});

Deno.test("golden: attention and its log-sum-exp", () => {
  const inputs = ["query", "key", "value"];
  compare(
    "attention",
    inputs,
    (q, k, v) => attention(q ?? missing(), k ?? missing(), v ?? missing()),
  );
  const values = new Map(inputs.map((name) => [name, golden(`attention/inputs/${name}`)]));
  const [q, k] = inputs.map((name) => graph.input(name, "f32", values.get(name)?.shape ?? []));
  const saved = makeNode(attentionLogSumExpRecord, [q ?? missing(), k ?? missing()], {
    scale: 0.5,
  });
  assertClose(evaluate(saved, values).data, golden("attention/lse").data, 1e-12, "lse");
});

for (const name of ["softmax_cross_entropy", "sigmoid_cross_entropy"] as const) {
  Deno.test(`golden: ${name}`, () => {
    const values = new Map(
      ["logits", "labels"].map((input) => [input, golden(`${name}/inputs/${input}`)]),
    );
    const [logits, labels] = [...values].map(([path, { shape }]) =>
      graph.input(path, "f32", shape)
    );
    const loss = name === "softmax_cross_entropy"
      ? graph.softmaxCrossEntropy(logits ?? missing(), labels ?? missing())
      : graph.sigmoidCrossEntropy(logits ?? missing(), labels ?? missing());
    assertClose(evaluate(loss, values).data, golden(`${name}/losses`).data, 1e-12, name);
    const mean = graph.mean(loss);
    const slopes = gradients(mean, { logits: logits ?? missing(), labels: labels ?? missing() });
    for (const [path, slope] of Object.entries(slopes)) {
      const want = golden(`${name}/gradients/${path}`).data;
      assertClose(evaluate(slope, values).data, want, 3e-7, path);
    }
  });
}

Deno.test("golden: erf and gelu with their derivatives", () => {
  for (const part of ["grid", "extremes"]) {
    const x = golden(`elementwise/${part}/x`);
    const node = graph.input("x", "f32", x.shape);
    const values = new Map([["x", x]]);
    const functions = {
      erf: graph.erf(node),
      gelu_erf: graph.gelu(node, "erf"),
      gelu_tanh: graph.gelu(node),
    };
    for (const [name, result] of Object.entries(functions)) {
      const [slope] = gradients(graph.sum(result), [node]);
      const path = `elementwise/${part}/${name}`;
      assertClose(evaluate(result, values).data, golden(`${path}/value`).data, 1e-14, path);
      assertClose(
        evaluate(slope ?? missing(), values).data,
        golden(`${path}/derivative`).data,
        2e-7,
        path,
      );
    }
  }
  const x = golden("elementwise/grid/x").data;
  const want = golden("elementwise/grid/erf/value").data;
  x.forEach((value, index) => {
    const wanted = want[index] ?? NaN;
    assert(Math.abs(erf(value) - wanted) <= 1e-15 * Math.abs(wanted), `erf(${value})`);
  });
});

Deno.test("golden: rounding to f16 and bf16, bit for bit", () => {
  const bits = golden("rounding/f32").data;
  const x = graph.input("x", "u32", [bits.length]);
  const values = new Map([["x", { dtype: "u32", shape: [bits.length], data: bits } as const]]);
  for (const dtype of ["f16", "bf16"] as const) {
    const there = graph.cast(graph.bitcast(x, "f32"), dtype);
    const back = graph.bitcast(graph.cast(there, "f32"), "u32");
    assertEquals(evaluate(back, values).data, golden(`rounding/${dtype}_as_f32`).data);
  }
});

function u32(values: readonly number[]): Node {
  return graph.constant(values, { dtype: "u32" });
}

Deno.test("golden: threefry's published answers, and JAX's blocks", () => {
  for (const { key, counter, answer } of [...random.published, ...random.block]) {
    assertEquals(graph.threefry2x32(...key, ...counter), answer);
  }
});

Deno.test("golden: random bits, folded and split keys are JAX's", () => {
  for (const { key, bits } of random.bits) {
    const drawn = graph.randomBits(u32(key), [bits.length]);
    assertEquals([...evaluate(drawn).data], bits);
  }
  for (const { key, data, answer } of random.foldIn) {
    assertEquals([...evaluate(graph.foldIn(u32(key), data)).data], answer);
  }
  for (const { key, answer } of random.split) {
    const keys = graph.splitKey(u32(key), answer.length);
    assertEquals(keys.map((part) => [...evaluate(part).data]), answer);
  }
});

Deno.test("uniform and normal numbers have their moments", () => {
  const count = 20000;
  const moments = (node: Node) => {
    const { data } = evaluate(node);
    const mean = data.reduce((total, x) => total + x, 0) / count;
    const spread = data.reduce((total, x) => total + (x - mean) ** 2, 0) / count;
    return { mean, spread, low: Math.min(...data), high: Math.max(...data) };
  };
  const [first, second, third] = graph.splitKey(graph.randomKey(3), 3);
  const flat = moments(graph.uniform(first ?? missing(), [count]));
  assert(Math.abs(flat.mean - 0.5) < 0.01 && Math.abs(flat.spread - 1 / 12) < 0.002);
  assert(flat.low >= 0 && flat.high < 1);
  const bell = moments(graph.normal(second ?? missing(), [count]));
  assert(Math.abs(bell.mean) < 0.03 && Math.abs(bell.spread - 1) < 0.04);
  const kept = moments(graph.dropout(third ?? missing(), graph.ones([count]), 0.25));
  assert(Math.abs(kept.mean - 1) < 0.02);
  assertEquals(Math.fround(kept.high), Math.fround(1 / 0.75));
});
