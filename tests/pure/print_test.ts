import { gradients } from "../../compiler/autodiff.ts";
import * as graph from "../../graph/mod.ts";
import { assertEquals, assertMatch } from "../support/assert.ts";

Deno.test("a traced graph prints a line a node, then its outputs", () => {
  const specs = {
    x: graph.spec("f32", [graph.dim("batch"), 4]),
    weights: [graph.spec("f32", [4, 2])],
  } as const;
  const traced = graph.trace(specs, ({ x, weights: [kernel] }) => {
    const y = graph.withScope("head", () => graph.matmul(x, kernel));
    return { loss: graph.mean(graph.square(y)), best: graph.argmax(y) };
  });
  assertEquals(
    graph.printGraph(traced),
    `
%0 = input "x" : f32[batch, 4]
%1 = input "weights/0" : f32[4, 2]
%2 = contract %0 %1 {spec=ab,bc->ac} : f32[batch, 2]  # head
%3 = mul %2 %2 : f32[batch, 2]
%4 = sum %3 {axes=[0, 1]} : f32[]
%5 = dimSize {dim=2*batch} : f32[]
%6 = div %4 %5 : f32[]
%7 = argmax %2 {axis=1} : i32[batch]
loss = %6
best = %7`.slice(1),
  );
});

Deno.test("nodes print with their sites on request, numbered anew in every print", () => {
  const x = graph.input("x", "f32", [2]);
  const y = graph.withScope("a", () => graph.withScope(0, () => graph.tanh(x)));
  const text = graph.printGraph([y], { sites: true });
  assertMatch(
    text,
    /^%0 = input "x" : f32\[2\] {2}# print_test.ts:\d+\n%1 = tanh %0 : f32\[2\] {2}# a\/0 print_test.ts:\d+$/,
  );
  assertEquals(
    graph.printGraph([y], { scopes: false }),
    '%0 = input "x" : f32[2]\n%1 = tanh %0 : f32[2]',
  );
});

Deno.test("constants print short, with their names", () => {
  const table = graph.constant(Float32Array.from({ length: 40 }, (_, i) => i / 3), {
    label: "table",
  });
  assertEquals(
    graph.printGraph([table, graph.constant([1, 2], { dtype: "i32" })]),
    '%0 = constant "table" {data=[0, 0.333333, 0.666667, 1, 1.33333, 1.66667, … 40]} : f32[40]\n' +
      "%1 = constant {data=[1, 2]} : i32[2]",
  );
});

Deno.test("a gradient's graph stays small", () => {
  const x = graph.input("x", "f32", [3]);
  const slope = gradients(graph.sum(graph.softmax(x)), x);
  assertEquals(
    graph.printGraph([slope]),
    `
%0 = input "x" : f32[3]
%1 = softmax %0 {axis=0} : f32[3]
%2 = constant {data=[1]} : f32[]
%3 = broadcast %2 {axes=[]} : f32[3]
%4 = mul %3 %1 : f32[3]
%5 = sum %4 {axes=[0]} : f32[]
%6 = reshape %5 : f32[1]
%7 = broadcast %6 {axes=[0]} : f32[3]
%8 = sub %3 %7 : f32[3]
%9 = mul %1 %8 : f32[3]`.slice(1),
  );
});
