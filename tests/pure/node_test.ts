import fc from "../support/fast_check.ts";
import * as graph from "../../graph/mod.ts";
import { makeNode, topologicalOrder, withProvenance, withScope } from "../../graph/node.ts";
import { dim, divideDims, elementCount, multiplyDims, type Shape } from "../../graph/shape.ts";
import { assert, assertEquals, assertNotEquals, assertThrows } from "../support/assert.ts";

Deno.test("equal nodes are one node", () => {
  const x = graph.input("x", "f32", [2, 3]);
  assert(graph.input("x", "f32", [2, 3]) === x);
  assert(graph.add(x, 1) === graph.add(x, 1));
  assert(graph.add(x, 1) !== graph.add(x, 2));
  assertNotEquals(graph.sum(x, 0).id, graph.sum(x, 1).id);
  assert(graph.constant(0) !== graph.constant(-0));
  assertNotEquals(graph.constant(1, { dtype: "i32" }).id, graph.constant(1).id);
  assertNotEquals(graph.reshape(x, [3, 2]).id, graph.reshape(x, [6]).id);
  assert(graph.max(x) !== graph.min(x));
});

Deno.test("ops that do nothing give their operand", () => {
  const x = graph.input("x", "f32", [2, 3]);
  const same = [
    graph.reshape(x, [2, 3]),
    graph.transpose(x, [0, 1]),
    graph.broadcastTo(x, [2, 3]),
    graph.slice(x, [0, 0], [2, 3]),
    graph.pad(x, {}),
    graph.concat([x], 0),
    graph.sum(x, []),
    graph.reverse(x, []),
    graph.cast(x, "f32"),
    graph.bitcast(x, "f32"),
  ];
  for (const node of same) assert(node === x, String(node));
});

Deno.test("nodes are frozen and keep scope and site", () => {
  const x = graph.input("x", "f32", [2]);
  const y = withScope("encoder", () => withScope(3, () => graph.exp(x)));
  assertEquals(y.scope, "encoder/3");
  assertEquals(y.site?.file, import.meta.url);
  assertEquals(x.label, "x");
  assert(Object.isFrozen(y) && Object.isFrozen(y.inputs) && Object.isFrozen(y.shape));
  assertThrows(() => Object.assign(y, { scope: "" }), TypeError);
  const z = withProvenance({ scope: "there", origin: () => undefined }, () => graph.cos(x));
  assertEquals([z.scope, z.site], ["there", undefined]);
});

function siteOf(node: unknown): string | undefined {
  return graph.isTensor(node) ? node.site?.file : undefined;
}

Deno.test("nodes know the user's line, from however many calls inside the library", () => {
  for (const calls of [0, 4, 5, 6, 7, 8, 9, 25]) {
    const x = graph.input(`site ${calls}`, "f32", [2]);
    let make: () => unknown = graph.exp.bind(null, x);
    // Bound functions have no frames: all between `exp` and this line are the library's.
    for (let call = 0; call < calls; call++) make = withScope.bind(null, call, make);
    assertEquals(siteOf(make()), import.meta.url, `${calls} calls`);
  }
});

Deno.test("a scope ends with an error too", () => {
  assertThrows(
    () =>
      withScope("lost", () => {
        throw new Error("inside");
      }),
    Error,
    "inside",
  );
  assertEquals(graph.exp(graph.input("unscoped", "f32", [])).scope, "");
});

Deno.test("topological order has every node once, after its inputs", () => {
  const x = graph.input("x", "f32", []);
  let y: graph.Node = x;
  for (let depth = 0; depth < 20000; depth++) y = graph.add(y, y);
  const order = topologicalOrder([y, x]);
  assertEquals(order.length, 20001);
  const place = new Map(order.map((node, index) => [node, index]));
  for (const node of order) {
    for (const input of node.inputs) assert((place.get(input) ?? NaN) < (place.get(node) ?? NaN));
  }
});

Deno.test("an attribute that is a list or an array is part of the node's identity", () => {
  const data = new Float32Array(100).fill(1);
  const [first, second] = [graph.constant(data), graph.constant(data)];
  assertNotEquals(first.id, second.id);
  const x = graph.input("x", "f32", [2, 3]);
  assert(makeNode(graph.sum(x).op, [x], { axes: [0, 1] }) === graph.sum(x));
});

Deno.test("products of dims are canonical, whatever the order", () => {
  const sizes = fc.constantFrom<Shape[number]>(1, 2, 3, dim("batch"), dim("tokens"));
  fc.assert(fc.property(fc.array(sizes, { maxLength: 6 }), (shape) => {
    const total = elementCount(shape);
    assert(elementCount([...shape].reverse()) === total);
    for (const size of shape) {
      const rest = divideDims(total, size);
      assert(rest !== undefined && multiplyDims(rest, size) === total);
    }
  }));
  assertEquals(divideDims(dim("batch"), 2), undefined);
  assertEquals(String(elementCount([2, dim("b"), 3, dim("a")])), "6*a*b");
});
