import { evaluate } from "../../backends/reference/evaluate.ts";
import * as graph from "../../graph/mod.ts";
import { type Node, Tensor, topologicalOrder } from "../../graph/node.ts";
import { allOps } from "../../graph/op.ts";
import { erf, roundHalfEven, roundToFormat } from "../../graph/ops/special.ts";
import { staticShape } from "../../graph/shape.ts";
import { assert, assertAlmostEquals, assertEquals } from "../support/assert.ts";
import { caseValues, type OpCase } from "../support/op_case.ts";
import { OP_CASES } from "../support/op_cases.ts";

const { constant, reshape } = graph;

function i32(...values: number[]): Node {
  return constant(values, { dtype: "i32" });
}

function u32(...values: number[]): Node {
  return constant(values, { dtype: "u32" });
}

function bools(...values: number[]): Node {
  return constant(values, { dtype: "bool" });
}

function f32(...values: number[]): Node {
  return constant(values);
}

/** 1, 2, 3, ... in a shape. */
function counted(...shape: number[]): Node {
  return graph.add(reshape(graph.iota([shape.reduce((a, b) => a * b, 1)], "f32"), shape), 1);
}

const LOWEST = -(2 ** 31);
const { NaN: NAN, POSITIVE_INFINITY: INF } = Number;

/** What each op gives on a few numbers, worked out by hand. */
const KNOWN: readonly (readonly [string, () => Node, readonly number[]])[] = [
  ["neg", () => graph.neg(f32(1, -2)), [-1, 2]],
  ["neg wraps", () => graph.neg(i32(LOWEST, 5)), [LOWEST, -5]],
  ["abs", () => graph.abs(f32(1, -2, -INF)), [1, 2, INF]],
  ["sign", () => graph.sign(f32(3, -2, 0, NAN)), [1, -1, 0, NAN]],
  ["exp", () => graph.exp(f32(0, 1, -INF)), [1, Math.E, 0]],
  ["log", () => graph.log(f32(1, 0, -1)), [0, -INF, NAN]],
  ["log1p", () => graph.log1p(f32(0, 2 ** -40, -1)), [0, Math.log1p(2 ** -40), -INF]],
  ["sqrt", () => graph.sqrt(f32(4, 0, -1)), [2, 0, NAN]],
  ["rsqrt", () => graph.rsqrt(f32(4, 0.25)), [0.5, 2]],
  ["reciprocal", () => graph.reciprocal(f32(4, -0.5, 0)), [0.25, -2, INF]],
  ["tanh", () => graph.tanh(f32(0, INF, -INF)), [0, 1, -1]],
  ["erf", () => graph.erf(f32(0, INF, -INF, NAN)), [0, 1, -1, NAN]],
  ["sigmoid", () => graph.sigmoid(f32(0, 1000, -1000)), [0.5, 1, 0]],
  ["sin and cos", () => graph.add(graph.sin(f32(0)), graph.cos(f32(0))), [1]],
  ["floor", () => graph.floor(f32(1.5, -1.5, 2)), [1, -2, 2]],
  ["ceil", () => graph.ceil(f32(1.5, -1.5, 2)), [2, -1, 2]],
  ["round", () => graph.round(f32(0.5, 1.5, 2.5, -0.5, -1.5, 1.25)), [0, 2, 2, 0, -2, 1]],
  ["not", () => graph.not(bools(0, 1)), [1, 0]],
  ["add", () => graph.add(f32(1, 2), f32(3, 4)), [4, 6]],
  ["add wraps", () => graph.add(i32(2 ** 31 - 1), 1), [LOWEST]],
  ["add u32 wraps", () => graph.add(u32(2 ** 32 - 1), 2), [1]],
  ["sub of a literal", () => graph.sub(1, f32(3)), [-2]],
  ["sub u32 wraps", () => graph.sub(u32(1), u32(2)), [2 ** 32 - 1]],
  ["mul broadcasts", () => graph.mul(reshape(f32(1, 2), [2, 1]), f32(3, 4)), [3, 4, 6, 8]],
  ["mul wraps", () => graph.mul(u32(0xdeadbeef), u32(0x12345679)), [
    Number(0xdeadbeefn * 0x12345679n % 2n ** 32n),
  ]],
  ["div", () => graph.div(f32(1, -1), f32(4, 0)), [0.25, -INF]],
  ["div truncates", () => graph.div(i32(7, -7, 7), i32(2, 2, -2)), [3, -3, -3]],
  ["div by zero", () => graph.div(i32(7, LOWEST), i32(0, -1)), [0, LOWEST]],
  ["rem", () => graph.rem(f32(7.5, -7.5), f32(2, 2)), [1.5, -1.5]],
  ["rem of whole numbers", () => graph.rem(i32(7, -7, 7), i32(4, 4, 0)), [3, -3, 0]],
  ["pow", () => graph.pow(f32(2, 9, -2, -8), f32(10, 0.5, 3, 0.5)), [1024, 3, -8, NAN]],
  ["maximum", () => graph.maximum(f32(1, 2, NAN), f32(2, 1, 1)), [2, 2, NAN]],
  ["minimum", () => graph.minimum(f32(1, 2, NAN), f32(2, 1, 1)), [1, 1, NAN]],
  ["equal", () => graph.equal(f32(1, 2, NAN), f32(1, 1, NAN)), [1, 0, 0]],
  ["notEqual", () => graph.notEqual(f32(1, 2, NAN), f32(1, 1, NAN)), [0, 1, 1]],
  ["less", () => graph.less(f32(1, 1, NAN), f32(2, 1, 1)), [1, 0, 0]],
  ["lessEqual", () => graph.lessEqual(f32(1, 1, 3), 1), [1, 1, 0]],
  ["greater", () => graph.greater(f32(1, 1, 3), 1), [0, 0, 1]],
  ["greaterEqual", () => graph.greaterEqual(f32(0, 1, 3), 1), [0, 1, 1]],
  ["less of u32", () => graph.less(u32(1), u32(2 ** 32 - 1)), [1]],
  ["and", () => graph.and(i32(12, -1), i32(10, 7)), [8, 7]],
  ["or", () => graph.or(bools(0, 0, 1), bools(0, 1, 1)), [0, 1, 1]],
  ["xor", () => graph.xor(u32(0xffffffff), u32(1)), [0xfffffffe]],
  ["shiftLeft", () => graph.shiftLeft(u32(1, 3), u32(31, 33)), [2 ** 31, 6]],
  ["shiftRight", () => graph.shiftRight(i32(-8, 8), i32(1, 1)), [-4, 4]],
  ["shiftRight u32", () => graph.shiftRight(u32(2 ** 31), u32(31)), [1]],
  ["select", () => graph.select(bools(1, 0), f32(1, 2), f32(3, 4)), [1, 4]],
  ["select of literals", () => graph.select(bools(1, 0), 2, -1), [2, -1]],
  ["cast to i32", () => graph.cast(f32(1.9, -1.9, 3e9, -3e9, NAN), "i32"), [
    1,
    -1,
    2 ** 31 - 1,
    LOWEST,
    0,
  ]],
  ["cast to u32", () => graph.cast(f32(1.9, -1.9, 5e9, NAN), "u32"), [1, 0, 2 ** 32 - 1, 0]],
  ["cast i32 to u32", () => graph.cast(i32(-1), "u32"), [2 ** 32 - 1]],
  ["cast u32 to i32", () => graph.cast(u32(2 ** 32 - 1), "i32"), [-1]],
  ["cast to bool", () => graph.cast(f32(0, 0.5, NAN), "bool"), [0, 1, 1]],
  ["cast to f16", () => graph.cast(f32(1 + 2 ** -11, 65520, 1e-8), "f16"), [1, INF, 0]],
  ["cast to bf16", () => graph.cast(f32(1 + 2 ** -8, 1 + 3 * 2 ** -8), "bf16"), [
    1,
    1 + 2 ** -6,
  ]],
  ["bitcast", () => graph.bitcast(f32(1, -0), "u32"), [0x3f800000, 0x80000000]],
  ["bitcast to f32", () => graph.bitcast(i32(0x3f800000, LOWEST), "f32"), [1, -0]],
  ["f16 arithmetic", () => {
    const half = graph.cast(f32(1, 2048), "f16");
    return graph.add(half, graph.cast(f32(2 ** -11, 1), "f16"));
  }, [1, 2048]],
  ["reshape", () => reshape(counted(2, 3), [3, 2]), [1, 2, 3, 4, 5, 6]],
  ["transpose", () => graph.transpose(counted(2, 3)), [1, 4, 2, 5, 3, 6]],
  ["broadcast", () => graph.broadcast(f32(1, 2), [2, 2], [0]), [1, 1, 2, 2]],
  ["reverse", () => graph.reverse(counted(2, 3), 1), [3, 2, 1, 6, 5, 4]],
  ["slice", () => graph.slice(counted(3, 4), [1, 0], [3, 4], [1, 2]), [5, 7, 9, 11]],
  ["pad", () => graph.pad(f32(1, 2), { low: [1], high: [2], interior: [1], value: 9 }), [
    9,
    1,
    9,
    2,
    9,
    9,
  ]],
  ["concat", () => graph.concat([counted(2, 1), counted(2, 2)], 1), [1, 1, 2, 2, 3, 4]],
  ["stack", () => graph.stack([f32(1, 2), f32(3, 4)], 1), [1, 3, 2, 4]],
  ["gather clamps", () => graph.gather(f32(5, 6, 7), i32(2, 0, -4, 9)), [7, 5, 5, 7]],
  ["scatterAdd clamps", () => graph.scatterAdd(f32(1, 2, 3, 4), i32(1, 1, -1, 9), 0, 3), [3, 3, 4]],
  ["oneHot", () => graph.oneHot(i32(1, 3), 3), [0, 1, 0, 0, 0, 0]],
  ["iota", () => graph.iota([2, 2], "i32", 0), [0, 0, 1, 1]],
  ["sum", () => graph.sum(counted(2, 3), 0), [5, 7, 9]],
  ["sum wraps", () => graph.sum(i32(2 ** 31 - 1, 1)), [LOWEST]],
  ["max", () => graph.max(counted(2, 3), 1), [3, 6]],
  ["max of NaN", () => graph.max(f32(1, NAN, 3)), [NAN]],
  ["max of nothing", () => graph.max(graph.zeros([0, 2]), 0), [-INF, -INF]],
  ["min of nothing", () => graph.min(graph.zeros([0], "u32")), [2 ** 32 - 1]],
  ["min", () => graph.min(counted(2, 3)), [1]],
  ["mean", () => graph.mean(counted(2, 4), 1), [2.5, 6.5]],
  ["argmax takes the first", () => graph.argmax(f32(1, 7, 7, NAN)), [1]],
  ["argmax of NaN", () => graph.argmax(f32(NAN, NAN)), [0]],
  ["contract", () => graph.contract("m k, k n -> m n", counted(2, 2), counted(2, 2)), [
    7,
    10,
    15,
    22,
  ]],
  ["contract sums lonely names", () => graph.contract("a b, c -> c", counted(2, 2), f32(1, 2)), [
    10,
    20,
  ]],
  ["matmul", () => graph.matmul(counted(1, 2), counted(2, 1)), [5]],
  ["softmax", () => graph.softmax(f32(Math.log(2), 0, 0)), [0.5, 0.25, 0.25]],
  ["softmax is shifted", () => graph.softmax(f32(10000, 10000)), [0.5, 0.5]],
  ["logSoftmax", () => graph.logSoftmax(f32(0, 0)), [-Math.LN2, -Math.LN2]],
  ["layerNorm", () => graph.layerNorm(f32(1, 3), { epsilon: 0 }), [-1, 1]],
  [
    "layerNorm scales",
    () => graph.layerNorm(f32(1, 3), { epsilon: 0, scale: f32(2, 3), bias: f32(1, 1) }),
    [-1, 4],
  ],
  ["layerNorm uncentred", () => graph.layerNorm(f32(3, -3), { epsilon: 0, center: false }), [
    1,
    -1,
  ]],
  ["gelu", () => graph.gelu(f32(0, 40, -1000)), [0, 40, 0]],
  ["gelu erf", () => graph.gelu(f32(0, 1, 40), "erf"), [
    0,
    0.841344746068543,
    40,
  ]],
  ["softplus", () => graph.softplus(f32(0, 1000, -1000)), [Math.LN2, 1000, 0]],
  ["logSigmoid", () => graph.logSigmoid(f32(0, -1000)), [-Math.LN2, -1000]],
  ["softmaxCrossEntropy", () => graph.softmaxCrossEntropy(f32(0, 0), f32(1, 0)), [Math.LN2]],
  ["sigmoidCrossEntropy", () => graph.sigmoidCrossEntropy(f32(0, 1000), f32(1, 1)), [Math.LN2]],
  ["patchify", () => graph.patchify(counted(1, 2, 4, 1), 2), [1, 2, 5, 6, 3, 4, 7, 8]],
  ["attention", () => {
    const keys = constant([1000, 0, 0, 1000], { shape: [2, 2] });
    return graph.attention(constant([1, 0], { shape: [1, 2] }), keys, counted(2, 3));
  }, [1, 2, 3]],
  ["full", () => graph.full(2, [3]), [2, 2, 2]],
  ["randomKey", () => graph.randomKey(7), [0, 7]],
];

for (const [name, build, wanted] of KNOWN) {
  Deno.test(`reference: ${name}`, () => {
    const { data, shape } = evaluate(build());
    assertEquals(data.length, wanted.length);
    assertEquals(shape.reduce((a, b) => a * b, 1), wanted.length);
    data.forEach((value, index) => {
      const want = wanted[index] ?? NAN;
      const close = Object.is(value, want) || value === want ||
        Math.abs(value - want) <= 1e-7 * Math.abs(want);
      assert(close, `${name}[${index}] is ${value}, wanted ${want}`);
    });
  });
}

function evaluateCase(opCase: OpCase, result: Node) {
  const values = new Map(caseValues(opCase).map((value, index) => [`${index}`, value]));
  return evaluate(result, values, opCase.bindings);
}

function inputsOf(opCase: OpCase): Node[] {
  return opCase.inputs.map(({ dtype, shape }, index) => graph.input(`${index}`, dtype, shape));
}

Deno.test("every case has a name of its own, and every op a case", () => {
  const names = new Set(OP_CASES.map((opCase) => opCase.name));
  assertEquals(names.size, OP_CASES.length);
  const results = OP_CASES.map((opCase) => opCase.build(...inputsOf(opCase)));
  const seen = new Set(topologicalOrder(results).map((node) => node.op));
  const known = KNOWN.map(([, build]) => build());
  for (const node of topologicalOrder(known)) seen.add(node.op);
  const missing = [...allOps()].filter(([key, op]) =>
    !seen.has(op) && !key.startsWith("attention/attentionGrad") && !key.startsWith("test/")
  );
  assertEquals(missing.map(([key]) => key), []);
});

for (const opCase of OP_CASES) {
  const results = topologicalOrder([opCase.build(...inputsOf(opCase))]);
  const composites = results.filter((node) => node.op.decompose !== undefined);
  if (composites.length === 0) continue;
  Deno.test(`decomposition gives the reference: ${opCase.name}`, () => {
    for (const node of composites) {
      const simple = node.op.decompose?.(node);
      assert(simple instanceof Tensor);
      assertEquals(simple.shape, node.shape);
      assertEquals(simple.dtype, node.dtype);
      const [want, got] = [evaluateCase(opCase, node).data, evaluateCase(opCase, simple).data];
      got.forEach((value, index) => {
        const wanted = want[index] ?? NAN;
        // Constants such as sqrt(1/2) are rounded to f32 in the decomposition.
        assert(Math.abs(value - wanted) <= 2e-7 * Math.max(1, Math.abs(wanted)), opCase.name);
      });
    }
  });
}

Deno.test("results have the type that the builder's inference says", () => {
  for (const opCase of OP_CASES) {
    const result = opCase.build(...inputsOf(opCase));
    const value = evaluateCase(opCase, result);
    assertEquals(value.dtype, result.dtype);
    if (Object.keys(opCase.bindings).length === 0) assertEquals(value.shape, result.shape);
  }
});

Deno.test("costs are counted: a multiply-add is two", () => {
  const product = graph.matmul(graph.input("a", "f32", [3, 5]), graph.input("b", "f32", [5, 4]));
  const shapes = product.inputs.map((input) => staticShape(input.shape));
  assertEquals(product.op.flops(shapes, [3, 4], product.attrs), 2 * 3 * 5 * 4);
  const total = graph.sum(product);
  assertEquals(total.op.flops([[3, 4]], [], total.attrs), 12);
});

Deno.test("arrays are copied into constants", () => {
  const data = Float32Array.of(1, 2);
  const node = constant(data);
  data[0] = 5;
  assertEquals([...evaluate(node).data], [1, 2]);
});

Deno.test("erf in f64 to 1e-15", () => {
  // By the power series in arithmetic of 50 digits.
  const known = [
    [1e-10, 1.1283791670955126e-10],
    [0.1, 0.1124629160182849],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [1.4999, 0.9660932516622953],
    [1.5, 0.9661051464753108],
    [2, 0.9953222650189527],
    [3, 0.9999779095030014],
    [5, 0.9999999999984626],
  ];
  for (const [x = 0, wanted = 0] of known) {
    assert(Math.abs(erf(x) / wanted - 1) < 1e-15, `erf(${x}) is ${erf(x)}, wanted ${wanted}`);
    assertEquals(erf(-x), -erf(x));
  }
  assertEquals(erf(0), 0);
});

Deno.test("rounding to formats: ties to even, subnormals, overflow", () => {
  assertEquals([0.5, 1.5, -2.5, 2.25].map(roundHalfEven), [0, 2, -2, 2]);
  assertEquals(roundToFormat(2 ** -25, "f16"), 0);
  assertEquals(roundToFormat(1.5 * 2 ** -24, "f16"), 2 ** -23);
  assertEquals(roundToFormat(65519.99, "f16"), 65504);
  assertEquals(roundToFormat(-65520, "f16"), -Infinity);
  assertAlmostEquals(roundToFormat(Math.PI, "f32"), Math.fround(Math.PI), 0);
  assertEquals(roundToFormat(1e-45, "f32"), Math.fround(1e-45));
});
