/** Cases of the elementwise ops, of casts and of random numbers. */
import * as graph from "../../graph/mod.ts";
import { checkpointResult, recompute } from "../../graph/ops/checkpoint.ts";
import type { Tensor } from "../../graph/node.ts";
import { dim, type Shape } from "../../graph/shape.ts";
import { type CaseOptions, type Domain, floats, type OpCase, opCase, typed } from "./op_case.ts";

const SHAPES: readonly Shape[] = [[], [1], [7], [3, 1, 5], [0, 3], [67]];

type Unary = (x: Tensor) => Tensor;
type Binary = (a: Tensor, b: Tensor) => Tensor;

function unaryCases(
  name: string,
  build: Unary,
  domain: Domain = "any",
  options: CaseOptions = {},
): OpCase[] {
  return SHAPES.map((shape) =>
    opCase(`${name} [${shape}]`, [floats(shape, domain)], build, options)
  );
}

function binaryCases(
  name: string,
  build: Binary,
  domain: Domain = "any",
  options: CaseOptions = {},
): OpCase[] {
  const shapes: readonly (readonly [Shape, Shape])[] = [
    [[], []],
    [[67], [67]],
    [[3, 1], [2, 1, 5]],
    [[4, 3], []],
    [[0, 3], [1, 3]],
  ];
  return shapes.map(([a, b]) =>
    opCase(`${name} [${a}] [${b}]`, [floats(a, domain), floats(b, domain)], build, options)
  );
}

/** A binary op on whole numbers of both kinds. */
function wholeCases(name: string, build: Binary, dtypes: readonly ("i32" | "u32" | "bool")[]) {
  return dtypes.map((dtype) =>
    opCase(`${name} ${dtype}`, [typed(dtype, [5, 9]), typed(dtype, [9])], build, {
      differentiable: false,
      tolerance: 0,
    })
  );
}

const EXACT: CaseOptions = { tolerance: 0 };
const FIXED: CaseOptions = { differentiable: false, tolerance: 0 };

const UNARY: readonly OpCase[] = [
  ...unaryCases("neg", graph.neg, "any", EXACT),
  ...unaryCases("abs", graph.abs, "any", EXACT),
  ...unaryCases("sign", graph.sign, "any", EXACT),
  ...unaryCases("exp", graph.exp),
  ...unaryCases("exp of wide", graph.exp, "wide", { differentiable: false }),
  ...unaryCases("log", graph.log, "positive"),
  ...unaryCases("log1p", graph.log1p, "unit"),
  ...unaryCases("sqrt", graph.sqrt, "positive"),
  ...unaryCases("rsqrt", graph.rsqrt, "positive"),
  ...unaryCases("reciprocal", graph.reciprocal, "nonzero"),
  ...unaryCases("tanh", graph.tanh),
  ...unaryCases("tanh of wide", graph.tanh, "wide"),
  ...unaryCases("erf", graph.erf),
  ...unaryCases("erf of wide", graph.erf, "wide"),
  ...unaryCases("sigmoid", graph.sigmoid),
  ...unaryCases("sigmoid of wide", graph.sigmoid, "wide"),
  ...unaryCases("sin", graph.sin),
  ...unaryCases("cos", graph.cos),
  ...unaryCases("sin of wide", graph.sin, "wide"),
  ...unaryCases("floor", graph.floor, "any", EXACT),
  ...unaryCases("ceil", graph.ceil, "any", EXACT),
  ...unaryCases("round", graph.round, "any", EXACT),
  ...unaryCases("square", graph.square),
  ...unaryCases("gelu tanh", (x) => graph.gelu(x)),
  ...unaryCases("gelu erf", (x) => graph.gelu(x, "erf")),
  ...unaryCases("softplus", graph.softplus),
  ...unaryCases("softplus of wide", graph.softplus, "wide"),
  ...unaryCases("logSigmoid", graph.logSigmoid),
  opCase("not", [typed("bool", [9])], (x) => graph.not(x), FIXED),
  opCase("neg i32", [typed("i32", [9])], (x) => graph.neg(x), FIXED),
  opCase("abs i32", [typed("i32", [9])], (x) => graph.abs(x), FIXED),
  opCase("sign i32", [typed("i32", [9])], (x) => graph.sign(x), FIXED),
];

const BINARY: readonly OpCase[] = [
  ...binaryCases("add", graph.add),
  ...binaryCases("sub", graph.sub),
  ...binaryCases("mul", graph.mul),
  ...binaryCases("div", graph.div, "nonzero"),
  ...binaryCases("rem", graph.rem, "nonzero"),
  ...binaryCases("pow", graph.pow, "positive"),
  ...binaryCases("maximum", graph.maximum, "any", EXACT),
  ...binaryCases("minimum", graph.minimum, "any", EXACT),
  ...binaryCases("equal", (a, b) => graph.equal(graph.round(a), graph.round(b)), "any", FIXED),
  ...binaryCases(
    "notEqual",
    (a, b) => graph.notEqual(graph.round(a), graph.round(b)),
    "any",
    FIXED,
  ),
  ...binaryCases("less", graph.less, "any", FIXED),
  ...binaryCases("lessEqual", graph.lessEqual, "any", FIXED),
  ...binaryCases("greater", graph.greater, "any", FIXED),
  ...binaryCases("greaterEqual", graph.greaterEqual, "any", FIXED),
  opCase("add of a literal", [floats([5])], (x) => graph.add(x, 0.25)),
  opCase("pow 2", [floats([5])], (x) => graph.pow(x, 2)),
  opCase("pow 0", [floats([5])], (x) => graph.pow(x, 0)),
];

const WHOLE: readonly OpCase[] = [
  ...wholeCases("add", graph.add, ["i32", "u32"]),
  ...wholeCases("sub", graph.sub, ["i32", "u32"]),
  ...wholeCases("mul", graph.mul, ["i32", "u32"]),
  ...wholeCases("div", graph.div, ["i32", "u32"]),
  ...wholeCases("rem", graph.rem, ["i32", "u32"]),
  ...wholeCases("maximum", graph.maximum, ["i32", "u32"]),
  ...wholeCases("minimum", graph.minimum, ["i32", "u32"]),
  ...wholeCases("less", graph.less, ["i32", "u32"]),
  ...wholeCases("greaterEqual", graph.greaterEqual, ["i32", "u32"]),
  ...wholeCases("equal", graph.equal, ["i32", "u32", "bool"]),
  ...wholeCases("notEqual", graph.notEqual, ["i32", "u32", "bool"]),
  ...wholeCases("and", graph.and, ["i32", "u32", "bool"]),
  ...wholeCases("or", graph.or, ["i32", "u32", "bool"]),
  ...wholeCases("xor", graph.xor, ["i32", "u32", "bool"]),
  ...wholeCases("shiftLeft", graph.shiftLeft, ["i32", "u32"]),
  ...wholeCases("shiftRight", graph.shiftRight, ["i32", "u32"]),
];

const CONVERSIONS: readonly OpCase[] = [
  opCase(
    "select",
    [typed("bool", [3, 1]), floats([5]), floats([3, 5])],
    (condition, a, b) => graph.select(condition, a, b),
    EXACT,
  ),
  opCase(
    "select a literal",
    [typed("bool", [9]), floats([9])],
    (condition, a) => graph.where(condition, a, -1),
    EXACT,
  ),
  opCase("stopGradient", [floats([9])], (x) => graph.mul(x, graph.stopGradient(x)), {
    differentiable: false,
  }),
  opCase(
    "checkpoint",
    [floats([9])],
    (x) => checkpointResult({ results: [graph.sin(x), graph.sin(graph.sin(x))], borders: [x] }, 1),
  ),
  opCase(
    "recompute",
    [floats([9]), floats([2, 3])],
    (x, after) => recompute(x, graph.sin(after), "case"),
    EXACT,
  ),
  opCase("cast f32 to i32", [floats([33], "wide")], (x) => graph.cast(x, "i32"), FIXED),
  opCase("cast f32 to u32", [floats([33], "wide")], (x) => graph.cast(x, "u32"), FIXED),
  opCase("cast f32 to bool", [floats([33])], (x) => graph.cast(graph.round(x), "bool"), FIXED),
  opCase("cast i32 to u32", [typed("i32", [33])], (x) => graph.cast(x, "u32"), FIXED),
  opCase("cast i32 to f32", [typed("i32", [33])], (x) => graph.cast(x, "f32"), {
    differentiable: false,
    tolerance: 1e-7,
  }),
  opCase("cast u32 to f32", [typed("u32", [33])], (x) => graph.cast(x, "f32"), {
    differentiable: false,
    tolerance: 1e-7,
  }),
  opCase("cast bool to f32", [typed("bool", [33])], (x) => graph.cast(x, "f32"), FIXED),
  opCase(
    "cast to f16 and back",
    [floats([33])],
    (x) => graph.cast(graph.cast(x, "f16"), "f32"),
    FIXED,
  ),
  opCase(
    "cast to bf16 and back",
    [floats([33])],
    (x) => graph.cast(graph.cast(x, "bf16"), "f32"),
    FIXED,
  ),
  opCase("bitcast f32 to u32", [floats([33])], (x) => graph.bitcast(x, "u32"), FIXED),
  opCase("bitcast f32 to i32", [floats([33])], (x) => graph.bitcast(x, "i32"), FIXED),
];

const KEY = typed("u32", [2]);

const RANDOM: readonly OpCase[] = [
  opCase("randomBits", [KEY], (key) => graph.randomBits(key, [3, 5]), FIXED),
  opCase("randomBits of a scalar", [KEY], (key) => graph.randomBits(key, []), FIXED),
  opCase("randomBits of a dim", [KEY], (key) => graph.randomBits(key, [dim("batch"), 3]), {
    ...FIXED,
    bindings: { batch: 4 },
  }),
  opCase("foldIn", [KEY, typed("u32", [])], (key, data) => graph.foldIn(key, data), FIXED),
  opCase("splitKey", [KEY], (key) => graph.stack(graph.splitKey(key, 3)), FIXED),
  opCase("uniform", [KEY], (key) => graph.uniform(key, [67]), FIXED),
  opCase("normal", [KEY], (key) => graph.normal(key, [67]), { differentiable: false }),
  opCase("bernoulli", [KEY], (key) => graph.bernoulli(key, 0.3, [67]), FIXED),
  opCase("dropout", [typed("u32", [2]), floats([5, 7])], (key, x) => graph.dropout(key, x, 0.4)),
  opCase("dropout at rate 0", [KEY, floats([5])], (key, x) => graph.dropout(key, x, 0), EXACT),
];

/** Cases of one number an element. */
export const ELEMENTWISE_CASES: readonly OpCase[] = [
  ...UNARY,
  ...BINARY,
  ...WHOLE,
  ...CONVERSIONS,
  ...RANDOM,
];
