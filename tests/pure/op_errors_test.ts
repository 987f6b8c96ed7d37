import * as graph from "../../graph/mod.ts";
import { DTypeError, GraphError, ShapeError } from "../../graph/errors.ts";
import { makeNode, type Node, type Tensor } from "../../graph/node.ts";
import { defineOp, type OpRecord } from "../../graph/op.ts";
import { dim, type Shape } from "../../graph/shape.ts";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "../support/assert.ts";

const batch = dim("batch");

function x(...shape: Shape): Tensor {
  return graph.input("x", "f32", shape);
}

function y(...shape: Shape): Tensor {
  return graph.input("y", "f32", shape);
}

function whole(...shape: Shape): Tensor {
  return graph.input("whole", "i32", shape);
}

type Mistake = readonly [
  name: string,
  build: () => unknown,
  problem: string,
  operands: readonly string[],
];

const SHAPE_MISTAKES: readonly Mistake[] = [
  [
    "add",
    () => graph.add(x(2, 3), y(4, 3)),
    "add: sizes 2 and 4 disagree at axis -2 of [2, 3] and [4, 3]: wanted equal sizes, or 1",
    ["x: f32[2, 3]", "y: f32[4, 3]"],
  ],
  [
    "add of a dim and a number",
    () => graph.mul(x(batch, 3), y(4, 3)),
    "mul: sizes batch and 4 disagree at axis -2",
    ["x: f32[batch, 3]", "y: f32[4, 3]"],
  ],
  [
    "an operand without a name",
    () => graph.add(graph.neg(x(2)), y(3)),
    "add: sizes 2 and 3 disagree",
    ["operand 0 (neg, op_errors_test.ts:L): f32[2]", "y: f32[3]"],
  ],
  [
    "select",
    () => graph.select(graph.less(x(2), 0), x(2), y(3)),
    "select: sizes 2 and 3 disagree",
    ["x: f32[2]", "y: f32[3]"],
  ],
  [
    "broadcastTo",
    () => graph.broadcastTo(x(2), [3] as Shape),
    "broadcast: size 2 of axis 0 does not stretch to 3 in [3]",
    ["x: f32[2]"],
  ],
  [
    "broadcastTo fewer axes",
    () => graph.broadcastTo(x(2, 2), [2] as Shape),
    "broadcast: cannot lower the rank to [2]",
    ["x: f32[2, 2]"],
  ],
  [
    "broadcast axes out of order",
    () => graph.broadcast(x(2, 2), [2, 2], [1, 0]),
    "broadcast: axes [1,0] do not place 2 axes, in order, in [2, 2]",
    ["x: f32[2, 2]"],
  ],
  [
    "reshape",
    () => graph.reshape(x(batch, 6), [batch, 4] as Shape),
    "reshape: 6*batch elements do not fill [batch, 4], which has 4*batch",
    ["x: f32[batch, 6]"],
  ],
  [
    "reshape with -1",
    () => graph.reshape(x(5), [2, -1] as Shape),
    "reshape: 5 elements do not fill [2, -1] for any whole -1",
    ["x: f32[5]"],
  ],
  [
    "reshape to a fraction",
    () => graph.reshape(x(5), [2.5, 2] as Shape),
    "reshape: size 2.5 in [2.5, 2] is not a whole number >= 0",
    ["x: f32[5]"],
  ],
  [
    "transpose",
    () => graph.transpose(x(2, 3), [0, 0] as number[]),
    "transpose: [0,0] is not an order of axes 0 to 1",
    ["x: f32[2, 3]"],
  ],
  [
    "squeeze",
    () => graph.squeeze(x(2, 3), 1 as number),
    "squeeze: axis 1 has size 3: wanted 1",
    ["x: f32[2, 3]"],
  ],
  [
    "slice",
    () => graph.slice(x(5), [2], [7] as Shape),
    "slice: 2 to 7 by 1 is not a part of axis 0, which has size 5",
    ["x: f32[5]"],
  ],
  [
    "slice of a dim",
    () => graph.sliceAxis(x(batch, 3), 0, 0, 2),
    "slice: cannot take 0 to 2 by 1 of axis 0, whose size batch is not known before compiling",
    ["x: f32[batch, 3]"],
  ],
  [
    "slice with too few places",
    () => graph.slice(x(5, 2), [0] as number[], [1] as Shape),
    "slice: starts [0], ends [1] and steps [1] are not one an axis",
    ["x: f32[5, 2]"],
  ],
  [
    "pad",
    () => graph.pad(x(5), { low: [-1] }),
    "pad: low [-1] is not one whole number >= 0 an axis",
    ["x: f32[5]"],
  ],
  [
    "pad of a dim",
    () => graph.pad(x(batch), { low: [1] }),
    "pad: cannot pad axis 0, whose size batch is not known before compiling",
    ["x: f32[batch]"],
  ],
  [
    "concat",
    () => graph.concat([x(2, 3), y(2, 4)] as Tensor[], 0),
    "concat: sizes at axis 1 differ: wanted equal shapes but for axis 0",
    ["x: f32[2, 3]", "y: f32[2, 4]"],
  ],
  [
    "concat of ranks",
    () => graph.concat([x(2, 3), y(2)] as Tensor[], 0),
    "concat: ranks differ",
    ["x: f32[2, 3]", "y: f32[2]"],
  ],
  [
    "concat of dims",
    () => graph.concat([x(batch), y(batch)] as Tensor[], 0),
    "concat: cannot join along axis 0, where a size batch is not known before compiling",
    ["x: f32[batch]", "y: f32[batch]"],
  ],
  [
    "split",
    () => graph.split(x(5), 2, 0),
    "split: axis 0 of size 5 does not come apart in 2 equal parts",
    ["x: f32[5]"],
  ],
  ["sum", () => graph.sum(x(2), 1 as number), "sum: axis 1 is out of range: wanted -1 to 0", [
    "x: f32[2]",
  ]],
  ["sum of a scalar", () => graph.sum(x(), 0 as number), "sum: axis 0 is out of range: a scalar", [
    "x: f32[]",
  ]],
  ["sum twice", () => graph.sum(x(2, 2), [1, -1] as number[]), "sum: axis 1 is named twice", [
    "x: f32[2, 2]",
  ]],
  ["argmax of nothing", () => graph.argmax(x(2, 0)), "argmax: axis 1 has no elements", [
    "x: f32[2, 0]",
  ]],
  [
    "contract sizes",
    () => graph.contract("m k, k n -> m n", x(2, 3), y(4, 5)),
    'contract: "k" in "m k, k n -> m n" has sizes 3 and 4, which disagree',
    ["x: f32[2, 3]", "y: f32[4, 5]"],
  ],
  [
    "contract ranks",
    () => graph.contract("m k, k n -> m n", x(2, 3, 1), y(4, 5)),
    'contract: "m k" in "m k, k n -> m n" names 2 axes, the operand has 3',
    ["x: f32[2, 3, 1]", "y: f32[4, 5]"],
  ],
  [
    "contract a diagonal",
    () => graph.contract("k k, k n -> n" as string, x(2, 2), y(2, 5)),
    'contract: "k" stands twice in a part of "k k, k n -> n"',
    ["x: f32[2, 2]", "y: f32[2, 5]"],
  ],
  [
    "contract from nowhere",
    () => graph.contract("m k, k n -> m z" as string, x(2, 2), y(2, 5)),
    'contract: "z" of the output is on no operand in "m k, k n -> m z"',
    ["x: f32[2, 2]", "y: f32[2, 5]"],
  ],
  [
    "contract nonsense",
    () => graph.contract("m k; k n" as string, x(2, 2), y(2, 5)),
    'contract: cannot read "m k; k n": wanted names of axes as in "b n d, d e -> b n e"',
    ["x: f32[2, 2]", "y: f32[2, 5]"],
  ],
  ["matmul", () => graph.matmul(x(2, 3), y(4, 5)), "matmul: inner sizes 3 and 4 disagree", [
    "x: f32[2, 3]",
    "y: f32[4, 5]",
  ]],
  [
    "matmul stacks",
    () => graph.matmul(x(2, 4, 3), y(3, 3, 5)),
    "matmul: batch sizes 2 and 3 disagree",
    ["x: f32[2, 4, 3]", "y: f32[3, 3, 5]"],
  ],
  ["matmul vectors", () => graph.matmul(x(3), y(3, 5)), "matmul: an operand has fewer than 2", [
    "x: f32[3]",
  ]],
  [
    "layerNorm",
    () => graph.layerNorm(x(2, 3), { scale: y(2) }),
    "layerNorm: scale and bias are not vectors of the last axis' size 3",
    ["x: f32[2, 3]", "y: f32[2]"],
  ],
  [
    "softmaxCrossEntropy",
    () => graph.softmaxCrossEntropy(x(2, 3), y(2)),
    "softmaxCrossEntropy: logits and labels are not of one shape with classes last",
    ["x: f32[2, 3]", "y: f32[2]"],
  ],
  [
    "attention columns",
    () => graph.attention(x(4, 5), y(3, 6), y(3, 6)),
    "attention: columns of q and k, 5 and 6, disagree",
    ["x: f32[4, 5]", "y: f32[3, 6]"],
  ],
  [
    "attention rows",
    () => graph.attention(x(4, 5), y(3, 5), x(4, 5)),
    "attention: rows of k and v, 3 and 4, disagree",
    ["x: f32[4, 5]", "y: f32[3, 5]"],
  ],
  [
    "attention stacks",
    () => graph.attention(x(2, 4, 5), y(3, 4, 5), y(3, 4, 5)),
    "attention: batch axes differ",
    ["x: f32[2, 4, 5]", "y: f32[3, 4, 5]"],
  ],
  [
    "attention of a dim's columns",
    () => graph.attention(x(4, batch), y(3, batch), y(3, 5)),
    "attention: the default scale needs q's columns, batch, to be a number: give a scale",
    ["x: f32[4, batch]"],
  ],
  [
    "patchify",
    () => graph.patchify(x(2, 5, 4, 1), 2 as number),
    "patchify: wanted [batch, height, width, channels] with sides that are multiples of 2",
    ["x: f32[2, 5, 4, 1]"],
  ],
  [
    "gather from nothing",
    () => graph.gather(x(0, 3), whole(2)),
    "gather: axis 0 has no elements to pick",
    ["x: f32[0, 3]", "whole: i32[2]"],
  ],
  [
    "scatterAdd",
    () => graph.scatterAdd(x(4, 3), whole(5), 0, 7),
    "scatterAdd: the updates' axes from 0 on are not those of the indices",
    ["x: f32[4, 3]", "whole: i32[5]"],
  ],
  [
    "a key of the wrong shape",
    () => graph.randomBits(graph.input("key", "u32", [3]), [2]),
    "randomBits: the key is not a [2]",
    ["key: u32[3]"],
  ],
];

const DTYPE_MISTAKES: readonly Mistake[] = [
  ["add", () => graph.add(x(2), whole(2)), "add: element types f32 and i32 differ: cast one", [
    "x: f32[2]",
    "whole: i32[2]",
  ]],
  ["exp", () => graph.exp(whole(2)), "exp: does not take i32: wanted f32", ["whole: i32[2]"]],
  ["and", () => graph.and(x(2), true), "and: f32 cannot hold the literal true", ["x: f32[2]"]],
  [
    "and of floats",
    () => graph.and(x(2), x(2)),
    "and: does not take f32: wanted bool, i32 or u32",
    [
      "x: f32[2]",
    ],
  ],
  ["a fraction", () => graph.add(whole(2), 0.5), "add: i32 cannot hold the literal 0.5", [
    "whole: i32[2]",
  ]],
  ["select", () => graph.select(x(2), 1, x(2)), "select: the condition is f32: wanted bool", [
    "x: f32[2]",
  ]],
  ["sum", () => graph.sum(graph.less(x(2), 0)), "sum: does not take bool: wanted f32, i32 or u32", [
    "operand 0 (less, op_errors_test.ts:L): bool[2]",
  ]],
  ["mean", () => graph.mean(whole(2)), "mean: does not take i32: wanted f32", ["whole: i32[2]"]],
  ["matmul", () => graph.matmul(whole(2, 2), whole(2, 2)), "matmul: does not take i32", [
    "whole: i32[2, 2]",
  ]],
  ["gather", () => graph.gather(x(2), y(2)), "gather: the indices are not i32", [
    "x: f32[2]",
    "y: f32[2]",
  ]],
  ["concat", () => graph.concat([x(2), whole(2)] as Tensor[], 0), "concat: element types f32 and", [
    "x: f32[2]",
    "whole: i32[2]",
  ]],
  ["bitcast", () => graph.bitcast(graph.less(x(2), 0), "u32"), "bitcast: does not take bool", [
    "operand 0 (less, op_errors_test.ts:L): bool[2]",
  ]],
  ["a key of floats", () => graph.uniform(x(2), [2]), "uniform: the key is not u32", ["x: f32[2]"]],
];

interface GraphErrorClass {
  new (...args: ConstructorParameters<typeof GraphError>): GraphError;
  readonly name: string;
}

function checkMistakes(mistakes: readonly Mistake[], kind: GraphErrorClass): void {
  for (const [name, build, problem, operands] of mistakes) {
    Deno.test(`${kind.name}: ${name}`, () => {
      const error = assertThrows(build, kind);
      assert(error instanceof GraphError && error instanceof TypeError);
      const lines = error.message.split("\n");
      assert(lines[0]?.startsWith(problem), error.message);
      const text = error.message.replaceAll(/(?<=op_errors_test\.ts:)\d+(?=\))/g, "L");
      for (const operand of operands) assertStringIncludes(text, `\n  ${operand}`);
      assert(/^ {2}at file:.*\/op_errors_test\.ts:\d+:\d+$/.test(lines.at(-1) ?? ""), lines.at(-1));
      assertEquals(error.site?.file, import.meta.url);
    });
  }
}

checkMistakes(SHAPE_MISTAKES, ShapeError);
checkMistakes(DTYPE_MISTAKES, DTypeError);

const OTHER_MISTAKES: readonly (readonly [string, () => unknown, string])[] = [
  ["two literals", () => graph.add(1, 2 as never), "add: all operands are literals"],
  ["no tensors", () => graph.concat([] as Tensor[], 0), "concat: there are no tensors"],
  [
    "too few values",
    () => graph.constant([1, 2], { shape: [3] }),
    "constant: 2 values do not fill",
  ],
  ["a value out of range", () => graph.constant(-1, { dtype: "u32" }), "constant: u32 cannot hold"],
  [
    "a fraction in i32",
    () => graph.constant(0.5, { dtype: "i32" }),
    "constant: i32 cannot hold 0.5",
  ],
  ["a size below zero", () => graph.input("x", "f32", [-1]), 'input "x" has size -1 in shape [-1]'],
  ["a large seed", () => graph.randomKey(2 ** 32), "constant: u32 cannot hold 4294967296"],
  ["no keys", () => graph.splitKey(graph.randomKey(1), 0), "splitKey: cannot make 0 keys"],
  [
    "a probability of 2",
    () => graph.bernoulli(graph.randomKey(1), 2, [3]),
    "bernoulli: probability 2 is not in [0, 1]",
  ],
  [
    "a rate of 1",
    () => graph.dropout(graph.randomKey(1), x(2), 1),
    "dropout: rate 1 is not in [0, 1)",
  ],
];

for (const [name, build, problem] of OTHER_MISTAKES) {
  Deno.test(`error: ${name}`, () => {
    const error = assertThrows(build);
    assert(error instanceof TypeError || error instanceof RangeError);
    assert(error.message.startsWith(problem), error.message);
  });
}

Deno.test("an op cannot be defined twice, nor be composite without a decomposition", () => {
  const record: OpRecord = {
    name: "add",
    kind: "elementwise",
    doc: "",
    infer: () => ({ dtype: "f32", shape: [] }),
    vjp: { because: "it is a test", zero: true },
    flops: () => 0,
    reference: () => new Float64Array(1),
  };
  assertThrows(() => defineOp(record), TypeError, 'Op "elementwise/add" is defined twice');
  assertThrows(
    () => defineOp({ ...record, name: "testComposite", kind: "composite" }),
    TypeError,
    'Op "testComposite" is composite: it needs a decomposition',
  );
});

Deno.test("a node built by hand is checked like a builder's", () => {
  const sum = graph.sum(x(2, 3), 0);
  const node: Node = x(4);
  const error = assertThrows(() => makeNode(sum.op, [node], { axes: [1] }), ShapeError);
  assertStringIncludes(error.message, "sum: axis 1 is out of range");
});
