/** The ops that random graphs are made of, each total: what does not fit gives undefined. */
import type { DType } from "../../graph/dtype.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";

/** How to apply an op to tensors of a pool. */
export interface RandomOp {
  /** Element types of the first operand. */
  readonly on: readonly DType[];
  /** Element types of the second operand, where they are not those of the first one chosen. */
  readonly with?: readonly DType[];
  /**
   * Whether the result depends on every bit: then its operands must be exact, since elsewhere the
   * last bit of f32 decides.
   */
  readonly isSharp?: boolean;
  /** Whether exact operands give an exact result: nothing is rounded. */
  readonly keepsExact?: boolean;
  /** Whether the gradient asks which elements are equal, which rounding between kernels may deny. */
  readonly isUnsteady?: boolean;
  readonly apply: (a: Node, b: Node, parameter: number) => Node | undefined;
}

const F32: readonly DType[] = ["f32"];
const HALVES: readonly DType[] = ["f16", "bf16"];
const WHOLE: readonly DType[] = ["i32", "u32"];
const BITS: readonly DType[] = ["i32", "u32", "bool"];
const ALL: readonly DType[] = ["f32", "f16", "bf16", "i32", "u32", "bool"];

function axisOf(x: Node, parameter: number): number | undefined {
  return x.shape.length === 0 ? undefined : parameter % x.shape.length;
}

function sizes(x: Node): number[] {
  return [...staticShape(x.shape)];
}

function sameSizes(a: Node, b: Node): boolean {
  return sizes(a).join() === sizes(b).join();
}

/** `b` made to broadcast with `a`: itself, a reduction of itself, or a scalar. */
function fitting(a: Node, b: Node): Node {
  const [left, right] = [sizes(a), sizes(b)];
  const fits = right.every((size, back) => {
    const other = left[left.length - right.length + back];
    return other === undefined || other === size || other === 1 || size === 1;
  });
  if (fits) return b;
  const last = right.at(-1);
  const folded = last !== undefined && last === left.at(-1)
    ? right.map((_, axis) => axis).slice(0, -1)
    : right.map((_, axis) => axis);
  if (b.dtype === "f32") return g.mean(b, folded);
  return g.reshape(
    g.slice(b, right.map(() => 0), right.map((size, axis) => folded.includes(axis) ? 1 : size)),
    right.filter((_, axis) => !folded.includes(axis)),
  );
}

function swapLast(a: Node): number[] {
  const order = a.shape.map((_, axis) => axis);
  const last = order.length - 1;
  [order[last], order[last - 1]] = [last - 1, last];
  return order;
}

function reshaped(a: Node, parameter: number): Node {
  const total = staticSize(sizes(a));
  const divisors = [1, 2, 3, 4, 5, 6, 8].filter((size) => total % size === 0);
  const first = divisors[parameter % divisors.length] ?? 1;
  return parameter % 3 === 0 ? g.reshape(a, [total]) : g.reshape(a, [first, total / first]);
}

function permuted(a: Node, parameter: number): Node | undefined {
  if (a.shape.length < 2) return undefined;
  const order = a.shape.map((_, axis) => (axis + 1 + parameter) % a.shape.length);
  return g.transpose(a, parameter % 2 === 0 ? order : [...order].reverse());
}

function sliced(a: Node, parameter: number): Node | undefined {
  const axis = axisOf(a, parameter);
  if (axis === undefined) return undefined;
  const size = sizes(a)[axis] ?? 1;
  const start = parameter % size;
  if (parameter % 4 === 3) return g.sliceAxis(a, axis, Math.min(1, size - 1), size, 2);
  return g.sliceAxis(a, axis, start, Math.min(size, start + 1 + parameter % 4));
}

function concatenated(a: Node, b: Node, parameter: number): Node | undefined {
  const axis = axisOf(a, parameter);
  if (axis === undefined) return undefined;
  const same = a.shape.length === b.shape.length &&
    a.shape.every((size, at) => at === axis || size === b.shape[at]);
  return g.concat([a, same ? b : g.reverse(a, axis), a], axis);
}

function padded(a: Node, parameter: number): Node {
  const low = a.shape.map((_, axis) => (parameter + axis) % 3);
  const high = a.shape.map((_, axis) => (parameter + 2 * axis) % 2);
  return g.pad(a, {
    low,
    high,
    interior: a.shape.map((_, axis) => axis === 0 ? parameter % 2 : 0),
    value: parameter % 7 === 0 ? 1 : 0,
  });
}

/** A joint of paddings, slices and reversals: what index arithmetic has most to do with. */
function shuffled(a: Node, parameter: number): Node | undefined {
  const axis = axisOf(a, parameter);
  if (axis === undefined) return undefined;
  const wide = padded(g.reverse(a, axis), parameter);
  const size = sizes(wide)[axis] ?? 1;
  const cut = parameter % size;
  const parts = [g.sliceAxis(wide, axis, cut, size), g.sliceAxis(wide, axis, 0, cut)];
  return g.concat(parts.filter((part) => part.shape[axis] !== 0), axis);
}

function picks(size: number, parameter: number): Node {
  return g.constant(Int32Array.of(parameter % size, 0, (parameter * 7) % size));
}

function gathered(a: Node, parameter: number): Node | undefined {
  const axis = axisOf(a, parameter);
  if (axis === undefined) return undefined;
  return g.gather(a, picks(sizes(a)[axis] ?? 1, parameter), axis);
}

/** Adds the slices of an axis up at places that repeat. */
function scattered(a: Node, parameter: number): Node | undefined {
  const axis = axisOf(a, parameter);
  if (axis === undefined) return undefined;
  const size = sizes(a)[axis] ?? 1;
  const places = Int32Array.from({ length: size }, (_, at) => (at * 3 + parameter) % 4);
  return g.scatterAdd(a, g.constant(places), axis, 3 + parameter % 2);
}

/** A product with something that shares the last axis. */
function contracted(a: Node, b: Node, parameter: number): Node | undefined {
  const last = sizes(a).at(-1);
  if (last === undefined) return undefined;
  const other = sizes(b).at(-1) === last ? b : g.reverse(a, a.shape.length - 1);
  const [left, right] = [g.reshape(a, [-1, last]), g.reshape(other, [-1, last])];
  switch (parameter % 4) {
    case 0:
      return g.contract("m k, n k -> m n", left, right);
    case 1:
      return g.contract("m k, n k -> n m", left, right);
    case 2:
      return sameSizes(left, right) ? g.contract("m k, m k -> m", left, right) : undefined;
    default:
      return sameSizes(left, right) ? g.contract("m k, m n -> k n", left, right) : undefined;
  }
}

/** A layer norm scaled by something of the other's, or by itself where that does not fit. */
function scaledNorm(a: Node, b: Node): Node | undefined {
  if (a.shape.length === 0) return undefined;
  const other = b.shape.at(-1) === a.shape.at(-1) ? b : a;
  const scale = g.mean(other, other.shape.map((_, axis) => axis).slice(0, -1));
  return g.layerNorm(a, { epsilon: 0.1, scale, bias: g.tanh(scale) });
}

function folded(
  fold: (x: Node, axes: readonly number[], options: { keepDims: boolean }) => Node,
): RandomOp["apply"] {
  return (a, _b, parameter) => {
    if (a.shape.length === 0) return undefined;
    const axes = a.shape.map((_, axis) => axis).filter((axis) => ((parameter >> axis) & 1) === 1);
    return axes.length === 0 ? undefined : fold(a, axes, { keepDims: parameter % 2 === 0 });
  };
}

function along(apply: (a: Node, axis: number) => Node): RandomOp["apply"] {
  return (a, _b, parameter) => {
    const axis = axisOf(a, parameter);
    return axis === undefined ? undefined : apply(a, axis);
  };
}

function floats(apply: RandomOp["apply"], more: Partial<RandomOp> = {}): RandomOp {
  return { on: F32, apply, ...more };
}

/** Ops of f32 alone. */
const FLOAT_OPS: readonly RandomOp[] = [
  floats((a, b) => g.add(a, fitting(a, b))),
  floats((a, b) => g.mul(a, fitting(a, b))),
  floats((a, b) => g.sub(fitting(a, b), a)),
  floats((a, b) => g.maximum(a, fitting(a, b)), { isUnsteady: true }),
  floats((a, b) => g.div(a, g.add(1.5, g.square(fitting(a, b))))),
  floats((a) => g.tanh(a)),
  floats((a) => g.sigmoid(a)),
  floats((a) => g.exp(g.tanh(a))),
  floats((a) => g.gelu(a)),
  floats((a) => g.sqrt(g.add(g.abs(a), 0.25))),
  floats((a) => g.rsqrt(g.add(g.square(a), 0.5))),
  floats((a) => g.erf(a)),
  floats((a, b) => g.where(g.greater(a, 0.1), a, g.broadcastTo(g.mean(b), a.shape)), {
    isUnsteady: true,
  }),
  floats(folded((x, axes, options) => g.sum(x, axes, options))),
  floats(folded((x, axes, options) => g.max(x, axes, options)), { isUnsteady: true }),
  floats((a) => g.mean(a)),
  floats(along((a, axis) => g.softmax(a, axis))),
  floats(along((a, axis) => g.logSoftmax(a, axis))),
  floats((a) => a.shape.length === 0 ? undefined : g.layerNorm(a, { epsilon: 0.1 })),
  floats((a, b) => scaledNorm(a, b)),
  floats((a) => a.shape.length < 2 ? undefined : g.matmul(a, g.transpose(a, swapLast(a)))),
  floats((a, b, parameter) => contracted(a, b, parameter)),
  floats((a, _b, parameter) => scattered(a, parameter)),
  floats((a) => a.shape.length < 2 ? undefined : g.attention(a, g.tanh(a), a)),
  floats((a) => a.shape.length < 2 ? undefined : g.attention(a, g.tanh(a), g.reverse(a, 0))),
  floats((a) => g.cast(g.cast(a, "bf16"), "f32"), { isSharp: true, keepsExact: true }),
];

/** Ops that only move elements. */
function movements(on: readonly DType[]): RandomOp[] {
  const applies: RandomOp["apply"][] = [
    (a, _b, parameter) => reshaped(a, parameter),
    (a, _b, parameter) => permuted(a, parameter),
    (a, _b, parameter) => sliced(a, parameter),
    (a, b, parameter) => concatenated(a, b, parameter),
    (a, _b, parameter) => padded(a, parameter),
    (a, _b, parameter) => shuffled(a, parameter),
    (a, _b, parameter) => gathered(a, parameter),
    along((a, axis) => g.reverse(a, axis)),
    along((a, axis) => g.stack([a, g.reverse(a, axis)], axis)),
  ];
  return applies.map((apply) => ({ on, keepsExact: true, apply }));
}

function exact(on: readonly DType[], apply: RandomOp["apply"], more: Partial<RandomOp> = {}) {
  return { on, apply, isSharp: true, keepsExact: true, ...more };
}

/** Ops of other element types, and between them. */
const MIXED_OPS: readonly RandomOp[] = [
  exact(WHOLE, (a, b) => g.add(a, fitting(a, b))),
  exact(WHOLE, (a, b) => g.mul(fitting(a, b), a)),
  exact(WHOLE, (a, b) => g.div(a, fitting(a, b))),
  exact(WHOLE, (a, b) => g.rem(a, fitting(a, b))),
  exact(WHOLE, (a, b) => g.minimum(a, fitting(a, b))),
  exact(WHOLE, (a, _b, parameter) => g.shiftRight(a, parameter % 5)),
  exact(WHOLE, (a, _b, parameter) => g.shiftLeft(a, parameter % 3)),
  exact(WHOLE, folded((x, axes, options) => g.sum(x, axes, options))),
  exact(WHOLE, folded((x, axes, options) => g.max(x, axes, options))),
  exact(WHOLE, folded((x, axes, options) => g.min(x, axes, options))),
  exact(WHOLE, (a) => g.cast(a, a.dtype === "i32" ? "u32" : "i32")),
  exact(WHOLE, (a) => g.cast(a, "f32"), { keepsExact: false }),
  exact(["i32"], (a) => g.neg(g.abs(a))),
  exact(BITS, (a, b) => g.xor(a, fitting(a, b))),
  exact(BITS, (a, b) => g.and(a, fitting(a, b))),
  exact(["bool"], (a) => g.not(a)),
  exact(["bool"], (a, _b, parameter) => g.cast(a, parameter % 2 === 0 ? "f32" : "i32")),
  exact(["f32", "f16", "bf16"], (a, b) => g.less(a, fitting(a, g.max(b)))),
  exact(["i32", "u32", "bool"], (a, b) => g.equal(a, fitting(a, b))),
  exact(["f32"], along((a, axis) => g.argmax(a, axis))),
  exact(["f32"], (a) => g.bitcast(a, "u32")),
  exact(["f32"], (a) => g.cast(g.mul(a, 16), "i32")),
  exact(["f32"], (a, _b, parameter) => g.cast(a, parameter % 2 === 0 ? "f16" : "bf16")),
  exact(HALVES, (a, b) => g.add(a, fitting(a, b))),
  exact(HALVES, (a, b) => g.mul(a, fitting(a, b))),
  exact(HALVES, (a) => g.cast(a, "f32")),
  exact(HALVES, (a) => g.neg(a)),
  {
    on: HALVES,
    apply: (a, b, parameter) => contracted(g.cast(a, "f32"), g.cast(b, "f32"), parameter),
  },
  { on: ["bool"], with: ["f32", "i32", "f16"], apply: (a, b) => selected(a, b), keepsExact: true },
  { on: ALL, with: ["i32"], apply: (a, b, parameter) => gatheredAt(a, b, parameter) },
  { on: F32, with: ["i32"], apply: (a, b) => scatteredAt(a, b) },
];

function selected(condition: Node, value: Node): Node {
  const zero = g.zeros([], value.dtype);
  const fits = sameSizes(condition, value) ? value : g.broadcastTo(
    g.reshape(g.slice(value, value.shape.map(() => 0), value.shape.map(() => 1)), []),
    condition.shape,
  );
  return g.select(condition, fits, zero);
}

/** Picks by computed places, most of which are out of range. */
function gatheredAt(a: Node, places: Node, parameter: number): Node | undefined {
  const axis = axisOf(a, parameter);
  if (axis === undefined || places.shape.length > 2) return undefined;
  return g.gather(a, parameter % 2 === 0 ? places : g.rem(places, sizes(a)[axis] ?? 1), axis);
}

function scatteredAt(a: Node, places: Node): Node | undefined {
  const rows = sizes(a)[0];
  const count = staticSize(sizes(places));
  if (rows === undefined || count < rows) return undefined;
  const firsts = g.sliceAxis(g.reshape(places, [count]), 0, 0, rows);
  return g.scatterAdd(a, firsts, 0, 3);
}

/** Ops for graphs of f32. */
export const F32_OPS: readonly RandomOp[] = [...FLOAT_OPS, ...movements(F32)];

/** Ops for graphs of all element types. */
export const ALL_OPS: readonly RandomOp[] = [...FLOAT_OPS, ...movements(ALL), ...MIXED_OPS];
