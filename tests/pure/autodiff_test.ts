import { evaluate } from "../../backends/reference/evaluate.ts";
import { grad, gradients, valueAndGrad } from "../../compiler/autodiff.ts";
import { GradientError } from "../../graph/errors.ts";
import * as graph from "../../graph/mod.ts";
import { makeNode, type Node, type Tensor, topologicalOrder, withScope } from "../../graph/node.ts";
import { defineOp } from "../../graph/op.ts";
import { staticSize } from "../../graph/shape.ts";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "../support/assert.ts";
import { caseValues, floats, opCase, randomTensor } from "../support/op_case.ts";
import { checkGradients } from "../support/gradients.ts";

const { constant, input, mul, sum } = graph;

function numbers(node: Tensor): number[] {
  return [...evaluate(node).data];
}

Deno.test("gradients keep the structure", () => {
  const [first, second, bias] = [constant([1, 2]), constant([3]), constant(5)];
  const parameters = { layer: [first, second], bias };
  const loss = graph.add(sum(mul(first, second)), mul(bias, bias));
  const slopes = gradients(loss, parameters);
  assertEquals(Object.keys(slopes), ["layer", "bias"]);
  assertEquals(slopes.layer.map(numbers), [[3, 3], [3]]);
  assertEquals(numbers(slopes.bias), [10]);
});

Deno.test("a tensor without a way to the loss has zeros for a gradient", () => {
  const [used, unused] = [input("used", "f32", []), input("unused", "f32", [2, 3])];
  const slopes = gradients(mul(used, used), { used, unused });
  assertEquals(slopes.unused.shape, [2, 3]);
  assertEquals(numbers(slopes.unused), [0, 0, 0, 0, 0, 0]);
  const rounded = gradients(sum(graph.round(unused)), unused);
  assertEquals(numbers(rounded), [0, 0, 0, 0, 0, 0]);
});

Deno.test("a gradient by something on the way, and by what comes before it", () => {
  const x = constant(3);
  const square = mul(x, x);
  const slopes = gradients(mul(square, x), { x, square });
  assertEquals(numbers(slopes.square), [3]);
  assertEquals(numbers(slopes.x), [27]);
  assertEquals(numbers(gradients(x, x)), [1]);
});

Deno.test("a tensor used many times gets the sum of its cotangents", () => {
  const x = constant([1, 2]);
  const loss = sum(graph.concat([x, x, graph.mul(x, x)], 0));
  assertEquals(numbers(gradients(loss, x)), [4, 6]);
});

Deno.test("stopGradient stops it", () => {
  const x = constant(3);
  assertEquals(numbers(gradients(mul(x, graph.stopGradient(x)), x)), [3]);
});

Deno.test("gradients of f16 and bf16 tensors keep their element type", () => {
  for (const dtype of ["f16", "bf16"] as const) {
    const x = graph.cast(constant([1, 2]), dtype);
    const slope = gradients(sum(mul(x, x)), x);
    assertEquals(slope.dtype, dtype);
    assertEquals(numbers(slope), [2, 4]);
  }
});

Deno.test("grad and valueAndGrad go over the first argument, or those named", () => {
  const f = (a: Tensor, b: Tensor) => mul(a, mul(b, b));
  const [a, b] = [constant(2), constant(3)];
  assertEquals(numbers(grad(f)(a, b)), [9]);
  assertEquals(numbers(grad(f, { argnums: 1 })(a, b)), [12]);
  const [byB, byA] = grad(f, { argnums: [1, 0] })(a, b);
  assertEquals([numbers(byA), numbers(byB)], [[9], [12]]);
  const [value, slope] = valueAndGrad(f)(a, b);
  assertEquals([numbers(value), numbers(slope)], [[18], [9]]);
  const withAux = (weights: { a: Tensor }, x: Tensor) =>
    [mul(weights.a, x), { twice: mul(x, 2), text: "kept" }] as const;
  const [loss, { a: byWeight }, aux] = valueAndGrad(withAux, { hasAux: true })({ a }, b);
  assertEquals([numbers(loss), numbers(byWeight), numbers(aux.twice)], [[6], [3], [6]]);
  assertEquals(aux.text, "kept");
});

Deno.test("grad of grad is the second derivative", () => {
  const cube = (x: Tensor) => mul(x, mul(x, x));
  assertEquals(numbers(grad(grad(cube))(constant(2))), [12]);
  assertEquals(numbers(grad(grad(grad(cube)))(constant(2))), [6]);
  assertEquals(numbers(grad(grad((x: Tensor) => graph.exp(mul(x, 2))))(constant(0))), [4]);
});

Deno.test("the gradient of attention's gradient ops holds by differences", () => {
  const shapes = [floats([2, 3, 4]), floats([2, 5, 4]), floats([2, 5, 3])];
  checkGradients(opCase("attention's query gradient", shapes, (q, k, v) => {
    const slopes = gradients(sum(graph.square(graph.attention(q, k, v))), [q, k, v]);
    return graph.concat(slopes.map((slope) => graph.reshape(slope, [-1])), 0);
  }));
});

Deno.test("attention's gradient ops decompose into what they compute", () => {
  const shapes = [floats([2, 3, 4]), floats([2, 5, 4]), floats([2, 5, 3])];
  const attending = opCase("attention", shapes, (q, k, v) => graph.attention(q, k, v));
  const nodes = shapes.map(({ shape }, index) => input(`${index}`, "f32", shape));
  const values = new Map(caseValues(attending).map((value, index) => [`${index}`, value]));
  values.set("cotangent", randomTensor("f32", [2, 3, 3], "any", 5, 5));
  const weighted = mul(attending.build(...nodes), input("cotangent", "f32", [2, 3, 3]));
  const slopes = gradients(sum(weighted), nodes);
  for (const slope of slopes) {
    const simple = slope.op.decompose?.(slope);
    assert(simple !== undefined, `${slope} has no decomposition`);
    const [want, got] = [evaluate(slope, values).data, evaluate(simple, values).data];
    got.forEach((value, index) => assert(Math.abs(value - (want[index] ?? NaN)) < 1e-6));
  }
});

Deno.test("attention's gradient reuses the saved log-sum-exp and holds no decomposed softmax", () => {
  const [q, k, v] = ["q", "k", "v"].map((name) => input(name, "f32", [2, 3, 4]));
  assert(q !== undefined && k !== undefined && v !== undefined);
  const slopes = gradients(sum(graph.attention(q, k, v)), [q, k, v]);
  const names = new Set(topologicalOrder(slopes).map((node) => node.op.name));
  assert(names.has("attentionLogSumExp"));
  assert(!names.has("contract") && !names.has("softmax"));
});

Deno.test("gradient nodes carry the scope and the site of what they are the gradient of", () => {
  const x = input("x", "f32", [2]);
  const y = withScope("encoder", () => graph.tanh(x));
  const loss = withScope("head", () => sum(y));
  const slope = gradients(loss, x);
  assertEquals(slope.scope, "encoder");
  assertEquals(slope.site, y.site);
  assertEquals(slope.label, undefined);
});

Deno.test("symbolic dims go through the gradient", () => {
  const batch = graph.dim("batch");
  const x = input("x", "f32", [batch, 3]);
  const slope = gradients(graph.mean(graph.square(x)), x);
  assertEquals(slope.shape, [batch, 3]);
  const values = new Map([["x", randomTensor("f32", [2, 3], "any", 1, 1)]]);
  const wanted = values.get("x")?.data.map((value) => value / 3);
  const got = evaluate(slope, values, { batch: 2 }).data;
  got.forEach((value, index) => assert(Math.abs(value - (wanted?.[index] ?? NaN)) < 1e-12));
});

Deno.test("error: the loss is no scalar", () => {
  const x = input("x", "f32", [2, 3]);
  const error = assertThrows(() => gradients(x, x), GradientError);
  assertStringIncludes(error.message, "Cannot differentiate x: f32[2, 3]: wanted a float scalar");
  assertStringIncludes(error.message, "autodiff_test.ts");
  const count = graph.sum(graph.cast(x, "i32"));
  const whole = assertThrows(() => gradients(count, x), GradientError);
  assertStringIncludes(whole.message, "Cannot differentiate the result of sum: i32[]");
});

Deno.test("error: a tensor to differentiate by holds whole numbers or truth values", () => {
  const x = input("x", "f32", []);
  for (const dtype of ["i32", "u32", "bool"] as const) {
    const labels = input("labels", dtype, [4]);
    const error = assertThrows(() => gradients(x, { deep: [x, labels] }), GradientError);
    assertStringIncludes(
      error.message,
      `Cannot differentiate by "deep/1", labels: ${dtype}[4]: ${dtype} has no gradient`,
    );
  }
});

const opaque = defineOp({
  name: "opaque",
  kind: "elementwise",
  doc: "The identity, without a gradient.",
  infer: ([x]) => ({ dtype: "f32", shape: x?.shape ?? [] }),
  vjp: { because: "nobody wrote one", zero: false },
  flops: (_inputs, output) => staticSize(output),
  reference: ([x]) => Float64Array.from(x?.data ?? []),
});

Deno.test("error: an op on the way has no gradient", () => {
  const x = input("x", "f32", [2]);
  const hidden: Node = withScope("block", () => makeNode(opaque, [x], {}));
  const error = assertThrows(() => gradients(sum(hidden), x), GradientError);
  assertStringIncludes(error.message, "opaque has no gradient: nobody wrote one");
  assertStringIncludes(error.message, "the result of opaque: f32[2] in block");
  assertStringIncludes(error.message, "autodiff_test.ts");
  const beside = gradients(sum(mul(x, makeNode(opaque, [constant([1, 2])], {}))), x);
  assertEquals(numbers(beside), [1, 2]);
});

Deno.test("error: an argument that is not there", () => {
  const f = (x: Tensor) => mul(x, x);
  const wrong: number = 1;
  const error = assertThrows(() => grad(f, { argnums: wrong })(constant(1)), RangeError);
  assertStringIncludes(
    error.message,
    "Cannot differentiate by argument 1: the function was given 1",
  );
});

Deno.test("the check by differences finds a wrong gradient", () => {
  const wrong = defineOp({
    name: "wrongSquare",
    kind: "elementwise",
    doc: "x^2 with a gradient of 1.9 x.",
    infer: ([x]) => ({ dtype: "f32", shape: x?.shape ?? [] }),
    vjp: (node, cotangent) => [mul(mul(cotangent, 1.9), node.inputs[0] ?? cotangent)],
    flops: (_inputs, output) => staticSize(output),
    reference: ([x]) => Float64Array.from(x?.data ?? [], (value) => value * value),
  });
  const bad = opCase("wrong", [floats([3])], (x) => makeNode(wrong, [x], {}));
  assertThrows(() => checkGradients(bad), Error, "wrong: the gradient is");
});
